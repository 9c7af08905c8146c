"""
Child processes that never outlive their owner unnoticed.

Each child leads its own process group, is recorded by pid and start time under `.trimtab/pids/`, and on Linux asks the
kernel to end it when its parent dies. What a killed parent left behind is found by that record and ended at the next
start; a process is never looked for by its name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from trimtab.app.embedded.files import make_folder, read_json, write_json

# psutil derives start times from the boot time, which a step of the clock shifts a little; the kernel hands a pid out
# again only after all others, so two processes of one pid within a second do not happen.
START_TOLERANCE_SECONDS = 1.0
STOP_SECONDS = 5.0  # the store needs two, and loses nothing by a kill

# Runs before the command, in its place: a hook between fork and exec may deadlock in a process with threads.
# The signal comes when the *thread* that started the child ends, so a child is started from one that lives on.
GUARD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        sys.exit(143)  # the parent died before the kernel knew
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Recorded:
    """A process as `.trimtab/pids/NAME.json` names it; `started` in seconds since the epoch."""

    name: str
    pid: int
    started: float
    command: tuple[str, ...] = ()

    def process(self) -> psutil.Process | None:
        """The living process, or None when it ended (another one under its pid is not it)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= START_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def record(folder: Path, name: str, pid: int, command: Sequence[str]) -> Recorded:
    """Write the pid file of a process that runs."""
    started = psutil.Process(pid).create_time()
    write_json(
        make_folder(folder) / f"{name}.json", {"pid": pid, "start_time": started, "command": [Path(command[0]).name]}
    )
    return Recorded(name, pid, started, tuple(command[:1]))


def recorded(folder: Path) -> list[Recorded]:
    """All pid files of the folder that can be read."""
    found = []
    for path in sorted(folder.glob("*.json")):
        value = read_json(path) or {}
        pid, started = value.get("pid"), value.get("start_time")
        if isinstance(pid, int) and isinstance(started, int | float):
            found.append(Recorded(path.stem, pid, float(started), tuple(value.get("command", []))))
    return found


def end(process: psutil.Process, seconds: float = STOP_SECONDS) -> None:
    """End a process and everything it started: TERM, wait, KILL what is left."""
    family = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, alive = psutil.wait_procs(family, timeout=seconds)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=seconds)


def end_leftovers(folder: Path) -> list[Recorded]:
    """End what a former owner left running, and forget all its records; returns what had to be ended."""
    ended = []
    for entry in recorded(folder):
        process = entry.process()
        if process is not None and process.pid != os.getpid():
            end(process)
            ended.append(entry)
        (folder / f"{entry.name}.json").unlink(missing_ok=True)
    return ended


class Child:
    """One child process: started, recorded, its output in a log file, ended with all it started."""

    def __init__(
        self, name: str, command: Sequence[str], *, pids: Path, log: Path, cwd: Path, environ: Mapping[str, str]
    ) -> None:
        self.name = name
        self._command = [str(word) for word in command]
        self._pids = pids
        self._log = log
        self._cwd = cwd
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before it was started; negative: ended by that signal."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the command; its output goes on at the end of the log."""
        guard = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid())]
        with open(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._process = subprocess.Popen(
                [*guard, *self._command],
                cwd=self._cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        record(self._pids, self.name, self._process.pid, self._command)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it and forget its record; nothing happens when it was never started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(psutil.Process(self._process.pid), seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # What left the family tree but not the group.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        (self._pids / f"{self.name}.json").unlink(missing_ok=True)
        self._process = None

    def last_lines(self, lines: int = 12) -> list[str]:
        """The end of its log, oldest first."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-lines:]
