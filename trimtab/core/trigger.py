"""
Whether to train now: policy, observations and *now* come in, `StartRun | Wait | Ignore` comes out.

Two clocks: `now` and all of the policy's durations are on the policy clock; `settle` is about objects that are still
arriving, so it is wall time, which comes in as `Observed.wall`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trimtab.core import schedule
from trimtab.core.restraint import held_back, over_budget
from trimtab.core.spec.units import format_duration
from trimtab.core.triggering import Arrival, Ignore, Observed, Policy, Reason, Sign, StartRun, Verdict, Wait

SETTLE_AT_MOST = 10  # x settle after a batch's first object it closes, whatever still arrives


@dataclass(frozen=True, slots=True)
class _Fire:
    """A trigger whose own condition is met; vetoes, cooldown and budget come after it."""

    reason: Reason
    evidence: dict[str, Any]


def decide(policy: Policy, observed: Observed, now: datetime) -> Verdict:
    """
    The one decision about training: the first trigger that fires wins, the others stand in its evidence.

    Args:
        policy: The spec's triggers.
        observed: What has arrived, what ran, what was asked for.
        now: The policy clock.

    Returns:
        StartRun only if no other run goes on, no rollout carries weight, the budget allows it and, unless somebody
        asked for it, no cooldown, back-off or fixData verdict stands against it.
    """
    if policy.suspend:
        return Ignore("spec.suspend is true: nothing is triggered")
    # A run that somebody started through the SDK is theirs: the manifest fences it, and it holds nothing up here.
    going_on = [run for run in observed.runs if run.ended is None and run.reason != "sdk"]
    if going_on:
        return Wait(None, f"decision {going_on[0].number} is being executed; what arrives meanwhile joins the next run")
    if observed.ingested == 0:
        return _no_data(observed)
    said = list(_triggers(policy, observed, now))
    fires = [found for found in said if isinstance(found, _Fire)]
    if not fires:
        waits = [found for found in said if isinstance(found, Wait)]
        return _soonest(waits) if waits else Ignore(_nothing(policy))
    if observed.rollout:
        # A candidate is judged beside the champion, and whoever that will be is being found out just now.
        return Wait(None, f"{fires[0].reason}: {observed.rollout}")
    asked = fires[0].reason == "onDemand"
    held = None if asked else held_back(policy, observed, now)
    held = held or over_budget(policy.triggers.budget, observed.runs, now)
    if held is not None:
        return Wait(held.until, f"{fires[0].reason}: {held.reason}", held.clock)
    mature = _mature(observed, now)
    evidence: dict[str, Any] = {fire.reason: fire.evidence for fire in fires}
    evidence["newRows"] = sum(arrival.rows for arrival in mature)
    evidence["champion"] = observed.champion
    return StartRun(fires[0].reason, tuple(arrival.entry for arrival in mature), evidence)


def _triggers(policy: Policy, observed: Observed, now: datetime) -> Iterator[_Fire | Wait]:
    """What each trigger says, the most deliberate first; a trigger with nothing to say is left out."""
    for found in (
        _on_demand(observed),
        _training_digest(observed),
        _performance(policy, observed, now),
        _drift(policy, observed, now),
        _schedule(policy, observed, now),
        _upload(policy, observed, now),
    ):
        if found is not None:
            yield found


def _on_demand(observed: Observed) -> _Fire | None:
    return _Fire("onDemand", {"requests": list(observed.requests)}) if observed.requests else None


def _training_digest(observed: Observed) -> _Fire | None:
    """The recipe changed since the last run. Compared with that run too, so that a rejected recipe fires once."""
    if not observed.runs:
        return None  # a first model has its own triggers
    last = observed.runs[-1].training_digest
    if observed.training_digest in (last, observed.champion_digest):
        return None
    return _Fire("trainingDigest", {"from": observed.champion_digest or last, "to": observed.training_digest})


def _performance(policy: Policy, observed: Observed, now: datetime) -> _Fire | Wait | None:
    """The champion is proven worse than the policy allows: a measurement whose bound proves nothing never gets here."""
    if policy.triggers.performance is None or observed.performance is None:
        return None
    return _measured("performance", [observed.performance], observed, now)


def _drift(policy: Policy, observed: Observed, now: datetime) -> _Fire | Wait | None:
    """The data differs from what the champion learned, beyond the accepted rate of false alarms."""
    return _measured("drift", observed.drift, observed, now) if policy.triggers.drift is not None else None


def _measured(reason: Reason, signs: Iterable[Sign], observed: Observed, now: datetime) -> _Fire | Wait | None:
    """The same evidence fires once, and only where there is something to learn that no run was offered yet."""
    new = [sign for sign in signs if not observed.spent.issuperset(sign.ids)]
    if not new:
        return None
    if not any(arrival.rows for arrival in _mature(observed, now)):
        return _nothing_to_learn(f"{reason}: {new[0].sentence}", observed, now)
    ids = [id for sign in new for id in sign.ids]
    figures = {name: value for sign in new for name, value in sign.figures.items()}
    return _Fire(reason, {"signs": ids, "found": [sign.sentence for sign in new], **figures})


def _nothing_to_learn(found: str, observed: Observed, now: datetime) -> Wait:
    young = sorted(a.matures for a in observed.arrivals if a.rows and a.matures is not None and a.matures > now)
    if young:
        return Wait(young[0], f"{found}; the new labelled rows are too young (data.labels.maturity)")
    return Wait(None, f"{found}; there are no new labelled rows to learn it from")


def _schedule(policy: Policy, observed: Observed, now: datetime) -> _Fire | Wait | None:
    """The newest slot since the last run of any reason: a run that has just ended is what the slot would ask for."""
    wanted = policy.triggers.schedule
    if wanted is None:
        return None
    # Before the first object there was nothing to train on: those slots were not missed.
    since = observed.runs[-1].started if observed.runs else observed.since or now
    slot = schedule.due(wanted.cron, wanted.time_zone, policy.name, since, now)
    if slot is not None:
        return _Fire("schedule", {"due": slot.isoformat(), "cron": wanted.cron, "timeZone": wanted.time_zone})
    coming = schedule.next_due(wanted.cron, wanted.time_zone, policy.name, now)
    return Wait(coming, f"the schedule falls due at {coming:%Y-%m-%d %H:%M} UTC")


def _upload(policy: Policy, observed: Observed, now: datetime) -> _Fire | Wait | None:
    wanted = policy.triggers.upload
    if wanted is None or not observed.arrivals:
        return None
    mature = _mature(observed, now)
    rows = sum(arrival.rows for arrival in mature)
    if rows < wanted.min_new_rows:
        return _too_few(rows, wanted.min_new_rows, observed, now)
    closes = _closes(observed, wanted.settle)
    if closes > observed.wall:
        quiet = format_duration(wanted.settle)
        return Wait(closes, f"objects are still arriving: the batch closes {quiet} after the last", "wall")
    return _Fire("upload", {"newRows": rows, "minNewRows": wanted.min_new_rows, "objects": len(mature)})


def _too_few(rows: int, needed: int, observed: Observed, now: datetime) -> Wait:
    young = sorted(a.matures for a in observed.arrivals if a.matures is not None and a.matures > now)
    waiting = sum(arrival.rows for arrival in observed.arrivals) - rows
    more = f", {waiting} more are too young (data.labels.maturity)" if waiting else ""
    return Wait(young[0] if young else None, f"{rows} of {needed} new labelled rows{more}")


def _closes(observed: Observed, settle: timedelta) -> datetime:
    """When the newest batch is complete: quiet for `settle`, or 10 x settle after its first object."""
    seen = sorted((*(arrival.seen for arrival in observed.arrivals), *observed.arriving))
    first = last = seen[-1]
    for moment in reversed(seen):
        if first - moment > settle:
            break  # a pause: what came before it is an earlier batch, which had too few rows by itself
        first = moment
    return min(last + settle, first + SETTLE_AT_MOST * settle)


def _mature(observed: Observed, now: datetime) -> list[Arrival]:
    return [a for a in observed.arrivals if a.matures is None or a.matures <= now]


def _soonest(waits: list[Wait]) -> Wait:
    """One wait for all: arrivals that settle come first (they are on the wall clock), then the nearest date."""
    reason = "; ".join(wait.reason for wait in waits)
    wall = [wait for wait in waits if wait.clock == "wall"]
    if wall:
        return Wait(wall[0].until, reason, "wall")
    dates = [wait.until for wait in waits if wait.until is not None]
    return Wait(min(dates) if dates else None, reason)


def _no_data(observed: Observed) -> Wait | Ignore:
    if observed.requests:
        return Wait(None, "onDemand: no labelled rows have been ingested yet")
    return Ignore("no labelled rows have been ingested yet")


def _nothing(policy: Policy) -> str:
    triggers = policy.triggers
    if not (triggers.upload or triggers.schedule or triggers.drift or triggers.performance):
        return "the spec sets no trigger: it is trained on demand alone"
    return "nothing new since the last run"
