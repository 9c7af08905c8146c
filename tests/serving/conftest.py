"""Small models that serve: trained here, registered in a state, and real server processes over them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trimtab.adapters import environment as settings
from trimtab.adapters import estimators, s3
from trimtab.adapters.columns import classes, labels, schema_columns
from trimtab.adapters.models import store_artifact
from trimtab.adapters.state import State
from trimtab.core.records import ModelVersion
from trimtab.core.spec import ContinuousModel, load
from trimtab.serving.answering import Answering
from trimtab.serving.assembly import assemble, fit
from trimtab.serving.meters import Meters
from trimtab.serving.served import Served

if TYPE_CHECKING:
    from trimtab.app.embedded.store import Store

START_SECONDS = 120.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: trips}
spec:
  data:
    source: s3://landing/trips/
    format: csv
    timestamp: ts
    key: [trip]
    target: late
    exclude: [note]
    schema:
      carrier:  {type: category, values: [AA, DL, "7"], onNew: missing}
      origin:   {type: category, values: [EWR, JFK], nullable: false}
      distance: {type: int, min: 0, max: 6000, nullable: false}
      heat:     {type: float, min: -40, max: 60}
      holiday:  {type: boolean}
      late:     {type: boolean}
  training:
    estimator: sklearn.ensemble:HistGradientBoostingClassifier
    parameters: {max_iter: 20}
  evaluation: {primary: roc_auc}
"""
ROW: dict[str, Any] = {"carrier": "AA", "origin": "JFK", "distance": 1200, "heat": 21.5, "holiday": False}


def rows(number: int, seed: int = 0) -> dict[str, list[Any]]:
    """Columns of valid rows, as JSON would give them."""
    random = np.random.default_rng(seed)
    return {
        "carrier": [None if word == "none" else str(word) for word in random.choice(["AA", "DL", "7", "none"], number)],
        "origin": random.choice(["EWR", "JFK"], number).tolist(),
        "distance": random.integers(0, 6000, number).tolist(),
        "heat": [None if heat > 55 else heat for heat in random.uniform(-40, 60, number).tolist()],
        "holiday": (random.random(number) < 0.3).tolist(),
    }


def trained(model: ContinuousModel, seed: int = 1) -> Any:
    """A pipeline by the spec, fitted on made-up rows."""
    data = model.spec.data
    features = {name: column for name, column in rows(600, seed).items() if name in data.features}
    random = np.random.default_rng(seed)
    truth = np.array(features["distance"]) / 6000 + random.normal(size=600) * 0.1
    goal = data.described[data.target]
    codes = {"boolean": truth > 0.5, "category": np.digitize(truth, [0.3, 0.6]) % max(1, len(goal.values))}
    y = labels(codes.get(goal.type, truth).astype(np.float64), classes(data))
    pipeline = assemble(schema_columns(data), estimators.build(model.spec.training, ""), model.spec.training.input)
    return fit(pipeline, features, y, 1)


def register(state: State, text: str = SPEC, pipeline: Any = None, trusted: tuple[str, ...] = ()) -> ModelVersion:
    """A new version of the model in this state."""
    model = load(text)
    artifact = store_artifact(state, trained(model) if pipeline is None else pipeline, trusted)
    spec = state.data.put_spec(text)

    def build(number: int) -> ModelVersion:
        return ModelVersion(
            number=number,
            run_key=f"{number:064d}",
            artifact=artifact,
            evaluated_artifact=artifact,
            dataset="",
            training_digest="",
            spec=spec,
            trained_from=NOW,
            trained_until=NOW,
            rows=600,
            estimator=model.spec.training.estimator,
            seed=0,
            metrics={},
            evaluation={},
            reference="",
            lineage={},
            training_seconds=1.0,
            fits=1,
            recorded_at=NOW,
        )

    return state.registry.add_version(build)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@dataclass
class Server:
    """A model server in a process group of its own; its output in `output`."""

    command: list[str]
    environ: dict[str, str]
    output: Path
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)

    def start(self) -> None:
        own = {"TRIMTAB_BIND": f"127.0.0.1:{self.port}", "TRIMTAB_METRICS_BIND": f"127.0.0.1:{self.metrics_port}"}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env={**self.environ, **own}, stdout=output, stderr=output, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.said()}"
            try:
                if self.ask("GET", "/health/status")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"not ready in {START_SECONDS} s:\n{self.said()}")

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, port: int = 0
    ) -> tuple[int, Any, dict[str, str]]:
        """Code, JSON (or text), and headers by lower-case name; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        try:
            raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, json.loads(text) if "json" in found.get("content-type", "") else text.decode(), found
        finally:
            connection.close()

    def predict(self, given: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        return self.ask(
            "POST", "/api/v1.0/predictions", given, {name.replace("_", "-"): v for name, v in headers.items()}
        )

    def kill(self) -> None:
        """The whole group, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        """As the platform stops it; returns the exit code."""
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=60)


