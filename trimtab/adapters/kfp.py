"""
Training runs by kfp.local: each run is a child process of its own, which `kfp_child` fills.

A run owns one folder, and everything that is known of it stands there, so that a restarted parent knows as much as
the one before it:

    FOLDER/RUN_ID/request.json   what it was started with; created once, so a run id is never started twice
                  process.json   pid and start time of the child
                  log.txt        what the steps printed, without the engine's own talk
                  result.json    how it ended; written atomically
                  root/, tmp/    KFP's local artifacts and the steps' temporary files, gone when it succeeded

The child leads a session, so that stopping it stops the step that runs; and it ends itself when the process that
started it is gone. (PR_SET_PDEATHSIG would follow the thread that called fork, not the process.)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from trimtab.core.errors import NotFound, Unavailable
from trimtab.core.ports import RunPhase, RunRequest, RunStatus

RUN_VARIABLE = "TRIMTAB_RUN_ID"  # stands in the environment of the child and of every step
PARENT_VARIABLE = "TRIMTAB_PARENT_PID"
GRACE_SECONDS = 3.0  # between SIGTERM and SIGKILL
START_SECONDS = 5.0  # from a request to its child's pid: a fork and two small files
# A start time comes from the boot time, which the system may correct by a second; no pid returns that soon.
START_TOLERANCE_SECONDS = 2.0


class LocalLauncher:
    """
    `RunLauncher` over kfp.local.

    Args:
        folder: Where the runs' folders stand; made when missing.
        pipeline: `module:attribute` of the pipeline function, imported by the child only.
        env: What the child's environment has beyond this process's own: store address and credentials.
    """

    def __init__(self, folder: Path, pipeline: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.pipeline = pipeline
        self.env = dict(env or {})
        self._children: dict[str, subprocess.Popen[bytes]] = {}  # kept only to reap them

    def look_up(self, run_id: str) -> RunStatus | None:
        """
        The run, or None when it was never started.

        A child that died without a result failed; what it left running is ended first, because the caller may
        start the next attempt at once.
        """
        run = self._run(run_id)
        if not run.request.exists():
            return None
        self._reap()
        if (status := run.status()) is not None:
            return status
        if run.alive():
            return RunStatus(run_id, RunPhase.RUNNING)
        if run.starting():
            return RunStatus(run_id, RunPhase.PENDING)
        # It may have ended between the two looks.
        if (status := run.status()) is None:
            _end(run_id)
            run.conclude(RunPhase.FAILED, "the run's process was killed before it finished")
            status = run.status()
        return status

    def launch(self, request: RunRequest) -> RunStatus:
        """Start the run in a child process, or adopt the one that this run id has already."""
        run = self._run(request.run_id)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            if not _create(run.request, {"pipeline": self.pipeline, **asdict(request)}):
                found = self.look_up(request.run_id)
                assert found is not None
                return found
            self._children[request.run_id] = child = self._start(run)
            run.remember(child.pid)
        except OSError as error:
            self.stop(request.run_id)
            raise Unavailable(
                f"could not start a process for run {request.run_id}: {error}",
                "free memory, processes or disk space; the run is tried again",
            ) from error
        return RunStatus(request.run_id, RunPhase.RUNNING)

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        """The last lines that the run's steps printed, oldest first."""
        try:
            text = self._run(run_id).log.read_text(errors="replace")
        except FileNotFoundError:
            return []
        return text.splitlines()[-lines:] if lines > 0 else []

    def stop(self, run_id: str) -> None:
        """End the run with everything that it started; returns when nothing of it runs any more."""
        run = self._run(run_id)
        if not run.request.exists() or run.status() is not None:
            return
        _end(run_id)
        self._reap()
        run.conclude(RunPhase.FAILED, "the run was stopped")

    def leftovers(self) -> list[str]:
        """Run ids that were started, by whichever process, and have not ended by themselves."""
        if not self.folder.is_dir():
            return []
        runs = [self._run(path.name) for path in sorted(self.folder.iterdir()) if path.is_dir()]
        return [run.id for run in runs if run.request.exists() and run.status() is None]

    def _run(self, run_id: str) -> Run:
        if not run_id or Path(run_id).name != run_id:
            raise NotFound(f"found no run {run_id!r}", "`trimtab history` lists the runs")
        return Run(run_id, self.folder / run_id)

    def _start(self, run: Run) -> subprocess.Popen[bytes]:
        temporary = run.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        env = {**os.environ, **self.env}
        # Without bytecode every one of the seven steps would compile trimtab again.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        env |= {
            RUN_VARIABLE: run.id,
            PARENT_VARIABLE: str(os.getpid()),
            "TMPDIR": str(temporary),
            "PYTHONUNBUFFERED": "1",
        }
        with run.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "trimtab.adapters.kfp_child", str(run.request)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    def _reap(self) -> None:
        """Take leave of every child that has ended: one writes its result a moment before, and is not asked again."""
        self._children = {run: child for run, child in self._children.items() if child.poll() is None}


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    id: str
    folder: Path

    @property
    def request(self) -> Path:
        return self.folder / "request.json"

    @property
    def process(self) -> Path:
        return self.folder / "process.json"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def status(self) -> RunStatus | None:
        """How it ended, or None while that is open."""
        result = _read(self.folder / "result.json")
        return RunStatus(self.id, RunPhase(result["phase"]), result["error"]) if result else None

    def conclude(self, phase: RunPhase, error: str = "") -> None:
        """The first result stands."""
        if phase is RunPhase.SUCCEEDED:
            shutil.rmtree(self.folder / "root", ignore_errors=True)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        _create(self.folder / "result.json", {"phase": phase.value, "error": error})

    def remember(self, pid: int) -> None:
        try:
            started = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return  # it ended already, and nobody will look for it
        _create(self.process, {"pid": pid, "started": started})

    def starting(self) -> bool:
        """Whether somebody may stand between the request and the child's pid just now."""
        return not self.process.exists() and time.time() - self.request.stat().st_mtime < START_SECONDS

    def alive(self) -> bool:
        """Whether the very child that was started still runs: a pid alone may be another's by now."""
        record = _read(self.process)
        if record is None:
            return False
        try:
            process = psutil.Process(record["pid"])
            near = abs(process.create_time() - record["started"]) < START_TOLERANCE_SECONDS
            return near and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def _members(run_id: str) -> list[psutil.Process]:
    """Every process of the run, found by the variable that all of them inherit; never this process itself."""
    members = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN_VARIABLE) == run_id:
                members.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone while we looked
    return members


def _end(run_id: str) -> None:
    """SIGTERM, then SIGKILL, until nothing of the run is left: the first look may miss what was just started."""
    deadline = time.monotonic() + GRACE_SECONDS
    while members := _members(run_id):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for process in members:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(members, timeout=max(0.2, deadline - time.monotonic()))


def _create(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a file whole and only if there is none; False when there is one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        draft.write_text(json.dumps(value))
        draft.chmod(0o600)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value
