"""Losses by replay, in a thread of their own: scoring every logged row must not hold up a rollback."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from trimtab.core.errors import TrimtabError, Unavailable
from trimtab.core.rollout.evidence import LiveLosses, LossPairs
from trimtab.core.rollout.values import RolloutSpec, RolloutState

LEAST_PAUSE_SECONDS = 2.0  # between two replays
PAUSE_FACTOR = 4.0  # ... or so many times as long as the last one took
log = logging.getLogger("trimtab.rollout")

Losses = LossPairs | LiveLosses
# All labelled pairs of a rollout so far, or all losses on weighted traffic; None where nothing came since.
Replay = Callable[[RolloutSpec, RolloutState], Losses | None]
Start = Callable[[Callable[[], None]], None]


def in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="trimtab-replay", daemon=True).start()


class Replaying:
    """
    The newest losses of a rollout that is led, or on probation; one replay at a time.

    Args:
        replay: Gives all of them; called by one thread at a time.
        start: How the work is begun; a test does it at once.
        pause_seconds: Between two replays, at least; 0 replays at every look.

    Attributes:
        problem: Why the last replay gave nothing; empty when it did.
    """

    def __init__(self, replay: Replay, start: Start = in_a_thread, pause_seconds: float = LEAST_PAUSE_SECONDS) -> None:
        self._replay = replay
        self._start = start
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._running = False
        self._due: dict[int, float] = {}  # by rollout, monotonic seconds
        self._newest: dict[int, Losses] = {}
        self.problem = ""

    def newest(self, spec: RolloutSpec, state: RolloutState) -> Losses | None:
        """What came out since the last call for this rollout, each once; begins another replay when one is due."""
        with self._lock:
            begin = not self._running and time.monotonic() >= self._due.get(spec.number, 0.0)
            self._running = self._running or begin
        if begin:
            self._start(lambda: self._work(spec, state))
        with self._lock:
            return self._newest.pop(spec.number, None)

    def _work(self, spec: RolloutSpec, state: RolloutState) -> None:
        began = time.monotonic()
        found: Losses | None = None
        problem = ""
        try:
            found = self._replay(spec, state)
        except Unavailable as error:
            log.info("replay: %s", error)  # the controller's own next look says that the store is away
        except TrimtabError as error:
            problem = f"{spec.name}: the loss cannot be measured: {error}"
        except Exception as error:
            log.error("unexpected in a replay", exc_info=error)
            problem = f"{spec.name}: the loss cannot be measured: {type(error).__name__}: {error}"
        took = time.monotonic() - began
        with self._lock:
            if found is not None:
                self._newest[spec.number] = found
            self.problem = problem
            self._running = False
            pause = max(self._pause_seconds, PAUSE_FACTOR * took) if self._pause_seconds else 0.0
            self._due[spec.number] = time.monotonic() + pause
