"""
A queue of keys to look at, each by one worker at a time.

What is added while its look goes on is looked at again; what is added twice before its look is looked at once. A key
may stand there for later; adding it sooner wins.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.5, 60.0
CALM_SECONDS, RESTLESS_SECONDS = 2.0, 20.0  # a predictor takes longer than this only where something is wrong


@dataclass
class Calm:
    """Looks in quick succession for a while only: a router that is away must not cost a core."""

    restless: float | None = None  # seconds of the caller's clock, since when looks follow one another so fast

    def __call__(self, pause: float, now: float) -> float:
        """Seconds to the next look, where `pause` are asked for."""
        if pause >= CALM_SECONDS:
            self.restless = None
            return pause
        if self.restless is None:
            self.restless = now
        return pause if now - self.restless < RESTLESS_SECONDS else CALM_SECONDS


class WorkQueue(Generic[K]):
    """
    Safe in many threads.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bell = threading.Condition()
        self._due: dict[K, float] = {}  # when each waiting key is to be looked at
        self._heap: list[tuple[float, int, K]] = []  # may hold entries that `_due` no longer says
        self._number = 0  # keeps equal times in the order they came
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._closed = False

    def add(self, key: K, after_seconds: float = 0.0) -> None:
        """Look at it then, or sooner where that was said already."""
        with self._bell:
            self._add(key, self._clock() + max(after_seconds, 0.0))

    def take(self) -> K | None:
        """The next key that is due, waiting for one; None once the queue is closed."""
        with self._bell:
            while not self._closed:
                key, pause = self._next()
                if key is not None:
                    del self._due[key]
                    self._busy.add(key)
                    return key
                self._bell.wait(pause)
            return None

    def done(self, key: K, again_seconds: float | None = None) -> None:
        """Its look has ended well; look again then, None: when it is added."""
        with self._bell:
            self._failures.pop(key, None)
            self._free(key, again_seconds)

    def failed(self, key: K) -> float:
        """Its look has failed; returns in how many seconds it is looked at again: later each time."""
        with self._bell:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            pause = float(min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS))
            self._free(key, pause)
            return pause

    def forget(self, key: K) -> None:
        """There is nothing by this key any more."""
        with self._bell:
            self._due.pop(key, None)
            self._failures.pop(key, None)

    def close(self) -> None:
        """Whoever waits in `take` goes home."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()

    def __len__(self) -> int:
        return len(self._due)

    def _add(self, key: K, due: float) -> None:
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, key))
        self._bell.notify()

    def _free(self, key: K, again_seconds: float | None) -> None:
        self._busy.discard(key)
        if again_seconds is not None:
            self._add(key, self._clock() + max(again_seconds, 0.0))
        self._bell.notify()  # what was added during the look may be due

    def _next(self) -> tuple[K | None, float | None]:
        """A key that is due and not being looked at, or how long there is none."""
        waiting: list[tuple[float, int, K]] = []  # due, but being looked at
        found: K | None = None
        while self._heap and found is None:
            due, number, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due > self._clock():
                break
            else:
                heapq.heappop(self._heap)
                if key in self._busy:
                    waiting.append((due, number, key))
                else:
                    found = key
        for entry in waiting:
            heapq.heappush(self._heap, entry)
        pause = None
        if found is None:
            later = [due for due, _, key in self._heap if key not in self._busy and self._due.get(key) == due]
            pause = max(min(later) - self._clock(), 0.001) if later else None
        return found, pause
