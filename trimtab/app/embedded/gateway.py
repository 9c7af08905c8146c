"""
The gateway: two Envoys on one port, the same files for both, each started again when it ends.

Two, because the kernel gives every new connection to the one that lives: while the other is started again, nobody is
turned away. What they are to do stands in two files, renamed into place, so that a start or a kill at any moment finds
the last one whole.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.adapters.envoy import access_log, bootstrap, clusters, routes
from trimtab.adapters.envoy.access_log import AccessLog
from trimtab.adapters.envoy.admin import Admin
from trimtab.app.embedded import envoy
from trimtab.app.embedded.files import make_folder, read_json, write_json
from trimtab.app.embedded.ports import LOOPBACK, free_ports
from trimtab.app.embedded.processes import Child
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Answer, Serving
from trimtab.core.records import digest

NAMES = ("a", "b")
FILES = "files"
LARGEST_BODY = 16 << 20  # bytes; the model server has its own, lower limits
READY_SECONDS = 30.0
CONFIRM_SECONDS = 5.0
AGREE_SECONDS = 1.0
DRAIN_SECONDS = 5.0  # at the end of the platform, for requests that are under way
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
LOOK_SECONDS = 2.0
HUNG_SECONDS = 15.0
SETTLE_SECONDS = 0.5  # by then each of them has written what the other wrote before it


@dataclass
class _Envoy:
    """One of the two."""

    child: Child
    admin: Admin
    log: AccessLog
    begun: float = 0.0  # monotonic seconds of its last start
    pause: float = FIRST_PAUSE_SECONDS
    due: float | None = None  # when to start it again
    restarts: int = 0
    heard: float = 0.0  # when it last answered

    @property
    def alive(self) -> bool:
        return self.child.pid is not None and self.child.exit_code is None


@dataclass
class _File:
    """A file of the two: what stands in it, and whether it is confirmed."""

    path: Path
    version: str = ""
    confirmed: bool = False


class Gateway:
    """
    Args:
        folder: `.trimtab/gateway`; made if missing.
        port: Where clients reach it, on the loopback.
        token: The bearer token that they need.
        pids: Folder of the pid files.
        tell: Is told in one line what happens to it.

    All methods but `answers`, `end` and `confirmed` are called from one thread, which lives as long as the processes:
    the kernel ends a child with the thread that started it.
    """

    def __init__(self, folder: Path, port: int, token: str, *, pids: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.port = port
        self._token = token
        self._tell = tell
        self._clusters = _File(folder / FILES / bootstrap.CLUSTERS)
        self._routes = _File(folder / FILES / bootstrap.ROUTES)
        self._looked = 0.0
        self._envoys: dict[str, _Envoy] = {}
        for name in NAMES:
            home = folder / name
            child = Child(
                f"gateway-{name}",
                envoy.command(envoy.binary()),
                pids=pids,
                log=home / "envoy.log",
                cwd=home,
                environ=envoy.environ(home),
            )
            self._envoys[name] = _Envoy(child, Admin(home), AccessLog(home))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def restarts(self) -> int:
        """Of its processes, together."""
        return sum(one.restarts for one in self._envoys.values())

    @property
    def pids(self) -> tuple[int, ...]:
        """Of those that run."""
        return tuple(one.child.pid for one in self._envoys.values() if one.alive and one.child.pid is not None)

    def start(self, reason: str) -> None:
        """
        Start it; nobody serves yet, and it says the reason.

        Raises:
            Invalid: If the binary is missing or the folder cannot be written.
            Unavailable: If it does not get ready; the message holds the end of its log.
        """
        make_folder(self.folder / FILES)
        self._write(self._clusters, clusters.discovery({}, (), LARGEST_BODY))
        self._write_routes(None, (), reason)
        content = bootstrap.bootstrap(LOOPBACK, self.port, f"../{FILES}", LARGEST_BODY)
        for name, one in self._envoys.items():
            write_json(make_folder(self.folder / name) / bootstrap.BOOTSTRAP, content)
            self._launch(one)
        deadline = time.monotonic() + READY_SECONDS
        while not all(self._has(one) for one in self._envoys.values()):
            ended = [one for one in self._envoys.values() if not one.alive]
            if ended or time.monotonic() > deadline:
                last = (ended or list(self._envoys.values()))[0].child.last_lines(6)
                raise Unavailable(
                    f"the gateway was not ready on port {self.port} within {READY_SECONDS:.0f} s\nits last lines:\n"
                    + "\n".join(f"  {line[:200]}" for line in last),
                    f"is the port taken? the whole log is {self.folder}/*/envoy.log",
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Take no new connection, let what is under way end, then stop."""
        for one in self._envoys.values():
            with suppress(Unavailable):
                one.admin.stop_listening()
        deadline = time.monotonic() + DRAIN_SECONDS
        with suppress(Unavailable):
            while self.under_way([""]) and time.monotonic() < deadline:
                time.sleep(0.02)
        for one in self._envoys.values():
            one.child.stop()

    def supervise(self) -> None:
        """Start again what ended, more slowly each time it does so soon after; keep the access logs short."""
        now = time.monotonic()
        for name, one in self._envoys.items():
            if one.alive:
                continue
            if one.due is None:
                one.restarts += 1
                one.pause = FIRST_PAUSE_SECONDS if now - one.begun > HEALTHY_SECONDS else one.pause
                one.due = now + one.pause
                self._tell(f"gateway {name} ended by itself (exit code {one.child.exit_code}); starting it again")
            if now >= one.due:
                one.pause, one.due = min(2 * one.pause, LONGEST_PAUSE_SECONDS), None
                one.child.stop()
                self._launch(one)
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            for name, one in self._envoys.items():
                self._look_at(name, one, now)

    def _look_at(self, name: str, one: _Envoy, now: float) -> None:
        """Keep the access log short; end one that does not answer, which takes connections all the same."""
        try:
            one.admin.settled()
            one.heard = now
            if one.log.set_aside():
                one.admin.reopen_log()
        except Unavailable:
            if one.alive and now - max(one.heard, one.begun) > HUNG_SECONDS and one.child.pid is not None:
                self._tell(f"gateway {name} has not answered for {HUNG_SECONDS:.0f} s; ending it")
                with suppress(ProcessLookupError):
                    os.killpg(one.child.pid, signal.SIGKILL)

    def set_clusters(self, ports: Mapping[int, int], splits: Iterable[Serving]) -> bool:
        """Let these variants be reached; True once every Envoy that lives has confirmed that they are."""
        self._write(self._clusters, clusters.discovery(ports, splits, LARGEST_BODY))
        return self._confirm(self._clusters)

    def set_routes(self, split: Serving | None, forced: Collection[int], reason: str) -> bool:
        """Split the traffic so; True once every Envoy that lives has confirmed it."""
        self._write_routes(split, forced, reason)
        return self._confirm(self._routes)

    def confirmed(self) -> Serving | None:
        """
        The split that the Envoys work with, by their own word; None while they let nobody answer.

        Raises Unavailable when none of them answers for a second, or they do not agree.
        """
        deadline = time.monotonic() + AGREE_SECONDS
        while True:
            found = set()
            for one in self._envoys.values():
                with suppress(Unavailable):
                    found.add(one.admin.versions()[1])
            found.discard("")  # it reads its files, and takes no request before it has
            if len(found) == 1:
                return routes.described(found.pop())
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        what = "they are between two splits" if found else "none of them answers"
        raise Unavailable(f"the processes of the gateway on port {self.port} cannot say what they do: {what}")

    def under_way(self, names: Iterable[str]) -> int:
        """Requests that these clusters are answering; the name "" stands for all of them."""
        names = list(names)
        return sum(one.admin.under_way(name) for one in self._envoys.values() if one.alive for name in names)

    def answers(self, position: str, limit: int) -> tuple[list[Answer], str]:
        """As `TrafficSplit.answers`; what came within the last half second comes later."""
        logs = {name: one.log for name, one in self._envoys.items()}
        if not position:
            return [], access_log.ends(logs, time.time())
        return access_log.read_all(logs, position, limit, before=time.time() - SETTLE_SECONDS)

    # Inside

    def _launch(self, one: _Envoy) -> None:
        one.log.set_aside(1)  # a line that a kill cut off stays the last of its file
        one.begun = time.monotonic()
        one.child.start()

    def _write_routes(self, split: Serving | None, forced: Collection[int], reason: str) -> None:
        content = routes.discovery(split, forced, self._token, reason)
        self._write(self._routes, content, f"{routes.describe(split)};")

    def _write(self, file: _File, content: dict[str, Any], what: str = "") -> None:
        """Rename the file into place if it is to hold something else; its version is its digest, after `what`."""
        version = f"{what}digest={digest(content)[:16]}"
        if version == file.version:
            return
        write_json(file.path, {"version_info": version, **content})
        file.version, file.confirmed = version, False

    def _confirm(self, file: _File) -> bool:
        if file.confirmed:
            return True
        deadline = time.monotonic() + CONFIRM_SECONDS
        while time.monotonic() < deadline:
            living = [one for one in self._envoys.values() if one.alive]
            if living and all(self._has(one) for one in living):
                file.confirmed = True
                return True
            if not living:
                return False
            time.sleep(0.005)
        self._tell(f"the gateway has not taken {file.path.name} within {CONFIRM_SECONDS:.0f} s; its log says why")
        return False

    def _has(self, one: _Envoy) -> bool:
        """Whether it works with what stands in both files."""
        with suppress(Unavailable):
            return one.admin.versions() == (self._clusters.version, self._routes.version) and one.admin.settled()
        return False


def hold_port(file: Path) -> socket.socket:
    """
    A port on the loopback that stays this process's as long as the socket lives, and that its Envoys may listen on.

    Args:
        file: Remembers the port: an address in a notebook stays right as long as it is free.

    Raises:
        Invalid: If a hundred ports were all taken.
    """
    remembered = read_json(file) or {}
    for _ in range(100):
        port = free_ports(["gateway"], remembered)["gateway"]
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Not listening, it takes no connection. Without SO_REUSEADDR only who sets SO_REUSEPORT too gets the port.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            remembered.pop("gateway", None)
            continue
        write_json(file, {**(read_json(file) or {}), "gateway": port})
        return held
    raise Invalid(f"found no free port for the gateway on {LOOPBACK}", "end what listens on them")
