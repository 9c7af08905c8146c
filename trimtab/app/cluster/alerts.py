"""
Alerts of all models that this process leads: who `spec.alerts` names is told what the journal says, each event once.

Threads of their own, woken when a journal has grown, so that a dead receiver holds up no look. The addresses stand in
this process's environment: it reads no Secret of anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.state import State
from trimtab.app.alerting import PAUSES, STOP_SECONDS, Line, asked_of
from trimtab.app.cluster.commands import SYSTEM, Commands
from trimtab.app.cluster.queue import WorkQueue
from trimtab.app.cluster.resources import Key
from trimtab.core.ports import Buckets
from trimtab.core.spec.model import ContinuousModel

THREADS = 4  # a receiver that does not answer holds one for some seconds a message

Name = tuple[Key, str]  # of a line: the model, and the variable


class Alerts:
    """
    Safe in many threads; tells from `start` to `stop`.

    Args:
        pauses: Before each further attempt, seconds.
    """

    def __init__(self, settings: ClusterSettings, buckets: Buckets, pauses: Sequence[float] = PAUSES) -> None:
        self._settings = settings
        self._buckets = buckets
        self._pauses = pauses
        self._queue: WorkQueue[Name] = WorkQueue()
        self._lines: dict[Name, Line] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"trimtab-alerts-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """After the messages that are being sent; what is left the next leader tells."""
        self._queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(STOP_SECONDS)

    def news(self, key: Key, model: ContinuousModel) -> None:
        """The model's journal may have grown, or its spec names others now. Asks nobody."""
        wanted = {(key, variable): asked for variable, asked in asked_of(model).items()}
        with self._lock:
            for name in [each for each in self._lines if each[0] == key and each not in wanted]:
                self._drop(name)
            for name, asked in wanted.items():
                line = self._lines.get(name)
                if line is None:
                    words = Commands(key[0], self._settings.pod_namespace or SYSTEM).told
                    self._lines[name] = Line(name[1], lambda: self._state(key), asked, self._pauses, words)
                else:
                    line.asked = asked
        for name in wanted:
            self._queue.add(name)

    def forget(self, key: Key) -> None:
        """There is no such model any more."""
        with self._lock:
            for name in [each for each in self._lines if each[0] == key]:
                self._drop(name)

    def problems(self, key: Key) -> tuple[str, ...]:
        """What could not be told last, a line a receiver."""
        with self._lock:
            return tuple(line.problem for name, line in self._lines.items() if name[0] == key and line.problem)

    def _drop(self, name: Name) -> None:
        del self._lines[name]
        self._queue.forget(name)

    def _state(self, key: Key) -> State:
        # Made for each look: hundreds of journals would not fit into memory.
        return State.open(self._buckets, f"s3://{self._settings.state_bucket}/{key[0]}", key[1])

    def _work(self) -> None:
        while (name := self._queue.take()) is not None:
            line = self._lines.get(name)
            self._queue.done(name, line.look() if line is not None else None)
