"""Threads that work through the queue; what fails is looked at again, later each time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal, NamedTuple

from trimtab.app.cluster.queue import WorkQueue
from trimtab.app.cluster.resources import Key
from trimtab.core.errors import Conflict, TrimtabError

THREADS = 6  # a look mostly waits for the store; more would only hold more in memory at once
CONFLICT_SECONDS = 0.2
STOP_SECONDS = 20.0
log = logging.getLogger("trimtab.work")


class Work(NamedTuple):
    """
    What is to be looked at.

    A model; what serves it, with its rollouts; a rollout without a model, or one that was deleted; and whether such
    ones were deleted while nobody looked.

    Attributes:
        uid: Of the object that was deleted: another may stand by its name already.
    """

    kind: Literal["model", "serving", "rollout", "ended", "orphans"]
    key: Key
    uid: str = ""


class Workers:
    """
    Args:
        look: One look; returns in how many seconds the next is due, None: when it is added.
    """

    def __init__(self, look: Callable[[Work], float | None], threads: int = THREADS) -> None:
        self._look = look
        self._queue: WorkQueue[Work] = WorkQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"trimtab-work-{number}", daemon=True) for number in range(threads)
        ]
        self._told: dict[Work, str] = {}  # what does not work, as it was logged

    def add(self, work: Work, after_seconds: float = 0.0) -> None:
        self._queue.add(work, after_seconds)

    def forget(self, work: Work) -> None:
        self._queue.forget(work)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the looks that go on."""
        self._queue.close()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _work(self) -> None:
        while (work := self._queue.take()) is not None:
            try:
                pause = self._look(work)
            except Conflict as conflict:
                log.debug("%s %s/%s: %s", work.kind, *work.key, conflict.message)
                pause = max(self._queue.failed(work), CONFLICT_SECONDS)
            except Exception as error:
                self._say(work, error)
                self._queue.failed(work)
            else:
                self._told.pop(work, None)
                self._queue.done(work, pause)

    def _say(self, work: Work, error: Exception) -> None:
        """Log it, once as long as it stays the same."""
        told = str(error) if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
        if self._told.get(work) != told:
            self._told[work] = told
            unexpected = None if isinstance(error, TrimtabError) else error
            log.warning("%s %s/%s: %s", work.kind, *work.key, told, exc_info=unexpected)
