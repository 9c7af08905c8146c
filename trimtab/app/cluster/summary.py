"""The status of a ContinuousModel as people read it with kubectl: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters.kubernetes.conditions import Condition, find, merged, stamp
from trimtab.app.status import Status

MOST_PROBLEMS = 10
MOST_WORDS = 1024  # characters of a sentence
NOT_ACCEPTED = "nothing runs before the spec is accepted"


def summary(
    before: Mapping[str, Any],
    accepted: Condition,
    status: Status | None,
    problems: Iterable[str],
    generation: int,
    now: datetime,
    words: Callable[[str], str] = str,
) -> dict[str, Any]:
    """
    The status to write.

    Args:
        before: As the object has it.
        accepted: The condition of that name.
        status: As the state says it; None before the first look: what stands there stays.
        problems: What does not work just now.
        generation: Of the spec that was looked at.
        words: The next move as its readers type its commands.
    """
    told = [line for line in problems if line]
    conditions = [accepted, *_conditions(accepted, status, told)]
    if status is None and accepted.status == "True" and _message(before, "Training") == NOT_ACCEPTED:
        conditions.append(Condition("Training", "Unknown", "NotLookedYet", "no look since the spec was accepted"))
    fresh: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": merged(before.get("conditions") or (), conditions, generation, now),
        "problems": [line[:MOST_WORDS] for line in told[:MOST_PROBLEMS]],
    }
    if status is None:
        return {**{name: value for name, value in before.items() if name not in fresh}, **fresh}
    serving, running, held, last, rollout = status.serving, status.running, status.held, status.last, status.rollout
    return fresh | _said(
        champion=serving.version if serving else None,
        servingSince=stamp(serving.since) if serving else None,
        trainedUntil=stamp(serving.trained_until) if serving else None,
        challenger=status.challenger,
        run=f"{running.decision}: {running.reason}, attempt {running.attempt}" if running else None,
        runId=running.run_id if running else None,
        runSince=stamp(running.since) if running else None,
        waiting=held.reason[:MOST_WORDS] if held else None,
        waitingUntil=stamp(held.until) if held and held.until else None,
        rollout=rollout.name if rollout and rollout.goes_on else None,
        rolloutPhase=rollout.phase if rollout and rollout.goes_on else None,
        rolloutWeightPercent=rollout.weight_percent if rollout and rollout.goes_on else None,
        lastRun=f"{last.decision}: {last.state}: {last.reason}"[:MOST_WORDS] if last else None,
        lastRunEnded=stamp(last.ended) if last else None,
        uploads=dict(status.uploads),
        decisions=status.decisions,
        nextMove=words(status.next_move)[:MOST_WORDS] or None,
        anomalies=[line[:MOST_WORDS] for line in status.anomalies[:MOST_PROBLEMS]] or None,
    )


def unreachable(before: Mapping[str, Any], problems: Iterable[str], now: datetime) -> dict[str, Any]:
    """The status where a look failed: what it said stays, and what does not work is said."""
    told = [line for line in problems if line]
    conditions = merged(before.get("conditions") or (), [_working(told)], before.get("observedGeneration", 0), now)
    return {**before, "conditions": conditions, "problems": [line[:MOST_WORDS] for line in told[:MOST_PROBLEMS]]}


def _working(problems: list[str]) -> Condition:
    if problems:
        return Condition("Working", "False", "Problem", problems[0])
    return Condition("Working", "True", "AllAnswer", "store, launcher and serving answer")


def _conditions(accepted: Condition, status: Status | None, problems: list[str]) -> list[Condition]:
    if status is None:
        if accepted.status == "True":
            return [_working(problems)]
        return [Condition("Training", "False", accepted.reason, NOT_ACCEPTED)]
    champion, running, held = status.serving, status.running, status.held
    ready = Condition("Ready", "False", "NoChampion", "no version is champion yet")
    if champion is not None:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in champion.metrics.items())
        ready = Condition("Ready", "True", "Champion", f"v{champion.version} is champion ({metrics})")
    if running is not None:
        said = f"decision {running.decision} ({running.reason}), attempt {running.attempt}"
        training = Condition("Training", "True", "RunGoesOn", said)
    else:
        reason = "Waiting" if held is not None and held.kind == "waiting" else "NothingToDo"
        if accepted.status != "True":
            reason = accepted.reason
        training = Condition("Training", "False", reason, held.reason if held else "")
    return [ready, training, _working(problems)]


def _message(status: Mapping[str, Any], type: str) -> str:
    held = find(status.get("conditions") or (), type)
    return str(held["message"]) if held is not None else ""


def _said(**fields: Any) -> dict[str, Any]:
    """Without what there is nothing to say of."""
    return {name: value for name, value in fields.items() if value is not None}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether there is anything to write."""
    return dict(before) != dict(after)


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """
    The merge patch that makes one the other: what is gone is null.

    >>> patch({"run": "5", "champion": 1}, {"champion": 2})
    {'run': None, 'champion': 2}
    """
    gone = {name: None for name in before if name not in after}
    return gone | {name: value for name, value in after.items() if before.get(name) != value}
