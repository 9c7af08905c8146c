"""The losses of a rollout from the prediction log: on pairs by replay, or of what the gateway answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab.app.rollout.measuring import ANSWERS_AT_ONCE, Reached
from trimtab.app.rollout.replaying import Losses, Replay
from trimtab.core.ports import Clock, TrafficSplit
from trimtab.core.rollout.values import RolloutSpec, RolloutState

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.spec.model import ContinuousModel


def from_the_log(
    state: State,
    model: ContinuousModel,
    traffic: TrafficSplit,
    clock: Clock,
    trusted_types: tuple[str, ...] = (),
    spec_folder: str = "",
) -> Replay:
    """
    What gives a rollout's losses, all of them each time.

    Args:
        traffic: Its log of answers names the users.
        clock: The policy clock, on which labels mature.
    """
    users = Users(traffic)

    def losses(spec: RolloutSpec, at: RolloutState) -> Losses:
        # Polars, scikit-learn and the models are loaded once there is something to replay.
        from trimtab.adapters import replay

        pair = (spec.champion, spec.version, clock.now())
        if not spec.depend_on_prediction:
            return replay.loss_pairs(
                state,
                model,
                *pair,
                loss_scale=spec.loss_scale,
                trusted_types=trusted_types,
                spec_folder=spec_folder,
            )
        named = users.since(Reached.of(at).first) if spec.policy.sticky_header else {}
        return replay.live_losses(state, model, *pair, since=at.started, loss_scale=spec.loss_scale, users=named)

    return losses


class Users:
    """Who asked: the sticky header's value by request id, from the router's log since a rollout began."""

    def __init__(self, traffic: TrafficSplit) -> None:
        self._traffic = traffic
        self._first: str | None = None
        self._position = ""
        self._named: dict[str, str] = {}

    def since(self, first: str) -> dict[str, str]:
        """Read on from where the last call ended; another beginning starts afresh."""
        if first != self._first:
            self._first, self._position, self._named = first, first, {}
        while True:
            answers, self._position = self._traffic.answers(self._position, ANSWERS_AT_ONCE)
            self._named.update({answer.request_id: answer.user for answer in answers if answer.user})
            if len(answers) < ANSWERS_AT_ONCE:
                return self._named
