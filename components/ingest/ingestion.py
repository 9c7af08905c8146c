"""Uploads to a dataset: takes in what intake has not, finds the run's decision, or writes one for a run by hand."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters import arrivals, environment
from trimtab.adapters.steps import Step
from trimtab.components.ingest.selection import choose, own_decision, unoffered, write_decision
from trimtab.core.errors import Conflict
from trimtab.core.observation import in_order, is_gone
from trimtab.core.ports import ObjectInfo
from trimtab.core.records import Decision, IntakeOutcome, LedgerEntry, digest

ATTEMPTS = 5  # at the next decision's number, which a running platform may take first
LEASE_SECONDS = 60  # to write one decision
BEFORE_ANY_DATA = datetime(1970, 1, 1, tzinfo=UTC)


def ingest_decided(run: Step) -> dict[str, Any]:
    """A run that the platform decided: its entries, taken in by now unless the platform died in between."""
    decision = run.decision
    entries = in_order(run.state.ledger.entry(entry) for entry in decision.entries)
    _take_in(run, entries, decision.decided_at)
    dataset = arrivals.renewed(run.state, decision.dataset, run.model, run.buckets)
    return conclusion(decision, [entry.id for entry in entries], dataset.digest)


def ingest_by_hand(run: Step, objects: Sequence[str], reason: str, pipeline_run: str) -> dict[str, Any]:
    """
    A run that somebody started through the SDK or the UI: everything new is taken in, then the decision is written.

    Args:
        run: Its run key is still empty; it has the decision's afterwards.
        objects: s3:// addresses; empty means everything in the source.
        reason: As the caller gave it, kept as evidence: `onDemand` goes on past data that should be mended.
        pipeline_run: What is the same for each attempt of one pipeline run: an attempt after a crash finds the
            decision of the one before.

    Raises:
        Conflict: If other writers took the next decision's number each time.
    """
    state, source = run.state, run.model.spec.data.source
    listing = list(arrivals.list_source(run.buckets, run.model))
    token = digest(pipeline_run)
    decision = own_decision(state.decisions.all(), token)
    entries = [_entry(run, info) for info in choose(listing, objects, source)]
    for entry in entries:
        state.ledger.see(entry)
    _take_in(run, entries, None)
    if decision is None:
        owner = f"sdk-{uuid.uuid4().hex}"
        # One that finds the lease held goes on without it: the decision's number and the registry's manifest fence it.
        epoch = state.lease.acquire(owner, LEASE_SECONDS)
        try:
            decision = _decide(run, listing, {"pipelineRun": token, "reason": reason})
        finally:
            if epoch is not None:
                state.lease.release(owner, epoch)
    run.run_key = decision.run_key
    return conclusion(decision, [entry.id for entry in entries])


def conclusion(decision: Decision, entries: Sequence[str], dataset: str = "") -> dict[str, Any]:
    """What the step keeps: its decision, the entries it looked at, oldest arrival first, and the dataset."""
    return {
        "decision": decision.number,
        "runKey": decision.run_key,
        "entries": list(entries),
        "dataset": dataset or decision.dataset,
        "reason": decision.evidence.get("reason") or decision.reason,
    }


def _decide(run: Step, listing: Sequence[ObjectInfo], evidence: dict[str, Any]) -> Decision:
    state, recipe = run.state, run.recipe()
    dataset = arrivals.assemble(state, listing, run.model, run.buckets)
    outcomes = state.ledger.outcomes()
    current = [entry.id for entry in (_entry(run, info) for info in arrivals.in_order(listing))]
    ingested = [entry for entry in current if entry in outcomes and outcomes[entry].state == "ingested"]
    for _ in range(ATTEMPTS):
        decisions = state.decisions.all()
        decision = write_decision(
            namespace=state.namespace,
            model=state.model,
            decisions=decisions,
            entries=unoffered(ingested, decisions),
            dataset=dataset.digest,
            training_digest=recipe,
            spec=state.data.put_spec(run.spec_text),
            evidence=evidence,
            decided_at=_policy_time(outcomes.values()),
            recorded_at=run.now(),
        )
        try:
            return state.decisions.propose(decision)
        except Conflict:
            continue
    raise Conflict(f"other writers took the next decision's number {ATTEMPTS} times", "start the run again")


def _take_in(run: Step, entries: Sequence[LedgerEntry], decided_at: datetime | None) -> None:
    concluded = {entry.id: run.state.ledger.outcome(entry.id) for entry in entries}
    waiting = [entry for entry in entries if concluded[entry.id] is None or is_gone(concluded[entry.id])]
    if not waiting:
        return
    # Uploads are taken in when they arrive; a run that the platform decided mostly finds nothing left to do.
    from trimtab.adapters.intake import take_in
    from trimtab.adapters.models import load_standing_rival

    champion = load_standing_rival(run.state, run.trusted_types, run.spec_folder)
    for entry in waiting:
        now = decided_at or _policy_time(run.state.ledger.outcomes().values())
        outcome = take_in(run.state, run.buckets.bucket(entry.bucket), entry, run.model, champion, now)
        run.say(f"{entry.uri}: {outcome.state}{f', {outcome.reason}' if outcome.reason else ''}")


def _entry(run: Step, info: ObjectInfo) -> LedgerEntry:
    bucket = run.model.spec.data.bucket
    return arrivals.entry_of(info, bucket, run.state.namespace, run.state.model, "sdk", run.now())


def _policy_time(outcomes: Any) -> datetime:
    """The policy clock as a run by hand reads it: the wall, or in a replay the newest event that was taken in."""
    if not environment.replays():
        return Step.now()
    known: list[IntakeOutcome] = list(outcomes)
    times = [outcome.partition.last for outcome in known if outcome.partition and outcome.partition.last]
    return max(times, default=BEFORE_ANY_DATA)
