"""A rollout proposed in a process of its own, against a real store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trimtab.adapters.state import State
from trimtab.app.cluster.proposing import in_a_child
from trimtab.core.errors import NotFound, Unavailable
from trimtab.core.records import ModelVersion
from trimtab.core.spec import load

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: flights, namespace: shop}
spec:
  data: {source: "s3://data/", format: csv, timestamp: ts, target: 'y', schema: {x: {type: float}, 'y': {type: TYPE}}}
  training: {estimator: "sklearn.linear_model:ESTIMATOR"}
  evaluation: {primary: METRIC}
  rollout: {strategy: canary, steps: [{setWeight: 10}]}
"""
CLASSES = SPEC.replace("TYPE", "boolean").replace("ESTIMATOR", "LogisticRegression").replace("METRIC", "log_loss")
NUMBERS = SPEC.replace("TYPE", "float").replace("ESTIMATOR", "Ridge").replace("METRIC", "mean_absolute_error")
Registered = Callable[[], tuple[State, ModelVersion]]


@pytest.fixture
def registered(buckets: Any, state_bucket: str, version_of: Callable[[int], ModelVersion]) -> Registered:
    """A state in the real store, and a version in its registry."""

    def made() -> tuple[State, ModelVersion]:
        state = State.open(buckets, f"s3://{state_bucket}/shop", "flights")
        return state, state.registry.add_version(version_of)

    return made


def test_what_the_child_proposes_stands_in_the_state(registered: Registered) -> None:
    state, version = registered()

    spec = in_a_child(state, load(CLASSES), version, 7, "its run ended before its rollout")

    assert (spec.name, spec.version, spec.champion, spec.loss_scale) == ("flights-v1", 1, 7, 1.0)
    assert spec.policy.steps[0].set_weight == 10
    assert state.rollouts.all() == [spec]


def test_rows_that_are_gone_are_told_as_such(registered: Registered) -> None:
    state, version = registered()
    with pytest.raises(NotFound, match="datasets/d"):
        in_a_child(state, load(NUMBERS), version, 7, "its run ended before its rollout")
    assert state.rollouts.all() == []


def test_a_store_that_does_not_answer_is_tried_again(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    state, version = registered()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        in_a_child(state, load(CLASSES), version, 7, "its run ended before its rollout")
