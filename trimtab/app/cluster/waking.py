"""
Telling the other processes that there is something new, by annotations of the ContinuousModel.

A hint: every process looks by itself, too. So what the API server does not take is not tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.app.cluster.resources import Key
from trimtab.core.errors import NotFound, TrimtabError

LEAST_SECONDS = 1.0  # between two of the same kind for the same model
log = logging.getLogger("trimtab.waking")


class Waking:
    """
    Safe in many threads.

    Args:
        annotation: What is set, to the moment.
        manager: Field manager of what is written.
    """

    def __init__(self, api: Api, annotation: str, manager: str) -> None:
        self._api = api
        self._annotation = annotation
        self._manager = manager
        self._told: dict[Key, float] = {}  # monotonic seconds
        self._lock = threading.Lock()

    def tell(self, key: Key) -> bool:
        """Say that there is something new; False where it was said so recently that it has to be said again."""
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(key, float("-inf")) < LEAST_SECONDS:
                return False
            self._told[key] = now
        stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        body = {"metadata": {"annotations": {self._annotation: stamp}}}
        try:
            self._api.merge(MODEL, *key, body, manager=self._manager)
        except NotFound:
            with self._lock:
                self._told.pop(key, None)
        except TrimtabError as error:
            log.warning("%s/%s: the other processes could not be told of news: %s", *key, error.message)
        return True
