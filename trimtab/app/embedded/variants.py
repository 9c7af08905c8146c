"""
The variants: one model server process group a version, started again when it ends, asked whether it answers.

A version that ends is started again at once the first time, then ever more slowly; one that has run well for a minute
begins anew. One that lives and does not answer for a minute is ended, and so started again.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from trimtab.app.embedded.files import make_folder
from trimtab.app.embedded.ports import LOOPBACK, free_ports, is_free
from trimtab.app.embedded.processes import Child

HEALTH_PATH = "/health/status"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
START_SECONDS = 120.0  # it takes 4 s, 9 cold; a loaded machine several times that
HUNG_SECONDS = 60.0
PROBE_SECONDS = 0.1  # between two questions to one that is not ready
WATCH_SECONDS = 1.0  # to one that is
ANSWER_SECONDS = 5.0
MISSED = 3  # answers in a row: one may be lost to a busy machine
STOP_SECONDS = 20.0  # for its last requests, and to put its prediction log into the store
LOG_BYTES = 8 << 20
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "TRIMTAB_CACHE",
    "TRIMTAB_TRUSTED_TYPES",
    "TRIMTAB_WORKERS",
    "TRIMTAB_THREADS",
    "TRIMTAB_LOG_SECONDS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class Variant:
    """
    One version's model server.

    Its methods are called from one thread, but `ready` and `failing`; a thread of its own asks whether it answers.

    Args:
        version: Of the model.
        command: Starts the server.
        environ: What it is told, but for its addresses.
        folder: Of its log.
        pids: Folder of the pid files.
    """

    def __init__(
        self, version: int, command: Sequence[str], environ: Mapping[str, str], *, folder: Path, pids: Path
    ) -> None:
        self.version = version
        self.restarts = 0
        self.was_ready = False
        self.port = 0
        self.metrics_port = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._folder = make_folder(folder)
        self._pids = pids
        self._child: Child | None = None
        self._begun = 0.0  # monotonic seconds of its last start
        self._heard = 0.0  # when it last answered, or began
        self._missed = 0
        self._answers = False
        self._pause = FIRST_PAUSE_SECONDS
        self._due: float | None = None
        self._why = ""
        self._hung = ""
        self._generation = 0
        self._stopping = threading.Event()
        self._prober = threading.Thread(target=self._probe, name=f"v{version}-prober", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the leader of its process group."""
        return self._child.pid if self._child else None

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._answers and self._alive

    @property
    def failing(self) -> str:
        """Why it does not get ready, in one line; empty when it is, or may still."""
        return "" if self.ready else self._why

    @property
    def _alive(self) -> bool:
        return self._child is not None and self._child.pid is not None and self._child.exit_code is None

    def start(self) -> None:
        self._launch()
        self._prober.start()

    def supervise(self) -> str:
        """Start it again if it ended or hangs; returns what happened, in one line, empty when nothing did."""
        now = time.monotonic()
        if self._alive:
            return self._end_if_hung(now)
        if self._due is None:
            self.restarts += 1
            self._answers = False
            if now - self._begun > HEALTHY_SECONDS:
                self._pause = FIRST_PAUSE_SECONDS
            self._due = now + self._pause
            self._why = self._last_words()
            return f"v{self.version} {self._why}; starting it again in {self._pause:.1f} s"
        if now >= self._due:
            self._pause, self._due = min(2 * self._pause, LONGEST_PAUSE_SECONDS), None
            assert self._child is not None
            self._child.stop(0)
            self._launch()
        return ""

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let it end what is under way and put its log away, then end it; from any thread."""
        self._stopping.set()
        self._answers = False
        if self._child is not None:
            self._child.stop(seconds)

    def _launch(self) -> None:
        # The router's clusters name the port: another one only where somebody took it meanwhile.
        if not (self.port and is_free(self.port)):
            self.port = free_ports([f"v{self.version}"])[f"v{self.version}"]
        self.metrics_port = free_ports(["metrics"], {"metrics": self.metrics_port})["metrics"]
        log = self._folder / f"v{self.version}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        self._child = Child(
            f"v{self.version}",
            self._command,
            pids=self._pids,
            log=log,
            cwd=self._folder,
            environ={
                **self._environ,
                "TRIMTAB_VERSION": str(self.version),
                "TRIMTAB_BIND": f"{LOOPBACK}:{self.port}",
                "TRIMTAB_METRICS_BIND": f"{LOOPBACK}:{self.metrics_port}",
            },
        )
        self._generation += 1
        self._answers, self._missed = False, 0
        self._begun = self._heard = time.monotonic()
        self._child.start()

    def _end_if_hung(self, now: float) -> str:
        silent = now - self._heard
        allowed = HUNG_SECONDS if self.was_ready else START_SECONDS
        if silent < allowed:
            return ""
        # The next look finds it ended.
        self._hung = f"lived and had not answered for {silent:.0f} s"
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._heard = now
        return ""

    def _last_words(self) -> str:
        if self._hung:
            words, self._hung = self._hung, ""
            return words
        assert self._child is not None
        code = self._child.exit_code
        if code == -signal.SIGKILL:
            return f"was ended by signal {-code}"  # without a word of its own: its last line tells of something else
        ended = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        lines = [line for line in self._child.last_lines() if not line.startswith((" ", "hint:"))]
        return f"{ended}: {lines[-1][:300]}" if lines else ended

    def _probe(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS if self._answers else PROBE_SECONDS):
            generation = self._generation
            heard = self._asks()
            if generation != self._generation or self._stopping.is_set():
                continue  # the answer of the one before
            if heard:
                self._heard, self._missed = time.monotonic(), 0
                self._answers = self.was_ready = True
                self._why = ""
            else:
                self._missed += 1
                if self._missed >= MISSED:
                    self._answers = False

    def _asks(self) -> bool:
        if not self._alive:
            return False
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", HEALTH_PATH)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Variants:
    """
    All variants of one platform.

    Args:
        command: Starts a model server.
        environ: What it is told, but for version and addresses.
        folder: Of their logs.
        pids: Folder of the pid files.
        tell: Is told in one line what happens to them.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        folder: Path,
        pids: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._environ = dict(environ)
        self._folder = folder
        self._pids = pids
        self._tell = tell
        self._running: dict[int, Variant] = {}
        self._ending: dict[int, threading.Thread] = {}
        self._restarts: dict[int, int] = {}

    def __getitem__(self, version: int) -> Variant:
        return self._running[version]

    @property
    def running(self) -> frozenset[int]:
        return frozenset(self._running)

    @property
    def ready(self) -> frozenset[int]:
        """Those that answer."""
        return frozenset(version for version, one in list(self._running.items()) if one.ready)

    @property
    def was_ready(self) -> frozenset[int]:
        """Those that have answered since they were first started."""
        return frozenset(version for version, one in list(self._running.items()) if one.was_ready)

    def load_addresses(self) -> dict[int, str]:
        """Of the metrics of those that answer, by version."""
        running = list(self._running.items())
        return {version: f"http://{LOOPBACK}:{one.metrics_port}/metrics" for version, one in running if one.ready}

    @property
    def failing(self) -> dict[int, str]:
        return {version: one.failing for version, one in list(self._running.items()) if one.failing}

    @property
    def restarts(self) -> dict[int, int]:
        """How often each ended by itself; versions that never did are left out."""
        now = {version: one.restarts for version, one in list(self._running.items()) if one.restarts}
        return {**self._restarts, **{version: self._restarts.get(version, 0) + more for version, more in now.items()}}

    def start(self, versions: Iterable[int]) -> None:
        """Start those that do not run yet; one that is still ending is waited for by the next call."""
        for version in versions:
            if version in self._running or self._still_ending(version):
                continue
            one = Variant(version, self._command, self._environ, folder=self._folder, pids=self._pids)
            one.start()
            self._running[version] = one
            self._tell(f"starting v{version} on port {one.port}")

    def supervise(self) -> None:
        for one in self._running.values():
            happened = one.supervise()
            if happened:
                self._tell(happened)

    def end(self, version: int) -> None:
        """Let it end, without waiting."""
        one = self._running.pop(version)
        if one.restarts:
            self._restarts[version] = self._restarts.get(version, 0) + one.restarts
        thread = threading.Thread(target=one.stop, name=f"v{version}-ending", daemon=True)
        thread.start()
        self._ending[version] = thread

    def stop(self) -> None:
        """End all of them, side by side, and wait for it."""
        for version in list(self._running):
            self.end(version)
        for thread in self._ending.values():
            thread.join()

    def _still_ending(self, version: int) -> bool:
        thread = self._ending.get(version)
        if thread is not None and not thread.is_alive():
            del self._ending[version]
            return False
        return thread is not None


def environ(variables: Mapping[str, str], model: str, log_folder: Path) -> dict[str, str]:
    """
    What every model server is told: the store and its keys, the model, and nothing else of this process but paths.

    >>> told = environ({"AWS_ACCESS_KEY_ID": "k", "TRIMTAB_TOKEN": "t"}, "flights", Path("/x/predictions"))
    >>> told["AWS_ACCESS_KEY_ID"], told["TRIMTAB_MODEL"], "TRIMTAB_TOKEN" in told
    ('k', 'flights', False)
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    secret = ("TRIMTAB_TOKEN", "TRIMTAB_GATEWAY_TOKEN")  # of doors that it does not open
    return {
        **inherited,
        **{name: value for name, value in variables.items() if name not in secret},
        "TRIMTAB_MODEL": model,
        "TRIMTAB_LOG_FOLDER": str(log_folder),
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
        "PYTHONUNBUFFERED": "1",
    }
