"""
The losses of a model's rollouts, scored here and kept in the state for the controller, which loads no model.

The controller reads them by `read_losses`, or each new state of them once by `NewLosses`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from trimtab.adapters.state import State
from trimtab.adapters.stored_losses import Losses, LossWriter
from trimtab.adapters.stored_losses import NewLosses as NewLosses
from trimtab.adapters.stored_losses import read_losses as read_losses
from trimtab.app.clocks import WallClock
from trimtab.core.ports import Clock
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState
from trimtab.core.spec.model import ContinuousModel

LEAST_PAUSE_SECONDS = 2.0  # between two replays of a rollout
PAUSE_FACTOR = 4.0  # ... or so many times as long as the last one took
Score = Callable[[RolloutSpec, RolloutState], Losses]


def judged(state: State, now: datetime) -> list[tuple[RolloutSpec, RolloutState]]:
    """
    The rollouts that count now, by number: those that are led or wait for it, and the one that is on probation.

    Args:
        state: The model's.
        now: Wall clock.

    Raises:
        Unavailable: If the store does not answer.
    """
    found = []
    for number, at in state.rollouts.states().items():
        spec = state.rollouts.find(number)
        if spec is None or at is None:
            continue
        late = at.phase is Phase.PROMOTED and at.ended is not None and now < at.ended + spec.policy.probation
        if late or not at.phase.ended:
            found.append((spec, at))
    return found


class Replays:
    """
    Scores the rollouts of one model. Belongs to one thread.

    Args:
        score: All losses of a rollout so far; None: champion and challenger on the logged rows, as on one machine.
        clock: The policy clock, on which labels mature.
    """

    def __init__(
        self,
        state: State,
        model: ContinuousModel,
        score: Score | None = None,
        clock: Clock | None = None,
        trusted_types: tuple[str, ...] = (),
        spec_folder: str = "",
    ) -> None:
        self._state = state
        self._score = score or _from_the_log(state, model, clock or WallClock(), trusted_types, spec_folder)
        self._writer = LossWriter(state)
        self._due: dict[int, float] = {}  # by rollout, monotonic seconds

    def look(self, wanted: Sequence[tuple[RolloutSpec, RolloutState]]) -> bool:
        """
        Score what is due of the rollouts that count; returns whether something new came out.

        Raises:
            Unavailable: If the store does not answer.
            Conflict: If another process scores the same rollout: the next look goes on from what it wrote.
            Invalid, NotFound: If a version cannot be loaded, or fails on rows that have all it needs.
        """
        news = False
        for spec, at in wanted:
            if time.monotonic() < self._due.get(spec.number, 0.0):
                continue
            began = time.monotonic()
            try:
                news = self._writer.write(spec.number, self._score(spec, at)) or news
            finally:
                took = time.monotonic() - began
                self._due[spec.number] = time.monotonic() + max(LEAST_PAUSE_SECONDS, PAUSE_FACTOR * took)
        self._due = {spec.number: self._due[spec.number] for spec, _ in wanted if spec.number in self._due}
        return news

    def forget(self) -> None:
        """Another process may have scored meanwhile."""
        self._writer = LossWriter(self._state)
        self._due.clear()


def _from_the_log(
    state: State, model: ContinuousModel, clock: Clock, trusted_types: tuple[str, ...], spec_folder: str
) -> Score:
    def score(spec: RolloutSpec, at: RolloutState) -> Losses:
        # Polars, scikit-learn and the models are loaded once there is something to score.
        from trimtab.adapters import replay

        pair = (spec.champion, spec.version, clock.now())
        if spec.depend_on_prediction:
            return replay.live_losses(state, model, *pair, since=at.started, loss_scale=spec.loss_scale)
        return replay.loss_pairs(
            state,
            model,
            *pair,
            loss_scale=spec.loss_scale,
            trusted_types=trusted_types,
            spec_folder=spec_folder,
        )

    return score
