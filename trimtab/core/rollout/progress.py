"""A rollout's state after a verdict, and after the router's word: pure, so that every way through is tested."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from trimtab.core.ports import ServingSeen
from trimtab.core.rollout.serving import WHOLE
from trimtab.core.rollout.values import Phase, RolloutState, WeightEpoch
from trimtab.core.rollout.verdicts import Abort, Advance, Hold, Promote, RollBack, Supersede, Verdict

BRIEFLY = timedelta(minutes=5)  # a split that was asked for again and is lost so soon stays the same epoch
ENDS = {RollBack: Phase.ROLLED_BACK, Abort: Phase.ABORTED, Supersede: Phase.SUPERSEDED}


def begun(number: int, epoch: int, evidence: dict[str, Any], now: datetime) -> RolloutState:
    """The state when the controller takes a rollout up: nothing is asked of the router yet."""
    return RolloutState(number=number, epoch=epoch, started=now, evidence=evidence, reason="the challenger is started")


def after(state: RolloutState, verdict: Verdict, now: datetime) -> RolloutState:
    """The state once the verdict counts; what it asks of the router is its last epoch, not confirmed yet."""
    match verdict:
        case Hold(reason=reason, phase=phase):
            return _changed(state, phase=phase, reason=reason)
        case Advance(step=step, weight_percent=weight, shadow=shadow, phase=phase, reason=reason):
            same = (weight, shadow) == (state.weight_percent, state.shadow)
            entered = _changed(state, phase=phase, reason=reason, step=step, step_started=now if same else None)
            return entered if same else split(entered, weight, shadow, now)
        case Promote(reason=reason):
            return split(_changed(state, phase=Phase.CANARY, reason=reason, step_started=None), WHOLE, False, now)
        case RollBack(reason=reason) | Abort(reason=reason) | Supersede(reason=reason):
            return ended(state, ENDS[type(verdict)], reason, now)


def ended(state: RolloutState, phase: Phase, reason: str, now: datetime) -> RolloutState:
    """The state of a rollout that ends without its challenger: all traffic is asked back at once."""
    over = _changed(state, phase=phase, reason=reason, ended=now)
    return split(over, 0, False, now) if state.weight_percent or state.shadow else over


def promoted(state: RolloutState, reason: str, now: datetime) -> RolloutState:
    """The state once the registry names the challenger champion."""
    return _changed(state, phase=Phase.PROMOTED, reason=reason, ended=now, shadow=False, weight_percent=WHOLE)


def split(state: RolloutState, weight_percent: int, shadow: bool, now: datetime) -> RolloutState:
    """Another split is asked of the router; the one before it counts until now."""
    epoch = WeightEpoch(weight_percent=weight_percent, shadow=shadow, asked_at=now)
    before = tuple(_closed(each, now) for each in state.epochs)
    return _changed(state, weight_percent=weight_percent, shadow=shadow, epochs=(*before, epoch))


def answering(state: RolloutState, seen: ServingSeen, version: int, now: datetime) -> RolloutState:
    """The state after a look at the challenger's process, and at whether the router sends it requests."""
    route = seen.route
    sent = route is not None and (
        route.champion == version or (route.challenger == version and not route.shadow and route.weight_percent > 0)
    )
    since = (state.unanswered_since or now) if sent and version in seen.down else None
    return state if since == state.unanswered_since else _changed(state, unanswered_since=since)


def routed(state: RolloutState, confirmed: bool, now: datetime) -> RolloutState:
    """
    The state after a look at the router.

    Args:
        confirmed: Whether the router has the split that the last epoch asks for.

    An epoch that was confirmed and is no longer (a restart began with the champion alone) ends, and is asked again.
    One that is lost again and again, as somebody puts other weights back, stays one, and what it has not told of yet is
    left out: else each time would be kept and told for ever.
    """
    if not state.epochs:
        return state
    last = state.epochs[-1]
    if confirmed and last.confirmed_from is None:
        epochs = (*state.epochs[:-1], last.model_copy(update={"confirmed_from": now}))
        started = state.step_started or (None if state.phase.ended else now)
        return _changed(state, epochs=epochs, step_started=started)
    if not confirmed and last.confirmed_from is not None and not state.phase.ended:
        if _is_again(state.epochs) and now - last.confirmed_from < BRIEFLY:
            return _changed(state, epochs=(*state.epochs[:-1], last.model_copy(update={"confirmed_from": None})))
        return split(state, last.weight_percent, last.shadow, now)
    return state


def carried(state: RolloutState | None) -> bool:
    """Whether the challenger ever answered anybody."""
    return state is not None and any(epoch.weight_percent for epoch in state.epochs)


def _is_again(epochs: Sequence[WeightEpoch]) -> bool:
    """Whether the last one asks for what the one before it asked for."""
    return len(epochs) > 1 and len({(each.weight_percent, each.shadow) for each in epochs[-2:]}) == 1


def _closed(epoch: WeightEpoch, now: datetime) -> WeightEpoch:
    if epoch.confirmed_from is None or epoch.confirmed_to is not None:
        return epoch
    return epoch.model_copy(update={"confirmed_to": now})


def _changed(state: RolloutState, **changes: Any) -> RolloutState:
    return state.model_copy(update=changes)
