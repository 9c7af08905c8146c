"""
What a long command shows, written by a thread of its own.

A terminal that is stopped (Ctrl-S), or a pipe that nobody reads, blocks whoever writes to it. Only this thread may wait
for that: signals and stopping go on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_LINES = 10_000  # kept for a terminal that is stopped: the oldest are left out then
PATIENCE_SECONDS = 1.0  # for the last lines to be written, once everything has stopped


class Screen:
    """
    Lines in order, and below them on a terminal one block that is drawn over itself; a context manager.

    Left while its thread is blocked, it ends the process: the interpreter would wait for the same lock.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._block: RenderableType | None = None
        self._closed = False
        self.draws = sys.stdout.isatty()  # whether blocks are drawn; asked once, before they take standard output over
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="screen", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """One more line; returns at once."""
        with self._news:
            self._lines.append(line)
            self._news.notify()

    def draw(self, block: RenderableType) -> None:
        """What stands below the lines from now on; returns at once, and does nothing where blocks are not drawn."""
        if not self.draws:
            return
        with self._news:
            self._block = block
            self._news.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            os._exit(0 if kind is None else 1)

    def _write(self) -> None:
        with ExitStack() as stack:
            display = None
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._lines or self._block is not None or self._closed)
                    lines, block, closed = list(self._lines), self._block, self._closed
                    self._lines.clear()
                    self._block = None
                try:
                    if block is not None and display is None:
                        from rich.live import Live

                        # It takes standard output over, so that lines are printed above it.
                        display = stack.enter_context(Live(auto_refresh=False, redirect_stdout=True))
                    for line in lines:
                        print(line, flush=True)
                    if display is not None and block is not None:
                        display.update(block, refresh=True)
                except (OSError, ValueError):
                    return  # nobody reads any more: the terminal is gone, the platform goes on
                if closed:
                    return
