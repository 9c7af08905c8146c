"""
A rollout watched by the demo: paced so that the controller sees each step, and told afterwards for the report.

The fortnight stands still while the weights change: requests within two seconds of a change count for nothing, and a
fortnight of real traffic has more than three hundred.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab.core.rollout.epochs import SETTLING_SECONDS
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.app.demo.traffic import Fortnight
    from trimtab.app.demo.trials import Trial
    from trimtab.core.ports import Answer, TrafficSplit

LOOK_SECONDS = 0.1
READY_SECONDS = 120.0  # a variant serves within 5 s on an idle machine
STEP_SECONDS = 12.0  # from the last request that a gate asks for to the next step; the log of copies comes every 3 s
JUDGED_SECONDS = 30.0  # from labels to the verdict about them
SETTLED = SETTLING_SECONDS + 0.2
Tell = Callable[[str, str], None]  # what, and how


@dataclass
class Watch:
    """
    One rollout, from its proposal to its end.

    Args:
        trial: Whose it is.
        spec: As proposed.
        state: The model's.
        router: Whose answers are the evidence.
        tell: Is told of each change of the weights.
    """

    trial: Trial
    spec: RolloutSpec
    state: State
    router: TrafficSplit
    tell: Tell
    began_wall: float = field(default_factory=time.time)
    looks: list[tuple[float, RolloutState]] = field(default_factory=list)
    fortnights: list[Fortnight] = field(default_factory=list)
    labelled: list[float] = field(default_factory=list)  # wall seconds at which labels were sent
    answers: list[Answer] = field(default_factory=list)  # of the router, kept before its processes end

    def __post_init__(self) -> None:
        _, self._position = self.router.answers("")
        self._waited: set[int] = set()  # steps whose end was waited for

    @property
    def now(self) -> RolloutState | None:
        """As of the last look."""
        return self.looks[-1][1] if self.looks else None

    @property
    def ended(self) -> bool:
        return self.now is not None and self.now.phase.ended

    def look(self) -> RolloutState | None:
        """Read how far it is; what changed is told."""
        before, state = self.now, self.state.rollouts.state(self.spec.number)
        if state is None or (before is not None and before.nonce == state.nonce):
            return before
        self.looks.append((time.time(), state))
        if before is None or (before.weight_percent, before.shadow, before.phase) != (
            state.weight_percent,
            state.shadow,
            state.phase,
        ):
            self.tell(f"  {_split(self.spec, state)}", _short(state.reason))
        return state

    def wait_for(self, done: Callable[[RolloutState], bool], seconds: float) -> bool:
        """Whether it came to that in time."""
        until = time.monotonic() + seconds
        while True:
            state = self.look()
            if state is not None and (done(state) or state.phase.ended):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_SECONDS)

    def wait_until_settled(self) -> None:
        """Until the router has confirmed the split that is asked for, and requests under it count."""
        if self.wait_for(_confirmed, READY_SECONDS) and self.now is not None and self.now.epochs and not self.ended:
            confirmed = self.now.epochs[-1].confirmed_from
            if confirmed is not None:
                time.sleep(max(0.0, confirmed.timestamp() + SETTLED - time.time()))

    def after_day(self, fortnight: Fortnight) -> None:
        """The controller's turn: once a step has all the requests that it asks for, wait for the next one."""
        state = self.look()
        if state is None or self.ended:
            return
        if state.step not in self._waited and self._has_enough(state):
            self._waited.add(state.step)
            self.wait_for(lambda now: now.step > state.step, STEP_SECONDS)
        self.wait_until_settled()

    def _has_enough(self, state: RolloutState) -> bool:
        step = self.spec.policy.steps[state.step]
        since = state.epochs[-1].confirmed_from.timestamp() if state.epochs[-1].confirmed_from else float("inf")
        sent = [each for fortnight in self.fortnights for each in fortnight.asked]
        if step.shadow is not None:
            return sum(each.at >= since for each in sent) >= (step.shadow.min_requests or self.spec.policy.min_requests)
        own = [each for each in sent if each.version == self.spec.version and each.at >= since + SETTLING_SECONDS]
        return len(own) >= (step.min_requests or self.spec.policy.min_requests)

    def after_labels(self, labels: int) -> None:
        """Labels have come: wait until the controller has weighed them, and for what it makes of them."""
        self.labelled.append(time.time())
        before = self._weighed()
        if self.wait_for(lambda _: self._weighed() >= before + 0.95 * labels, JUDGED_SECONDS):
            self.wait_for(lambda _: False, 2.5)  # two looks of the controller

    def _weighed(self) -> int:
        loss = self.now.evidence.get("loss", {}) if self.now else {}
        return int(loss.get("mature", 0)) + int(loss.get("leftOut", 0))

    def close(self) -> None:
        """Keep the router's answers, while it runs."""
        time.sleep(1.0)  # its log is written five times a second, and read half a second later
        while True:
            more, self._position = self.router.answers(self._position)
            self.answers += more
            if not more:
                return


def _confirmed(state: RolloutState) -> bool:
    return bool(state.epochs) and state.epochs[-1].confirmed_from is not None and state.phase is not Phase.PENDING


def _split(spec: RolloutSpec, state: RolloutState) -> str:
    if state.phase.ended:
        return f"v{spec.version} {'promoted' if state.phase is Phase.PROMOTED else 'rolled back'}"
    if state.shadow:
        return f"v{spec.version} on copies"
    return f"v{spec.version} at {state.weight_percent} %" if state.weight_percent else f"v{spec.version} starts"


def _short(reason: str) -> str:
    return reason.splitlines()[0] if reason else ""
