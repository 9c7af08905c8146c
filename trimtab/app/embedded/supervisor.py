"""
Starts the store again when it dies or has to be started again, more slowly each time it does so soon after.

A store whose disk was full once may refuse writes to some folders until it is started again, however much room there
is by then: a part of its index has closed its journal. What was acknowledged before is all there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from trimtab.app.embedded.files import free_bytes
from trimtab.app.embedded.store import Store
from trimtab.core.errors import TrimtabError

LOOK_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A store that ran this long is taken for healthy: its next death is a first one again.
HEALTHY_SECONDS = 60.0
FULL_BYTES = 1 << 20  # with less on its disk it has refused something, or is about to
ROOM_BYTES = 16 << 20  # with less a start would end where the last one did
TROUBLE_SECONDS = 10.0  # a store that was only busy answers well within


class Supervisor:
    """
    A thread that watches the store between `start` and `stop`.

    The kernel ends a child when the thread that started it ends, so `stop` comes when nobody needs the store any more.

    Args:
        store: A store that was started.
        tell: Is told in one line what happened, from the thread.
        troubled: Whether the store answers who works on it with errors of its own.
    """

    def __init__(self, store: Store, tell: Callable[[str], None], troubled: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._tell = tell
        self._troubled = troubled
        self._was_full = False
        self._trouble_since: float | None = None  # monotonic seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="store-supervisor", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a start under way is given up."""
        self._stopping.set()
        self._store.give_up()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        pause, begun = FIRST_PAUSE_SECONDS, time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            why = self._why_restart()
            if not why:
                continue
            if time.monotonic() - begun > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._tell(f"the store {why}; starting it again in {pause:g} s")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            begun = time.monotonic()
            try:
                self._store.restart()
            except (TrimtabError, OSError) as error:
                if not self._stopping.is_set():
                    self._tell(f"the store did not start: {str(error).splitlines()[0]}")
                continue
            self.restarts += 1
            self._tell(f"the store is back at {self._store.endpoint} after {time.monotonic() - begun:.1f} s")

    def _why_restart(self) -> str:
        """What is wrong with the store that a start mends; empty while nothing is."""
        if not self._store.running:
            self._was_full, self._trouble_since = False, None
            return "ended by itself"
        free, now = free_bytes(self._store.folder), time.monotonic()
        self._was_full |= free < FULL_BYTES
        self._trouble_since = (self._trouble_since or now) if self._troubled() else None
        if free < ROOM_BYTES:
            return ""
        if self._was_full:
            self._was_full = False
            return "ran on a full disk, which has room again"
        if self._trouble_since is not None and now - self._trouble_since > TROUBLE_SECONDS:
            self._trouble_since = None
            return "goes on answering with errors"
        return ""
