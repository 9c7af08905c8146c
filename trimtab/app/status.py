"""How one model stands, as one value: what serves, what runs, what waits and why, what failed and the next move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from trimtab.adapters.state import State
from trimtab.app.chronicle import HELD_BACK
from trimtab.app.rollout.standing import Standing, standing
from trimtab.app.rollout.standing import next_move as rollout_move
from trimtab.core.approval import waiting
from trimtab.core.monitor.findings import Findings, told
from trimtab.core.records import Claim, Decision, IntakeOutcome, Manifest, ModelVersion, Outcome


@dataclass(frozen=True, slots=True)
class Serving:
    """The champion."""

    version: int
    since: datetime  # wall clock
    trained_until: datetime
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Running:
    """The decision that is being executed."""

    decision: int
    reason: str
    attempt: int
    run_id: str
    since: datetime  # wall clock
    retry_after: datetime | None  # wall clock: the last attempt failed, the next starts then


@dataclass(frozen=True, slots=True)
class Held:
    """Why there is no run: `kind` is waiting or ignored."""

    kind: str
    reason: str
    until: datetime | None
    clock: str  # of `until`: policy | wall


@dataclass(frozen=True, slots=True)
class Last:
    """The last decision that ended."""

    decision: int
    state: str
    reason: str
    version: int | None
    ended: datetime  # wall clock


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `trimtab status` and the live display show."""

    model: str
    serving: Serving | None
    challenger: int | None
    running: Running | None
    held: Held | None
    last: Last | None
    uploads: Mapping[str, int]  # seen, pending, ingested, quarantined, duplicate
    decisions: int
    problems: tuple[str, ...] = ()  # what does not work just now
    next_move: str = ""  # what a person should do, commands between backticks; empty when nothing
    rollout: Standing | None = None  # that goes on, or the last one
    monitor: tuple[str, ...] = ()  # what was measured of what is served
    anomalies: tuple[str, ...] = ()  # of it, what is beyond what is allowed or usual

    def to_json(self) -> dict[str, Any]:
        """Plain values, times as ISO text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a status is made from."""

    model: str
    seen: int  # ledger entries
    outcomes: Mapping[str, IntakeOutcome]
    decisions: Sequence[Decision]
    results: Mapping[int, Outcome]
    manifest: Manifest | None = None
    champion: ModelVersion | None = None
    claim: Claim | None = None  # of the open decision
    held: Held | None = None
    problems: tuple[str, ...] = ()
    rollout: Standing | None = None
    findings: Findings | None = None


def status_of(seen: Seen) -> Status:
    """The status that the records say."""
    last = _last(seen.results)
    open_decision = next((d for d in seen.decisions if d.number not in seen.results and d.reason != "sdk"), None)
    counts: Counter[str] = Counter(outcome.state for outcome in seen.outcomes.values())
    return Status(
        model=seen.model,
        serving=_serving(seen.manifest, seen.champion),
        challenger=seen.manifest.challenger if seen.manifest else None,
        running=_running(open_decision, seen.claim) if open_decision else None,
        held=None if open_decision else seen.held,
        last=last,
        uploads={"seen": seen.seen, "pending": seen.seen - len(seen.outcomes), **counts},
        decisions=len(seen.decisions),
        problems=seen.problems,
        next_move=_next_move(seen, last),
        rollout=seen.rollout,
        monitor=told(seen.findings) if seen.findings else (),
        anomalies=tuple(each.sentence for each in seen.findings.anomalies) if seen.findings else (),
    )


def read_status(state: State) -> Status:
    """
    The status from the store alone, whether the platform runs or not.

    Raises:
        Unavailable: If the store does not answer.
    """
    decisions, results = state.decisions.all(), state.decisions.outcomes()
    manifest = state.registry.manifest()
    champion = state.registry.version(manifest.champion) if manifest and manifest.champion else None
    current = next((d for d in decisions if d.number not in results and d.reason != "sdk"), None)
    return status_of(
        Seen(
            model=state.model,
            seen=len(state.ledger.ids()),
            outcomes=state.ledger.outcomes(),
            decisions=decisions,
            results=results,
            manifest=manifest,
            champion=champion,
            claim=state.decisions.claim(current.number) if current else None,
            held=_held(state),
            rollout=standing(state.rollouts.all(), state.rollouts.states()),
            findings=read_findings(state),
        )
    )


def read_findings(state: State) -> Findings | None:
    """What the monitor wrote last; None before it did. Raises Unavailable when the store does not answer."""
    key = state.layout.current("monitor")
    stored = state.bucket.find(key)
    return Findings.from_json(stored.body, key) if stored else None


def _held(state: State) -> Held | None:
    """What the journal told last of why there is no run, unless a decision came after it."""
    for entry in reversed(state.journal.entries()):
        if entry.kind == "decided":
            return None
        if entry.kind in HELD_BACK:
            until = entry.evidence.get("until")
            clock = entry.evidence.get("clock", "policy")
            return Held(entry.kind, entry.summary, datetime.fromisoformat(until) if until else None, clock)
    return None


def _serving(manifest: Manifest | None, champion: ModelVersion | None) -> Serving | None:
    if manifest is None or champion is None:
        return None
    return Serving(champion.number, manifest.recorded_at, champion.trained_until, champion.metrics)


def _running(decision: Decision, claim: Claim | None) -> Running:
    return Running(
        decision=decision.number,
        reason=decision.reason,
        attempt=claim.attempt if claim else 0,
        run_id=claim.run_id if claim else "",
        since=decision.recorded_at,
        retry_after=claim.retry_after if claim else None,
    )


def _last(results: Mapping[int, Outcome]) -> Last | None:
    if not results:
        return None
    outcome = results[max(results)]
    return Last(outcome.number, outcome.state, outcome.reason, outcome.version, outcome.recorded_at)


def _rolled_out(seen: Seen) -> tuple[int, ...]:
    return () if seen.rollout is None else (seen.rollout.version,)


def _next_move(seen: Seen, last: Last | None) -> str:
    if last is not None and last.state == "failed":
        return f"`trimtab logs {seen.model}/{last.decision}`, mend what it says, then `trimtab run {seen.model}`"
    if last is not None and last.version in waiting(seen.results.values(), seen.manifest, _rolled_out(seen)):
        return f"`trimtab show {seen.model}/v{last.version}`, then `trimtab approve {seen.model} {last.version}`"
    if (move := rollout_move(seen.model, seen.rollout)) != "":
        return move
    if seen.held is not None and "the data has to be fixed" in seen.held.reason:
        return (
            f"put the mended file in its place, or release it (`trimtab quarantine list -m {seen.model}`); "
            f"to train on the data as it is: `trimtab run {seen.model}`"
        )
    return ""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
