"""The figures of a stream that went through the platform, read from its state: what the report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trimtab.app.report.summary import Event
from trimtab.core.comparison import BatchScore, PolicyResult, TrainingRun, run_evidence, why_of

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.records import Decision, Outcome


def continuous(state: State, primary: str, what: str) -> PolicyResult:
    """The platform's own result: what the live champion scored on each upload, and every training run."""
    return PolicyResult(
        name="trimtab",
        title="trimtab",
        what=what,
        batches=tuple(_scores(state, primary)),
        runs=tuple(_runs(state)),
    )


def events(state: State) -> tuple[Event, ...]:
    """The journal."""
    return tuple(
        Event(at=entry.decided_at, kind=entry.kind, summary=entry.summary, evidence=entry.evidence)
        for entry in state.journal.entries()
    )


def _scores(state: State, primary: str) -> list[BatchScore]:
    """Of every upload that was judged, in order of event time."""
    scores = []
    for outcome in state.ledger.outcomes().values():
        judged, part = outcome.judgement, outcome.partition
        if judged is None or not judged.denominator or part is None or part.first is None or part.last is None:
            continue
        scores.append(
            BatchScore(
                start=part.first,
                end=part.last,
                rows=judged.rows,
                value=judged.metrics.get(primary, judged.numerator / judged.denominator),
                numerator=judged.numerator,
                denominator=judged.denominator,
            )
        )
    return sorted(scores, key=lambda score: score.start)


def _runs(state: State) -> list[TrainingRun]:
    results, ends = state.decisions.outcomes(), _ends(state)
    return [_run(state, decision, results.get(decision.number), ends) for decision in state.decisions.all()]


def _ends(state: State) -> dict[int, tuple[str, str]]:
    """By version that went through a rollout: how its run ended after all, and why."""
    states = state.rollouts.states()
    named = {"Promoted": "champion", "RolledBack": "rolledBack"}
    return {
        spec.version: (named.get(found.phase.value, found.phase.value.lower()), found.reason)
        for spec in state.rollouts.all()
        if (found := states[spec.number]) is not None
    }


def _run(state: State, decision: Decision, result: Outcome | None, ends: Mapping[int, tuple[str, str]]) -> TrainingRun:
    window = state.data.step(decision.run_key, "window")
    judged = state.data.step(decision.run_key, "evaluate")
    evidence: dict[str, Any] = dict(decision.evidence)
    if window is not None and judged is not None:
        evidence |= run_evidence(window, judged["evaluation"])
    outcome = (result.state, result.reason) if result else ("running", "")
    if result is not None and result.version is not None and result.version in ends:
        outcome = ends[result.version]
    return TrainingRun(
        at=decision.decided_at,
        reason=decision.reason,
        why=why_of(decision.reason, decision.evidence),
        outcome=outcome[0],
        outcome_reason=outcome[1],
        version=result.version if result else None,
        fits=result.fits if result else 0,
        seconds=result.training_seconds if result else 0.0,
        evidence=evidence,
    )


def same_rows(ours: Sequence[BatchScore], theirs: Sequence[BatchScore]) -> bool:
    """
    Whether two policies were judged on the same rows: as many, of the same times, with the same truth.

    The denominator is a sum over the rows' truth (or their number), so a row more, less or changed shows in it.
    """
    return len(ours) == len(theirs) and all(
        (a.start, a.end, a.rows) == (b.start, b.end, b.rows)
        and abs(a.denominator - b.denominator) <= 1e-9 * abs(b.denominator)
        for a, b in zip(ours, theirs, strict=True)
    )
