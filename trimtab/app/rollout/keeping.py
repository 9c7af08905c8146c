"""Writing rollout states down: at once where they say something new, evidence alone every few seconds."""

from __future__ import annotations

from datetime import datetime

from trimtab.adapters import crash
from trimtab.adapters.state.rollouts import Rollouts
from trimtab.core.rollout.values import RolloutState

KEEP_SECONDS = 2.0  # what was measured since and is lost by a kill is measured again
NO_NEWS = {"evidence", "position", "nonce", "reason"}  # a reason counts requests, and changes with each


class Keeping:
    """The states that one process writes under its epoch."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._held: dict[int, RolloutState] = {}  # with evidence that is not written yet, under its written nonce
        self._written: dict[int, datetime] = {}
        self.epoch = 0

    def forget(self, epoch: int) -> None:
        """The lease is this process's anew."""
        self.epoch = epoch
        self._held.clear()

    def remembered(self, written: RolloutState) -> RolloutState:
        """The state with what this process has measured beyond what is written."""
        held = self._held.get(written.number)
        return held if held is not None and held.nonce == written.nonce else written

    def keep(self, before: RolloutState, after: RolloutState, now: datetime) -> RolloutState:
        """Write `after` in place of `before`, or hold it until there is more to say."""
        same = before.nonce != "" and before.model_dump(exclude=NO_NEWS) == after.model_dump(exclude=NO_NEWS)
        # A state of a former epoch is written at once: who led before has to be fenced off.
        if same and before.epoch == self.epoch:
            if before.evidence == after.evidence and before.reason == after.reason:
                return before
            written = self._written.get(after.number)
            if written is not None and (now - written).total_seconds() < KEEP_SECONDS:
                self._held[after.number] = after
                return after
        self._written[after.number] = now
        saved = self.save(after)
        if len(saved.epochs) > len(before.epochs):
            crash.point("after-split")
        return saved

    def save(self, state: RolloutState) -> RolloutState:
        """
        Raises:
            Fenced: If a controller of a later epoch has written.
            Conflict: If the state is not the one that this was made from.
        """
        saved = self._rollouts.save(state.model_copy(update={"epoch": self.epoch}))
        self._held[saved.number] = saved
        return saved
