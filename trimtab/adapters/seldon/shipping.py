"""
The prediction log on its way: lines to the local segment at once, finished segments to the store by a thread.

A request never waits for the store. While it is away, segments stay on the local disk and are tried again; what a
dead writer left there is sent under that writer's own name.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from trimtab.adapters.state import State
from trimtab.core.errors import Conflict, TrimtabError
from trimtab.serving.meters import Meters
from trimtab.serving.segments import SUFFIX, SegmentWriter, leftovers, segments, whole_lines

LOG = logging.getLogger(__name__)
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)  # the last one from then on: an outage of minutes costs ten more seconds
SWEEP_SECONDS = 30.0  # between looks for what dead writers left
CLOSE_SECONDS = 5.0  # for the last segments, at the end; what is left then stays for the next start


class PredictionLog:
    """
    One process's writer with the thread that sends for it.

    Args:
        state: Of the model; its bucket takes the segments.
        root: The local folder, one folder a writer in it.
        variant: What the writer's name begins with: `v7`.
        rows, seconds: When a segment is finished.
        meters: Where lost lines and waiting segments are counted.
    """

    def __init__(self, state: State, root: Path, variant: str, rows: int, seconds: float, meters: Meters) -> None:
        self._state = state
        self._root = root
        self._destination = state.uri(state.layout.root)
        self._writer = SegmentWriter(root, variant, self._destination, rows, seconds)
        self._seconds = seconds
        self._meters = meters
        self._ending = threading.Event()
        self._failures = 0
        self._swept = float("-inf")
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        self._thread.start()
        atexit.register(self.close)

    def append(self, lines: Sequence[bytes]) -> None:
        """Lines of one request, each ending with a newline: on the local disk when this returns, or counted as lost."""
        if not self._writer.append(b"".join(lines)):
            self._meters.add("log_lost_lines", len(lines))

    def close(self) -> None:
        """Send what there is, for at most five seconds; the rest waits on the disk for the next start."""
        if self._ending.is_set():
            return
        self._writer.close()
        self._ending.set()
        self._thread.join(CLOSE_SECONDS)
        self._writer.release()
        atexit.unregister(self.close)

    def _run(self) -> None:
        pause = min(0.5, self._seconds / 2)
        while not self._ending.wait(self._pause() if self._failures else pause):
            self._writer.rotate_if_old()
            self._send_all()
        self._send_all()

    def _pause(self) -> float:
        return BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS)) - 1]

    def _send_all(self) -> None:
        waiting = self._writer.finished()
        try:
            for path in waiting:
                self._send(self._writer.name, path, last=False)
            if time.monotonic() - self._swept >= SWEEP_SECONDS and not self._ending.is_set():
                self._sweep()
                self._swept = time.monotonic()
            self._failures = 0
        except (TrimtabError, OSError) as error:
            self._failures += 1
            if self._failures == 1:
                LOG.warning("the prediction log waits on the local disk: %s", str(error).replace("\n", "; "))
        finally:
            self._meters.set("log_waiting_segments", len(self._writer.finished()))

    def _sweep(self) -> None:
        """Send what dead writers left, under their own names."""
        for folder in leftovers(self._root, self._destination):
            found = segments(folder)
            for number, path in found:
                self._send(folder.name, path, last=number == found[-1][0])

    def _send(self, writer: str, path: Path, last: bool) -> None:
        """Put one segment, create-only, and delete the local one. An empty one is only kept where others follow it."""
        body = whole_lines(path.read_bytes())
        if body or not last:
            key = self._state.layout.predictions(writer, int(path.name.removesuffix(SUFFIX)))
            try:
                self._state.bucket.create(key, body)
            except Conflict:
                # Names are random and segments are sent whole, so somebody else's bytes stand there: keep ours.
                LOG.error("%s holds other bytes; the local ones are kept in %s", key, path.with_suffix(".kept"))
                path.rename(path.with_suffix(".kept"))
                return
            self._meters.add("log_sent_segments")
        path.unlink()