@dataclass
class Deployed:
    """A running server with the state it serves from and the folder of its log."""

    server: Server
    state: State
    version: ModelVersion
    folder: Path
    variables: dict[str, str]

    def logged(self) -> list[dict[str, Any]]:
        """Every line that the store has, by writer and segment."""
        prefix = self.state.layout.predictions()
        bodies = [self.state.bucket.get(info.key).body for info in self.state.bucket.list(prefix)]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    def wait_for_lines(self, wanted: Callable[[dict[str, Any]], bool], number: int = 1) -> list[dict[str, Any]]:
        """The lines that are wanted, once the store has so many."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [line for line in self.logged() if wanted(line)]
            if len(found) >= number:
                return found
            time.sleep(0.05)
        raise AssertionError(f"the store has {len(found)} of {number} lines:\n{self.server.said()}")


@pytest.fixture(scope="session")
def serving_python() -> Path:
    python = settings.serving_python()
    assert python is not None, "found no serving environment; `make test` makes it"
    return python


@pytest.fixture(scope="session", name="make_server")
def make_server_fixture(
    serving_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Starts `python -m trimtab.adapters.seldon.server` and waits for it; whatever is started is ended."""
    started: list[Server] = []

    def make(state: State, version: int, variables: dict[str, str], folder: Path, wait: bool = True) -> Server:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
        own = {
            "TRIMTAB_MODEL": state.model,
            "TRIMTAB_VERSION": str(version),
            "TRIMTAB_STATE_BUCKET": state.bucket.name,
            "TRIMTAB_NAMESPACE": state.namespace,
            "TRIMTAB_LOG_FOLDER": str(folder),
            "TRIMTAB_LOG_SECONDS": "0.2",
            "TRIMTAB_CACHE": str(tmp_path_factory.mktemp("cache")),
        }
        command = [str(serving_python), "-P", "-m", "trimtab.adapters.seldon.server"]
        output = tmp_path_factory.mktemp("server") / "output"
        server = Server(command, {**kept, **own, **variables}, output)
        server.start()
        started.append(server)
        if wait:
            server.wait_until_ready()
        return server

    yield make
    for server in started:
        server.kill()


@pytest.fixture(scope="session", name="deploy")
def deploy_fixture(
    store: Store, make_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Deployed]:
    """
    Registers a model in a new bucket of a real store and serves it.

    `folder` shares another server's log, `own` is a store that the test may stop.
    """

    def deploy(text: str = SPEC, folder: Path | None = None, own: Store | None = None, **more: Any) -> Deployed:
        place = own or store
        bucket = place.create_bucket(f"serving-{uuid.uuid4().hex[:12]}")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in place.environment.items():
                patch.setenv(name, value)
            state = State.open(
                s3.connect(), f"s3://{bucket}/default", load(text).name, tmp_path_factory.mktemp("state")
            )
        version = register(state, text)
        log = folder or tmp_path_factory.mktemp("log")
        server = make_server(state, version.number, place.environment, log, **more)
        return Deployed(server, state, version, log, place.environment)

    return deploy


@pytest.fixture(scope="session")
def deployed(deploy: Callable[..., Deployed]) -> Deployed:
    """One running server for every test that only asks it; never stop it."""
    return deploy()


@pytest.fixture(name="row")
def row_fixture() -> dict[str, Any]:
    """A valid row of `SPEC`."""
    return dict(ROW)


@pytest.fixture(scope="session", name="rows")
def rows_fixture() -> Callable[..., dict[str, list[Any]]]:
    return rows


@pytest.fixture(scope="session", name="trained")
def trained_fixture() -> Callable[..., Any]:
    """`trained(text)`: the fitted pipeline of a spec, `SPEC` by default; the same each time."""
    return lambda text=SPEC: trained(load(text))


@pytest.fixture(scope="session", name="spec_text")
def spec_text_fixture() -> str:
    return SPEC


@pytest.fixture(scope="session", name="register")
def register_fixture() -> Callable[..., ModelVersion]:
    return register


@pytest.fixture(name="lines")
def lines_fixture() -> list[dict[str, Any]]:
    """What `answering` has logged."""
    return []


@pytest.fixture
def make_answering(lines: list[dict[str, Any]]) -> Callable[..., Answering]:
    """A version that answers in this process, its log in `lines`."""

    def make(text: str = SPEC, pipeline: Any = None) -> Answering:
        model = load(text)
        served = Served(model.name, 7, model.spec.data, trained(model) if pipeline is None else pipeline)
        meters = Meters(1, {"model": model.name, "version": "7"})
        return Answering(served, lambda some: lines.extend(json.loads(line) for line in some), meters)

    return make
