"""
Our model server, its prediction log on, answers at least 1.5 x what Seldon's stock entry point does with `predict`.

Both serve the same artifact, the bike-share demo's estimator fitted on half a year, each with one worker, and are asked
for one row a request, in turns. Clients are closed loops over raw sockets that keep their connection where the server
lets them (the stock one closes it each time). The stock entry point binds every interface, which it cannot be told
otherwise; it runs for the time of the measurement only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import show
from trimtab.adapters import environment, s3
from trimtab.adapters.state import State
from trimtab.app.embedded.ports import LOOPBACK, free_ports
from trimtab.app.embedded.store import Store
from trimtab.core.records import ModelVersion

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "bikeshare"
TARGET = 1.5
CLIENTS = (1, 8)
READY_SECONDS = 120.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Side:
    """One server under load; what its rounds gave, by number of clients."""

    name: str
    port: int
    rates: dict[int, list[float]] = field(default_factory=dict)
    latencies: dict[int, list[float]] = field(default_factory=dict)

    def rate(self, clients: int) -> float:
        return statistics.median(self.rates[clients])

    def latency(self, clients: int, share: float) -> float:
        """Milliseconds that this share of the requests did not exceed."""
        ordered = sorted(self.latencies[clients])
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter rounds, under 50 s")
    parser.add_argument("--rounds", type=int, default=0, help="rounds a server and number of clients")
    arguments = parser.parse_args()
    rounds, seconds = (arguments.rounds or 3, 1.5) if arguments.quick else (arguments.rounds or 7, 4.0)
    python = environment.serving_python()
    assert python is not None, "found no serving environment: make .venv-serving/serving.done"
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder, Store(Path(folder) / "store") as store:
        os.environ.update(store.environment)
        store.create_bucket("state")
        state = State.open(s3.connect(), "s3://state/default", "bikeshare", Path(folder) / "cache")
        version, row = register(state)
        body = json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}}).encode()
        with ours(python, state, Path(folder)) as own, stock(python, state, version, Path(folder)) as peer:
            expect_same(own, peer, body)
            for _ in range(rounds):
                for clients in CLIENTS:
                    for side in (own, peer):
                        load(side, body, clients, seconds)
        logged = list(state.bucket.list(state.layout.predictions()))
    report(own, peer, rounds, seconds, len(logged))


def report(own: Side, peer: Side, rounds: int, seconds: float, segments: int) -> None:
    print(f"one row a request, {rounds} rounds of {seconds:g} s a server in turns; medians of rounds")
    print(f"ours logs each prediction ({segments} segments reached the store); one worker each\n")
    lines = []
    ratios: dict[int, float] = {}
    for clients in CLIENTS:
        paired = zip(own.rates[clients], peer.rates[clients], strict=True)
        ratios[clients] = statistics.median(mine / other for mine, other in paired)
        for side in (own, peer):
            times = (f"{side.latency(clients, share):.1f}" for share in (0.5, 0.99))
            shown = f"{ratios[clients]:.2f}" if side is own else ""
            lines.append((f"{side.name}, {clients} clients", f"{side.rate(clients):.0f}", *times, shown))
    show(("", "requests/s", "median ms", "p99 ms", "ratio"), lines)
    print(f"\ntarget: at least {TARGET:g} times the stock entry point's")
    figures = {
        "benchmark": "serving_throughput",
        "clients": list(CLIENTS),
        "requests_per_second": [round(own.rate(clients), 1) for clients in CLIENTS],
        "stock_requests_per_second": [round(peer.rate(clients), 1) for clients in CLIENTS],
        "ratio": [round(ratios[clients], 2) for clients in CLIENTS],
        "within_target": all(ratio >= TARGET for ratio in ratios.values()),
    }
    print(json.dumps(figures))


def register(state: State) -> tuple[ModelVersion, dict[str, Any]]:
    """The demo's model over the first half of 2011, as a version; and a row to ask about."""
    import polars as pl

    from trimtab.adapters import estimators
    from trimtab.adapters.columns import schema_columns, to_columns
    from trimtab.adapters.models import store_artifact
    from trimtab.core.spec import load as load_spec
    from trimtab.serving.assembly import assemble, fit

    text = (EXAMPLE / "model.yaml").read_text()
    model = load_spec(text)
    data = model.spec.data
    rows = pl.read_csv(EXAMPLE / "data" / "2011.csv", null_values=[""]).head(4400).drop_nulls(data.target)
    columns = schema_columns(data)
    pipeline = assemble(columns, estimators.build(model.spec.training, ""), model.spec.training.input)
    fit(pipeline, to_columns(rows, columns), rows[data.target].cast(pl.Float64).to_numpy(), 1)
    artifact = store_artifact(state, pipeline)
    spec = state.data.put_spec(text)

    def build(number: int) -> ModelVersion:
        same = {"artifact": artifact, "evaluated_artifact": artifact, "spec": spec, "trained_from": NOW}
        empty: dict[str, Any] = {"dataset": "", "training_digest": "", "reference": "", "metrics": {}, "lineage": {}}
        other = {"trained_until": NOW, "recorded_at": NOW, "rows": rows.height, "fits": 1, "training_seconds": 1.0}
        named = {"estimator": model.spec.training.estimator, "seed": 0, "run_key": "", "evaluation": {}}
        return ModelVersion.model_validate({"number": number, **same, **empty, **other, **named})

    named = rows.drop_nulls().row(12, named=True)
    return state.registry.add_version(build), {name: named[name] for name in data.features}


