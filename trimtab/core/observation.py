"""What the state's records say, as the observations that `core.trigger.decide` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from trimtab.core.monitor.alarm import Batch, alarm, batches_a_year
from trimtab.core.records import Decision, IntakeOutcome, LedgerEntry, Manifest, ModelVersion, Outcome
from trimtab.core.spec.policy import DriftTrigger
from trimtab.core.triggering import Arrival, Observed, Run, Sign

ROLLED_BACK = "rolledBack"  # in place of a run's own outcome, once its version was
GONE = "gone"  # kind of an outcome: the object was deleted or replaced before its turn came


def observe(
    *,
    entries: Iterable[LedgerEntry],
    outcomes: Mapping[str, IntakeOutcome],
    decisions: Sequence[Decision],
    results: Mapping[int, Outcome],
    champion: ModelVersion | None,
    requests: Iterable[str],
    training_digest: str,
    maturity: timedelta,
    wall: datetime,
    wall_is_policy: bool,
    drift: DriftTrigger | None = None,
    champion_since: datetime | None = None,
    asked: Sequence[Sign] = (),
    worse: Sign | None = None,
    taken_back: Mapping[str, datetime] | None = None,
    rollout: str = "",
) -> Observed:
    """
    Args:
        entries: The ledger, without the entries whose object has been deleted.
        outcomes: How intake ended, by ledger id; a release in place of the quarantine.
        decisions: All, in any order.
        results: How they ended, by number.
        champion: The version that serves.
        requests: Ids of all runs ever asked for by `trimtab run`.
        training_digest: Of the spec and code as they are now.
        maturity: How old a row is before its label may be trusted.
        wall: The wall clock.
        wall_is_policy: Whether the policy clock is the wall clock. A run then ends when its outcome is recorded; in a
            replay the clock stands still while a run goes on, and it ends when it was decided.
        drift: The trigger, where there is one: uploads are then held to its rate of false alarms.
        champion_since: Wall clock: reports of before compare with what an earlier champion learned.
        asked: Drift that the monitor sees in what the model is asked.
        worse: What the monitor proves of the champion's performance.
        taken_back: When a run's version was rolled back, on the wall clock, by run key.
        rollout: The rollout that carries weight just now, in words.
    """
    current = in_order(newest_by_key(entries))
    offered = {entry for decision in decisions for entry in decision.entries}
    used = spent(decisions)
    ingested = [e for e in current if e.id in outcomes and _labelled(outcomes[e.id]) is not None]
    return Observed(
        wall=wall,
        training_digest=training_digest,
        arrivals=tuple(_arrival(e, outcomes[e.id], maturity) for e in ingested if e.id not in offered),
        arriving=tuple(e.recorded_at for e in current if e.id not in outcomes),
        runs=tuple(
            _run(d, results.get(d.number), (taken_back or {}).get(d.run_key), wall_is_policy)
            for d in sorted(decisions, key=lambda each: each.number)
        ),
        requests=tuple(sorted(set(requests) - answered(decisions))),
        # A file that repeats one which is gone since stands for it: its rows are in the dataset.
        ingested=sum(1 for e in current if (found := original(outcomes, outcomes.get(e.id))) and _labelled(found)),
        since=min((o.decided_at for o in outcomes.values() if o.state == "ingested"), default=None),
        champion=champion.number if champion else None,
        champion_digest=champion.training_digest if champion else "",
        drift=(*_drifted(current, outcomes, offered | used, drift, champion_since), *asked),
        performance=worse,
        spent=used,
        rollout=rollout,
        fix_data=_fix_data(current, outcomes),
    )


def newest_by_key(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """One entry an object: what was put later under the same key stands in place of what was there."""
    newest: dict[tuple[str, str], LedgerEntry] = {}
    for entry in in_order(entries):
        newest[(entry.bucket, entry.key)] = entry
    return list(newest.values())


def in_order(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Oldest arrival first: by the store's time of the object, then by key, which all observers see alike."""
    return sorted(entries, key=lambda entry: (entry.modified, entry.key, entry.recorded_at))


def original(outcomes: Mapping[str, IntakeOutcome], outcome: IntakeOutcome | None) -> IntakeOutcome | None:
    """The ingested outcome behind one: its own, or that of the file it repeats; None where there is none."""
    if outcome is not None and outcome.state == "duplicate":
        outcome = outcomes.get(outcome.duplicate_of)
    return outcome if outcome is not None and outcome.state == "ingested" else None


