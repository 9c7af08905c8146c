"""
The gateway adds at most 1.2 ms to the median answer.

The demo's estimator behind our model server, asked for one row a request: straight, and through the gateway as a
rollout has it (its token, two versions at 50 %, users that keep theirs, the access log on). Each client asks straight
and through in turns, so that both meet the same machine; the difference is taken of the medians of each round. Beside
it the floor: the same hop by an Envoy with one route, one cluster, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import show
from benchmarks.serving_throughput import register
from trimtab.adapters import environment, s3
from trimtab.adapters.envoy.clusters import TYPES
from trimtab.adapters.state import State
from trimtab.app.embedded import envoy
from trimtab.app.embedded.gateway import Gateway, hold_port
from trimtab.app.embedded.platform import MODEL_SERVER
from trimtab.app.embedded.ports import LOOPBACK, free_ports
from trimtab.app.embedded.store import Store
from trimtab.app.embedded.traffic import EmbeddedTraffic
from trimtab.app.embedded.variants import Variants, environ
from trimtab.core.ports import Serving

TARGET_MILLISECONDS = 1.2
CLIENTS = (1, 4)
TOKEN = "of-the-benchmark"  # noqa: S105
READY_SECONDS = 120.0
PATH = "/api/v1.0/predictions"


@dataclass
class Way:
    """How a request goes; milliseconds by number of clients and round."""

    name: str
    port: int
    took: dict[int, list[list[float]]] = field(default_factory=dict)

    def median(self, clients: int) -> float:
        return statistics.median(statistics.median(times) for times in self.took[clients])

    def p99(self, clients: int) -> float:
        ordered = sorted(value for times in self.took[clients] for value in times)
        return ordered[int(0.99 * (len(ordered) - 1))]

    def added(self, clients: int, straight: Way) -> float:
        """Median over the rounds of what it adds to the median."""
        pairs = zip(self.took[clients], straight.took[clients], strict=True)
        return statistics.median(statistics.median(mine) - statistics.median(other) for mine, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter rounds, under 50 s")
    arguments = parser.parse_args()
    rounds, seconds = (5, 1.5) if arguments.quick else (9, 5.0)
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name, Store(Path(name) / "store") as store:
        folder = Path(name)
        os.environ.update(store.environment)
        store.create_bucket("state")
        state = State.open(s3.connect(), "s3://state/default", "bikeshare", folder / "cache")
        version, row = register(state)
        state.registry.add_version(lambda number: version.model_copy(update={"number": number, "run_key": "again"}))
        body = json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}}).encode()
        with serving(folder, store.environment) as traffic:
            assert traffic.variants is not None
            straight = traffic.variants[1].port
            with bare(folder, straight) as floor:
                ways = [Way("straight", straight), Way("gateway", traffic.gateway.port), Way("bare Envoy", floor)]
                _, position = traffic.answers("")
                for clients in CLIENTS:
                    measure(ways, clients, body, 0.5)  # to warm up
                    for way in ways:
                        way.took[clients] = []
                    for _ in range(rounds):
                        measure(ways, clients, body, seconds)
            answered = {answer.version for answer in traffic.answers(position)[0]}
    report(ways, rounds, seconds, answered)


def report(ways: list[Way], rounds: int, seconds: float, answered: set[int]) -> None:
    straight, gateway, floor = ways
    print(f"one row a request, {rounds} rounds of {seconds:g} s; versions that answered: {sorted(answered)}\n")
    lines = []
    for clients in CLIENTS:
        for way in ways:
            added = "" if way is straight else f"{way.added(clients, straight):+.2f}"
            shown = (f"{way.median(clients):.2f}", f"{way.p99(clients):.2f}", added)
            lines.append((f"{way.name}, {clients} clients", *shown))
    show(("", "median ms", "p99 ms", "added ms"), lines)
    added = gateway.added(1, straight)
    print(f"\ntarget: at most {TARGET_MILLISECONDS:g} ms added to the median of one client")
    figures = {
        "benchmark": "gateway_hop",
        "clients": list(CLIENTS),
        "straight_ms": [round(straight.median(clients), 3) for clients in CLIENTS],
        "gateway_ms": [round(gateway.median(clients), 3) for clients in CLIENTS],
        "added_ms": [round(gateway.added(clients, straight), 3) for clients in CLIENTS],
        "bare_added_ms": [round(floor.added(clients, straight), 3) for clients in CLIENTS],
        "within_target": added <= TARGET_MILLISECONDS,
    }
    print(json.dumps(figures))


def measure(ways: list[Way], clients: int, body: bytes, seconds: float) -> None:
    """One round: every client asks each way in turns."""
    end = time.perf_counter() + seconds
    times: list[list[float]] = [[] for _ in ways]

    def loop(place: int) -> None:
        with contextlib.ExitStack() as stack:
            asking = [stack.enter_context(contextlib.closing(Client(way.port, body, place))) for way in ways]
            while time.perf_counter() < end:
                for index, client in enumerate(asking):
                    begun = time.perf_counter()
                    client.ask()
                    times[index].append(1000 * (time.perf_counter() - begun))

    threads = [threading.Thread(target=loop, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for way, found in zip(ways, times, strict=True):
        way.took.setdefault(clients, []).append(found)


class Client:
    """Asks for the same prediction over one connection, as another user each time."""

    def __init__(self, port: int, body: bytes, place: int) -> None:
        self._body = body
        self._socket = socket.create_connection((LOOPBACK, port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._place = place
        self._count = 0

    def ask(self) -> None:
        self._count += 1
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {TOKEN}\r\nX-Entity-Id: user-{self._place}-{self._count % 500}\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + self._body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head_bytes, _, body = received.partition(b"\r\n\r\n")
        if not head_bytes.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered {head_bytes[:100]!r} {body[:300]!r}")
        length = int(head_bytes.lower().partition(b"content-length:")[2].split(None, 1)[0])
        while len(body) < length:
            body += self._more()

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 16)
        if not part:
            raise SystemExit("the server closed the connection")
        return part

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def serving(folder: Path, variables: dict[str, str]) -> Iterator[EmbeddedTraffic]:
    """Versions 1 and 2 behind the gateway, half of the users each."""
    python = environment.serving_python()
    assert python is not None, "found no serving environment: make .venv-serving/serving.done"
    told = environ({**variables, "TRIMTAB_STATE_BUCKET": "state"}, "bikeshare", folder / "log")
    pids = folder / "pids"
    with hold_port(folder / "ports.json") as held:
        gateway = Gateway(folder / "gateway", held.getsockname()[1], TOKEN, pids=pids, tell=lambda line: None)
        command = [str(python), "-P", "-m", MODEL_SERVER]
        variants = Variants(command, told, folder=folder / "serving", pids=pids, tell=lambda line: None)
        traffic = EmbeddedTraffic("bikeshare", gateway, variants, lambda line: None)
        try:
            traffic.start()
            half = Serving(champion=1, challenger=2, weight_percent=50, sticky_header="x-entity-id")
            traffic.want(half)
            deadline = time.monotonic() + READY_SECONDS
            while (route := traffic.seen().route) is None or route.weight_percent != 50:
                if time.monotonic() > deadline:
                    raise SystemExit(f"the model servers do not get ready: {traffic.seen()}")
                time.sleep(0.1)
            yield traffic
        finally:
            traffic.stop()


@contextlib.contextmanager
def bare(folder: Path, upstream: int) -> Iterator[int]:
    """An Envoy that does nothing but pass requests on."""
    port = free_ports(["bare"])["bare"]
    home = folder / "bare"
    home.mkdir()
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "bare",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "model"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": {"socket_address": {"address": LOOPBACK, "port_value": upstream}}}}
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    model = {
        "name": "model",
        "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "bare", "address": address, "filter_chains": [{"filters": filters}]}
    (home / "bootstrap.json").write_text(
        json.dumps({"static_resources": {"listeners": [listener], "clusters": [model]}})
    )
    command = envoy.command(envoy.binary())
    with (home / "out").open("wb") as out:
        process = subprocess.Popen(command, cwd=home, env=envoy.environ(home), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((LOOPBACK, port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the bare Envoy does not start: {(home / 'out').read_text()[-2000:]}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
