"""
The worker: one thread that takes in, decides and has runs executed, in passes that each look at everything afresh.

A pass that fails is repeated: nothing is lost by it, because the state says what is still to be done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from trimtab.adapters.state import State
from trimtab.app.chronicle import Chronicle
from trimtab.app.controller import Controller
from trimtab.app.intake import Intake
from trimtab.app.status import Held, Seen, Status, status_of
from trimtab.app.tenure import Tenure
from trimtab.core.errors import Conflict, Fenced, TrimtabError, Unavailable

WATCH_SECONDS = 0.1  # between looks at a run that goes on; such a look reads a small file
CLAIM_SECONDS = 5.0  # between renewals of the claim on it
DECIDE_SECONDS = 1.0  # while uploads keep coming, decisions come at least so often
STAND_BY_SECONDS = 1.0  # between looks at a lease that another process holds
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)  # after something did not work; the last one repeats
STOP_SECONDS = 60.0  # to finish what it is doing: taking in one file, at most
NEVER = float("-inf")
log = logging.getLogger("trimtab.worker")


class Worker:
    """
    Works for one model from `start` to `stop`.

    Args:
        spec_text: Put into the state when the lease is taken.
        on_wall: Whether the policy clock is the wall clock, so that a policy's date can be slept for.
        listing_seconds: How often the source is listed.
        tell: Is told of what goes wrong and comes right again, in one line.
    """

    def __init__(
        self,
        state: State,
        owner: str,
        spec_text: str,
        intake: Intake,
        chronicle: Chronicle,
        controller: Controller,
        on_wall: bool,
        listing_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self._state = state
        self._spec_text = spec_text
        self._intake = intake
        self._chronicle = chronicle
        self._controller = controller
        self._on_wall = on_wall
        self._listing_seconds = listing_seconds
        self._tell = tell
        self.tenure = Tenure(state.lease, owner, self._lost)
        self._stopping = threading.Event()
        self._bell = threading.Condition()
        self._rung = False
        self._listed = self._renewed = NEVER  # monotonic seconds
        self._busy_since: float | None = None  # monotonic seconds: uploads have been waiting since
        self._failures = 0
        self._problem = ""
        self.status = self._idle("starting")
        self._thread = threading.Thread(target=self._work, name="trimtab-worker", daemon=True)

    def start(self) -> None:
        self.tenure.start()
        self._thread.start()

    def stop(self) -> None:
        """End the run that goes on, so that the next start tries it again, and give the lease back."""
        self._stopping.set()
        self.wake()
        self._thread.join(STOP_SECONDS)
        self.tenure.end()

    def wake(self) -> None:
        """Something may have come: look now."""
        with self._bell:
            self._rung = True
            self._bell.notify_all()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self._pass() if self._may_act() else STAND_BY_SECONDS
                self._recovered()
            except Exception as error:
                pause = self._failed(error)
            self._sleep(pause)
        try:
            self._controller.interrupt()
        except TrimtabError as error:
            log.info("while stopping: %s", error)

    # One pass

    def _may_act(self) -> bool:
        """Whether this process has the lease; when it has just got it, everything is read afresh."""
        if self.tenure.held:
            return True
        self._controller.abandon()
        if not self.tenure.take():
            self.status = self._idle(f"standing by: {self.tenure.holder()} works for this model")
            return False
        self._controller.spec = self._state.data.put_spec(self._spec_text)
        self._chronicle.open()
        self._listed = NEVER
        return True

    def _pass(self) -> float:
        """Do once what there is to do; returns for how many seconds there is nothing more."""
        now = time.monotonic()
        news = self._take_bell()
        if now - self._listed >= self._listing_seconds:
            self._intake.reconcile()
            self._listed, news = now, True
        taken = self._intake.take_next()
        if taken is not None and self._intake.problem:
            self._chronicle.alert(f"champion/{self._intake.problem}", self._intake.problem)
        if self._goes_on_arriving(now):
            return 0.0
        return self._decide(news or taken is not None)

    def _goes_on_arriving(self, now: float) -> bool:
        """Whether to take in more before deciding: what came together is offered together, within a second."""
        if not self._intake.pending():
            self._busy_since = None
            return False
        if self._busy_since is None:
            self._busy_since = now
        if now - self._busy_since < DECIDE_SECONDS:
            return True
        self._busy_since = now
        return False

    def _decide(self, news: bool) -> float:
        """Bring decisions on, unless nothing has changed since; returns when to look again."""
        now = time.monotonic()
        if self._controller.run_goes_on():
            if now - self._renewed > CLAIM_SECONDS:
                self._controller.hold()
                self._renewed = now
            if not news:
                return WATCH_SECONDS
        self._controller.advance()
        self.status = self._controller.status(self._problems())
        if self._intake.pending():
            return 0.0
        return WATCH_SECONDS if self._controller.executing else self._until_next()

    def _until_next(self) -> float:
        """Seconds to the next listing, or to the moment that is waited for."""
        pause = self._listed + self._listing_seconds - time.monotonic()
        held, running = self.status.held, self.status.running
        moments = [running.retry_after if running else None]
        if held is not None and (held.clock == "wall" or self._on_wall):
            moments.append(held.until)
        for moment in moments:
            if moment is not None:
                pause = min(pause, (moment - datetime.now(UTC)).total_seconds())
        return max(pause, 0.01)

    # Sleeping and waking

    def _sleep(self, seconds: float) -> None:
        with self._bell:
            if seconds > 0 and not self._rung and not self._stopping.is_set():
                self._bell.wait(seconds)

    def _take_bell(self) -> bool:
        with self._bell:
            rung, self._rung = self._rung, False
        return rung

    # What goes wrong

    def _failed(self, error: Exception) -> float:
        """Say so once; returns when to try again."""
        if isinstance(error, Fenced):
            self.tenure.lose(error)
            return STAND_BY_SECONDS
        if isinstance(error, Conflict):
            return WATCH_SECONDS  # somebody else wrote first: look again
        if not isinstance(error, TrimtabError):
            log.error("unexpected", exc_info=error)
        problem = str(error) if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
        if not self._problem:
            again = "trying again" if isinstance(error, Unavailable) else "until that is mended, nothing goes on"
            self._tell(f"{problem.splitlines()[0]}; {again}")
        self._problem = problem
        self.status = replace(self.status, problems=self._problems())
        self._failures += 1
        return RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]

    def _recovered(self) -> None:
        if self._problem:
            self._tell("it works again")
            self._problem, self._failures = "", 0
            self.status = replace(self.status, problems=self._problems())

    def _lost(self, fenced: Fenced) -> None:
        self._controller.forget()
        self.wake()  # to end the run that goes on here: the other may start it at any moment
        self._tell(f"another process works for {self._state.model} now; standing by ({fenced.message})")

    def _problems(self) -> tuple[str, ...]:
        found = (self._problem or self.tenure.problem, self._intake.problem)
        return tuple(problem for problem in found if problem)

    def _idle(self, why: str) -> Status:
        return status_of(Seen(self._state.model, 0, {}, (), {}, held=Held("waiting", why, None, "wall")))