def is_gone(outcome: IntakeOutcome | None) -> bool:
    """Whether there was nothing to read any more; the same object may be put again."""
    return outcome is not None and outcome.kind == GONE


def answered(decisions: Iterable[Decision]) -> set[str]:
    """Requests of `trimtab run` that some decision has answered."""
    return {request for d in decisions for request in d.evidence.get("onDemand", {}).get("requests", ())}


def serving_since(manifests: Sequence[Manifest]) -> datetime | None:
    """Wall clock: when the champion of now became it; None without one."""
    since = None
    for manifest in reversed(manifests):
        if manifest.champion is None or manifest.champion != manifests[-1].champion:
            break
        since = manifest.recorded_at
    return since


def spent(decisions: Iterable[Decision]) -> frozenset[str]:
    """Ids of the evidence that stands in some decision: it fires no other."""
    return frozenset(
        id
        for decision in decisions
        for reason in ("performance", "drift")
        for id in (decision.evidence.get(reason) or {}).get("signs", ())
    )


def _drifted(
    current: Iterable[LedgerEntry],
    outcomes: Mapping[str, IntakeOutcome],
    acted_on: set[str],
    trigger: DriftTrigger | None,
    champion_since: datetime | None,
) -> tuple[Sign, ...]:
    """The alarm of the uploads that no run was started on yet, compared with what the champion learned."""
    if trigger is None or champion_since is None:
        return ()
    ingested = [(e, o) for e in current if (o := outcomes.get(e.id)) and o.state == "ingested" and o.partition]
    ends = [o.partition.last for _, o in ingested if o.partition and o.partition.last]
    rate = batches_a_year(ends)
    if rate is None:
        return ()
    batches = [
        Batch.of_report(entry.id, outcome.partition.last, outcome.drift, trigger.min_effect)
        for entry, outcome in ingested
        if outcome.partition and outcome.partition.last and outcome.drift.get("columns")
        if entry.id not in acted_on and outcome.recorded_at >= champion_since
    ]
    raised = alarm(sorted(batches, key=lambda batch: batch.at), rate, trigger.false_alarms_per_year)
    if raised is None:
        return ()
    figures = {"falseAlarmsPerYear": trigger.false_alarms_per_year, "uploadsPerYear": round(rate, 1)}
    return (Sign(tuple(batch.id for batch in raised.batches), f"uploads: {raised.sentence}", figures),)


def _labelled(outcome: IntakeOutcome) -> int | None:
    """Labelled valid rows of an ingested object; None when it was set aside or repeats another."""
    return outcome.partition.labelled if outcome.state == "ingested" and outcome.partition else None


def _arrival(entry: LedgerEntry, outcome: IntakeOutcome, maturity: timedelta) -> Arrival:
    last = outcome.partition.last if outcome.partition else None
    # A partition matures as a whole, with its newest row: its older rows wait a little, none comes too early.
    return Arrival(
        entry=entry.id,
        seen=entry.recorded_at,
        rows=_labelled(outcome) or 0,
        matures=last + maturity if last is not None and maturity else None,
    )


def _run(decision: Decision, result: Outcome | None, taken_back: datetime | None, wall_is_policy: bool) -> Run:
    ended = None if result is None else result.recorded_at if wall_is_policy else result.decided_at
    if ended is not None and taken_back is not None and wall_is_policy:
        ended = max(ended, taken_back)
    return Run(
        number=decision.number,
        reason=decision.reason,
        training_digest=decision.training_digest,
        started=decision.decided_at,
        ended=ended,
        outcome="" if result is None else ROLLED_BACK if taken_back is not None else result.state,
        training_seconds=result.training_seconds if result else 0.0,
    )


def _fix_data(current: Iterable[LedgerEntry], outcomes: Mapping[str, IntakeOutcome]) -> str:
    """
    Why the newest report asks for the data to be fixed; empty when it does not.

    Files that cannot be read carry no report and say nothing of the data; a good file after a bad one lifts the veto,
    and so does the bad file's removal or replacement.
    """
    verdicts = [
        (entry, outcomes[entry.id])
        for entry in current
        if entry.id in outcomes and outcomes[entry.id].state != "duplicate" and outcomes[entry.id].drift.get("verdict")
    ]
    if not verdicts or verdicts[-1][1].drift["verdict"] != "fixData":
        return ""
    entry, outcome = verdicts[-1]
    # A file that was let in has no reason of its own: what its report found is the reason.
    return f"{entry.uri}: {outcome.reason or outcome.drift.get('reason') or outcome.kind}"