@contextlib.contextmanager
def ours(python: Path, state: State, folder: Path) -> Iterator[Side]:
    port = free_ports(["ours"])["ours"]
    own = {
        "TRIMTAB_MODEL": state.model,
        "TRIMTAB_VERSION": "1",
        "TRIMTAB_STATE_BUCKET": state.bucket.name,
        "TRIMTAB_BIND": f"{LOOPBACK}:{port}",
        "TRIMTAB_LOG_FOLDER": str(folder / "log"),
        "TRIMTAB_CACHE": str(folder / "served"),
    }
    command = [str(python), "-P", "-m", "trimtab.adapters.seldon.server"]
    with running(command, own, port, folder / "ours.out"):
        yield Side("ours, logging", port)


@contextlib.contextmanager
def stock(python: Path, state: State, version: ModelVersion, folder: Path) -> Iterator[Side]:
    ports = free_ports(["http", "grpc", "metrics"])
    own = {
        "STOCK_ARTIFACT": str(state.registry.artifact(version.artifact)),
        "STOCK_DIGEST": version.artifact,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [str(python.with_name("seldon-core-microservice")), "benchmarks._stock_model.StockModel"]
    for name, port in ports.items():
        command += [f"--{name}-port", str(port)]
    with running(command, own, ports["http"], folder / "stock.out"):
        yield Side("stock `predict`", ports["http"])


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str], port: int, output: Path) -> Iterator[None]:
    """A server with a process group of its own, ready, and ended afterwards."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **variables}, stdout=file, stderr=file, start_new_session=True
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not alive(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[-1]} does not serve:\n{output.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def alive(port: int) -> bool:
    try:
        return Client(port, b"", "GET", "/health/status").ask()[0] == 200
    except OSError:
        return False


class Client:
    """One request again and again; it costs less than the servers by far."""

    def __init__(self, port: int, body: bytes, method: str = "POST", path: str = "/api/v1.0/predictions") -> None:
        self._port = port
        head = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._socket: socket.socket | None = None

    def ask(self) -> tuple[int, bytes]:
        """Code and body of one answer."""
        if self._socket is None:
            self._socket = socket.create_connection((LOOPBACK, self._port), timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        words = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.splitlines()[1:]}
        while len(body) < int(words[b"content-length"]):
            body += self._more()
        if words.get(b"connection", b"").lower() == b"close":
            self.close()
        return int(head.split(None, 2)[1]), body

    def _more(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(1 << 16)
        if not part:
            self.close()
            raise ConnectionError("the server closed the connection")
        return part

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def expect_same(own: Side, peer: Side, body: bytes) -> None:
    """Both answer, and the same: else there would be nothing to compare."""
    answers = [json.loads(Client(side.port, body).ask()[1])["data"]["ndarray"] for side in (own, peer)]
    flat = [float(one[0][0]) if isinstance(one[0], list) else float(one[0]) for one in answers]
    if abs(flat[0] - flat[1]) > 1e-9:
        raise SystemExit(f"ours predicts {flat[0]}, the stock entry point {flat[1]}")


def load(side: Side, body: bytes, clients: int, seconds: float) -> None:
    """One round: `clients` loops for so long; the first tenth is left out."""
    begin = time.perf_counter() + seconds / 10
    end = begin + seconds
    seen: list[list[float]] = [[] for _ in range(clients)]

    def loop(place: int) -> None:
        client = Client(side.port, body)
        while (asked := time.perf_counter()) < end:
            code, text = client.ask()
            if code != 200:
                raise SystemExit(f"{side.name} answered {code}: {text[:300]!r}")
            if asked >= begin:
                seen[place].append(time.perf_counter() - asked)
        client.close()

    threads = [threading.Thread(target=loop, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = [value for values in seen for value in values]
    side.rates.setdefault(clients, []).append(len(answered) / seconds)
    side.latencies.setdefault(clients, []).extend(answered)


if __name__ == "__main__":
    main()
