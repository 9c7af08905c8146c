"""
The thread that leads rollouts and keeps the champion serving, beside the worker and under the same lease.

A look that fails is repeated: the traffic stays as it is meanwhile, because the router needs nobody to go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.app.rollout.leader import Leader
from trimtab.app.rollout.losses import from_the_log
from trimtab.app.rollout.measuring import Measuring
from trimtab.app.rollout.replaying import Replaying
from trimtab.app.rollout.standing import Standing
from trimtab.app.rollout.telling import Telling
from trimtab.app.rollout.watched import Watched
from trimtab.app.tenure import Tenure
from trimtab.core.errors import Conflict, Fenced, TrimtabError, Unavailable
from trimtab.core.ports import Clock, TrafficSplit
from trimtab.core.records import ModelVersion
from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec.model import ContinuousModel

UNSETTLED_SECONDS = 0.1  # between looks while the router has still to confirm
LEADING_SECONDS = 1.0  # while a rollout goes on
IDLE_SECONDS = 2.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)  # after something did not work; the last one repeats
STOP_SECONDS = 30.0
CONFLICTS = 50  # so many in a row are no race any more: people have to know
log = logging.getLogger("trimtab.rollout")


def rollout_worker(
    state: State,
    model: ContinuousModel,
    traffic: TrafficSplit,
    clock: Clock,
    tenure: Tenure,
    tell: Callable[[str], None],
    trusted_types: tuple[str, ...] = (),
    spec_folder: str = "",
) -> RolloutWorker:
    """The thread for one model, with everything that it leads by."""
    split = Watched(traffic)
    replaying = Replaying(from_the_log(state, model, split, clock, trusted_types, spec_folder))
    measuring = Measuring(state, split, replaying)
    telling = Telling(state.journal, clock.now)

    def proposing(version: ModelVersion, champion: int, cause: str) -> RolloutSpec:
        return propose(state, model, version, champion, cause)

    leader = Leader(state, model.spec.rollout, split, measuring, telling, wall_clock, proposing)
    return RolloutWorker(leader, tenure, tell)


class RolloutWorker:
    """
    Leads one model's rollouts from `start` to `stop`, for as long as the lease is held.

    Args:
        tell: Is told of what goes wrong and comes right again, in one line.
    """

    def __init__(self, leader: Leader, tenure: Tenure, tell: Callable[[str], None]) -> None:
        self._leader = leader
        self._tenure = tenure
        self._tell = tell
        self._stopping = threading.Event()
        self._bell = threading.Event()
        self._epoch = 0  # under which the leader acts
        self._failures = self._conflicts = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._work, name="trimtab-rollout", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the look that goes on; the traffic stays as it is."""
        self._stopping.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def wake(self) -> None:
        """Something may have been asked: look now."""
        self._bell.set()

    @property
    def standing(self) -> Standing | None:
        """How the rollout stood at the last look."""
        return self._leader.standing

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work just now."""
        return tuple(problem for problem in (self._problem, *self._leader.problems) if problem)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            try:
                pause = self._look()
                self._recovered()
            except Exception as error:
                pause = self._failed(error)
            self._bell.wait(pause)

    def _look(self) -> float:
        """One look, if this process may act; returns when to look again."""
        epoch = self._tenure.epoch
        if epoch is None:
            self._epoch = 0
            return IDLE_SECONDS
        if epoch != self._epoch:
            self._leader.forget(epoch)
            self._epoch = epoch
        leading = self._leader.look()
        return UNSETTLED_SECONDS if self._leader.unsettled else LEADING_SECONDS if leading else IDLE_SECONDS

    def _failed(self, error: Exception) -> float:
        """Say so once; returns when to try again."""
        if isinstance(error, Fenced):
            self._tenure.lose(error)
            return IDLE_SECONDS
        if isinstance(error, Conflict):
            self._conflicts += 1
            if self._conflicts < CONFLICTS:
                return UNSETTLED_SECONDS  # somebody else wrote first: look again
        if not isinstance(error, TrimtabError):
            log.error("unexpected", exc_info=error)
        problem = str(error) if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
        if not self._problem:
            again = "trying again" if isinstance(error, Unavailable) else "until that is mended, no rollout goes on"
            self._tell(f"rollouts: {problem.splitlines()[0]}; {again}; the traffic stays as it is")
        self._problem = problem
        self._failures += 1
        return RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]

    def _recovered(self) -> None:
        self._conflicts = 0
        if self._problem:
            self._tell("rollouts: it works again")
            self._problem, self._failures = "", 0
