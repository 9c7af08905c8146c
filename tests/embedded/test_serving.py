"""The gateway before real model servers: from their start to their last prediction in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from trimtab.adapters import estimators
from trimtab.adapters.columns import schema_columns
from trimtab.adapters.environment import serving_python
from trimtab.adapters.models import store_artifact
from trimtab.adapters.state import State
from trimtab.app.embedded.gateway import Gateway, hold_port
from trimtab.app.embedded.platform import MODEL_SERVER
from trimtab.app.embedded.traffic import EmbeddedTraffic
from trimtab.app.embedded.variants import Variants, environ
from trimtab.core.ports import Buckets, Serving
from trimtab.core.records import ModelVersion
from trimtab.core.spec import load
from trimtab.serving.assembly import assemble, fit

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://landing/small/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      x: {type: float}
      'y': {type: float}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {primary: mean_absolute_error, metrics: [mean_absolute_error]}
"""
DEADLINE_SECONDS = 150.0
TOKEN = "gateway-token"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def until(true: Callable[[], Any], what: Callable[[], object] = lambda: "it never came true") -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def register(state: State, slope: float) -> int:
    """A version that answers x with slope times x."""
    model = load(SPEC)
    x = np.linspace(-1, 1, 200)
    pipeline = assemble(schema_columns(model.spec.data), estimators.build(model.spec.training, ""), "matrix")
    artifact = store_artifact(state, fit(pipeline, {"x": x.tolist()}, slope * x, 1), ())
    spec = state.data.put_spec(SPEC)

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
            rows=200,
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

    return state.registry.add_version(build).number


@pytest.fixture
def state(buckets: Buckets, state_bucket: str) -> State:
    return State.open(buckets, f"s3://{state_bucket}/default", "small")


@pytest.fixture
def traffic(tmp_path: Path, state_bucket: str, environment: dict[str, str]) -> Iterator[EmbeddedTraffic]:
    """The traffic of the model `small`, nobody serving yet."""
    python = serving_python()
    assert python is not None, "tests of serving need `make .venv-serving/serving.done`"
    said: list[str] = []
    told = {**environment, "TRIMTAB_STATE_BUCKET": state_bucket, "TRIMTAB_NAMESPACE": "default"}
    with hold_port(tmp_path / "ports.json") as held:
        pids = tmp_path / "pids"
        gateway = Gateway(tmp_path / "gateway", held.getsockname()[1], TOKEN, pids=pids, tell=said.append)
        variants = Variants(
            [str(python), "-P", "-m", MODEL_SERVER],
            environ(told, "small", tmp_path / "predictions"),
            folder=tmp_path / "serving",
            pids=pids,
            tell=said.append,
        )
        one = EmbeddedTraffic("small", gateway, variants, said.append)
        try:
            one.start()
            yield one
        finally:
            one.stop()


def ask(traffic: EmbeddedTraffic, x: float, **headers: str) -> httpx.Response:
    named = {"authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    body = {"data": {"names": ["x"], "ndarray": [[x]]}}
    return httpx.post(f"{traffic.gateway.url}/api/v1.0/predictions", json=body, headers=named, trust_env=False)


def serve(traffic: EmbeddedTraffic, serving: Serving) -> None:
    def routed() -> bool:
        traffic.want(serving)
        route = traffic.seen().route
        return route is not None and (route.champion, route.weight_percent) == (
            serving.champion,
            serving.weight_percent,
        )

    until(routed, lambda: (traffic.seen(), traffic.variants and traffic.variants.failing))


def test_two_versions_share_the_traffic_and_every_prediction_reaches_the_log(
    traffic: EmbeddedTraffic, state: State
) -> None:
    one, two = register(state, 1.0), register(state, 2.0)
    serve(traffic, Serving(champion=one, challenger=two, weight_percent=50))
    _, position = traffic.answers("")
    answers = [ask(traffic, 1.0, seldon_puid=f"r{number}") for number in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    by = {answer.headers["x-model-variant"]: answer.json()["data"]["ndarray"] for answer in answers}
    assert set(by) == {"v1", "v2"}
    assert np.ravel(by["v2"])[0] == pytest.approx(2 * np.ravel(by["v1"])[0], rel=0.01)

    # A bad request is told with its field, and is the model's fault on neither side.
    bad = ask(traffic, "much")  # type: ignore[arg-type]
    assert bad.status_code == 400
    assert "x" in bad.text

    until(lambda: len(traffic.answers(position)[0]) == 41)
    measured = traffic.answers(position)[0]
    assert not any(answer.failed for answer in measured)
    chosen = {answer.request_id: answer.version for answer in measured if answer.request_id.startswith("r")}
    assert chosen == {f"r{number}": int(answer.headers["x-model-variant"][1:]) for number, answer in enumerate(answers)}

    # Stopping a version puts what it answered into the store.
    traffic.stop()
    lines, _ = state.predictions.read({})
    logged = {line.id: line.version for line in lines if line.kind == "prediction"}
    assert logged == chosen


def test_a_version_that_cannot_be_loaded_says_why_and_the_champion_goes_on(
    traffic: EmbeddedTraffic, state: State
) -> None:
    one = register(state, 1.0)
    serve(traffic, Serving(champion=one))
    traffic.want(Serving(champion=one, challenger=9, weight_percent=50))
    until(lambda: 9 in traffic.seen().failing)
    assert "9" in traffic.seen().failing[9].split("cannot serve", 1)[1]
    assert traffic.seen().ready == {one}
    assert ask(traffic, 1.0).status_code == 200
