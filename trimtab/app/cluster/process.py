"""What listener and monitor have alike as processes: settings, clients, log, signals, an address to listen on."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from trimtab.adapters import environment, s3
from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.state import State
from trimtab.app.cluster.arrivals import slim
from trimtab.app.cluster.catalog import Catalog
from trimtab.app.cluster.resources import Key
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.ports import Buckets

LOOK_SECONDS = 1.0  # between looks at whether the process is to end


@dataclass(frozen=True)
class Process:
    """
    A process of the cluster.

    Attributes:
        owner: Its name in leases, unique among living processes.
        stopping: Is set when it is to end.
    """

    settings: ClusterSettings
    api: Api
    buckets: Buckets
    owner: str
    stopping: threading.Event

    @property
    def token(self) -> str:
        """
        The bearer token of its door.

        Raises:
            Invalid: If there is none.
        """
        if not self.settings.token:
            raise Invalid("found no TRIMTAB_TOKEN: nobody could come in", "set it from the Secret of the manifests")
        return self.settings.token

    def catalog(self) -> Catalog:
        return Catalog(self.api, self.settings, lambda: self.buckets)

    def states(self) -> Callable[[Key], State]:
        """
        Opens the state of a model; the same one as long as somebody holds it, since it remembers what it has read.
        """
        opened: WeakValueDictionary[Key, State] = WeakValueDictionary()

        def state(key: Key) -> State:
            made = opened.get(key)
            if made is None:
                made = State.open(self.buckets, f"s3://{self.settings.state_bucket}/{key[0]}", key[1])
                made.ledger.cut = slim
                opened[key] = made
            return made

        return state


def address(bind: str) -> tuple[str, int]:
    """
    Host and port of TRIMTAB_BIND.

    Raises:
        Invalid: If it is not HOST:PORT.

    >>> address("0.0.0.0:8080"), address("[::1]:80")
    (('0.0.0.0', 8080), ('::1', 80))
    """
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"found TRIMTAB_BIND={bind}; needed HOST:PORT", "such as 0.0.0.0:8080")
    return host.strip("[]"), int(port)


def run(work: Callable[[Process], None]) -> int:
    """The process from its environment to its end: SIGTERM and SIGINT end it cleanly; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("botocore", "urllib3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        settings = environment.cluster_settings()
        name = settings.pod_name or socket.gethostname()
        settings = replace(settings, pod_name=name)
        work(Process(settings, Api.connect(), s3.connect(), f"{name}-{os.getpid()}", stopping))
    except TrimtabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def wait(stopping: threading.Event) -> None:
    """Until the process is to end; in short steps, so that a signal finds the main thread awake."""
    while not stopping.wait(LOOK_SECONDS):
        continue
