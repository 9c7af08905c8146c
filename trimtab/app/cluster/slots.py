"""How many runs of one namespace may go on at a time, and who waits for his turn."""

from __future__ import annotations

import threading
from collections.abc import Callable

from trimtab.app.cluster.resources import Key
from trimtab.core.wording import counted


class Slots:
    """
    Counts what the one leader lets run. Safe in many threads.

    A model that was not looked at yet, since this process leads, may have a run that goes on: it counts as if it had.

    Args:
        most: Of one namespace.
        wake: Is called with a model that waited, when its turn may have come.
    """

    def __init__(self, most: int, wake: Callable[[Key], None]) -> None:
        self._most = most
        self._wake = wake
        self._running: set[Key] = set()
        self._unknown: set[Key] = set()
        self._waiting: dict[Key, None] = {}  # in the order in which they came
        self._lock = threading.Lock()

    def expect(self, key: Key) -> None:
        """There is such a model, and nobody has looked whether it runs."""
        with self._lock:
            if key not in self._running:
                self._unknown.add(key)

    def ask(self, key: Key) -> str:
        """Take a place for a run that is to start; says why there is none, in a sentence, empty where there is."""
        namespace = key[0]
        with self._lock:
            taken = {each for each in self._running | self._unknown if each[0] == namespace and each != key}
            before = [each for each in self._waiting if each[0] == namespace]
            ahead = before.index(key) if key in before else len(before)
            if len(taken) + ahead < self._most:
                self._running.add(key)
                self._waiting.pop(key, None)
                return ""
            self._waiting.setdefault(key)
        return (
            f"{counted(self._most, 'run')} of namespace {namespace} may go on at a time, and as many do "
            "(TRIMTAB_MAX_CONCURRENT_RUNS); it starts when one of them has ended"
        )

    def keep(self, key: Key) -> None:
        """A run of this model goes on."""
        with self._lock:
            self._unknown.discard(key)
            self._waiting.pop(key, None)
            self._running.add(key)

    def free(self, key: Key) -> None:
        """No run of this model goes on: whoever waits in its namespace looks again."""
        with self._lock:
            had = key in self._running or key in self._unknown
            self._running.discard(key)
            self._unknown.discard(key)
            freed = [each for each in self._waiting if each[0] == key[0] and each != key] if had else []
        for each in freed:
            self._wake(each)

    def forget(self, key: Key) -> None:
        """There is no such model any more."""
        with self._lock:
            self._waiting.pop(key, None)
        self.free(key)

    def excuse(self, key: Key) -> None:
        """A look at it failed: others need not wait for what it may be about."""
        with self._lock:
            self._unknown.discard(key)
            self._waiting.pop(key, None)

    def leave(self, key: Key) -> None:
        """It does not wait for a turn any more."""
        with self._lock:
            self._waiting.pop(key, None)
