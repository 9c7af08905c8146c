"""The backtest of the same uploads, in a process of its own beside the stream: what the baselines would have done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from trimtab.core.comparison import Backtest
from trimtab.core.errors import Unavailable

COMMAND = "from trimtab.app.cli import main; main()"
POLITENESS = 10  # the stream goes first
STOP_SECONDS = 10.0


class Rivals:
    """
    `trimtab backtest` on the files, from `with` to `result`; leaving the block ends it.

    Args:
        spec: The model's YAML file.
        files: The uploads, a file each.
        log: Where it may write what it says on standard error.
    """

    def __init__(self, spec: Path, files: Sequence[Path], log: Path) -> None:
        self._arguments = ["backtest", "-f", str(spec), *map(str, files), "--json"]
        self._log = log
        self._process: subprocess.Popen[bytes]
        self._answer: list[bytes] = []
        self._reader: threading.Thread

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the demo, which ends this one
            )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, POLITENESS)
        # A pipe that nobody reads holds 64 KiB: the answer is longer.
        self._reader = threading.Thread(target=self._read, name="demo-backtest", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(STOP_SECONDS)

    def result(self) -> Backtest:
        """
        What the backtest found, waited for.

        Raises:
            Unavailable: If it failed: its last line.
        """
        self._reader.join()
        if self._process.wait() != 0:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise Unavailable(f"the backtest failed: {said[-1] if said else 'without a word'}", f"see {self._log}")
        return Backtest.from_json(self._answer[0])

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            self._answer.append(stdout.read())
