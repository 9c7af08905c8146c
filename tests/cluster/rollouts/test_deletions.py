"""A model is deleted while nobody leads: what it had adopted outlives it, and the next leader leaves it well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import MODEL, MODEL_LABEL, SELDON_DEPLOYMENT
from trimtab.adapters.kubernetes.seldon_marks import ADOPT, BOOK
from trimtab.app.cluster.acceptance import Checked
from trimtab.app.cluster.controller import Cluster
from trimtab.app.cluster.resources import model_of, spec_text

Canary = Any
KEEPS = {"strategy": "canary", "steps": [{"setWeight": 10, "minRequests": 20}], "keepPrevious": "10m"}


@pytest.fixture
def owners(cluster: Any, namespace: str, operator: Any, pods: Any) -> None:
    """A SeldonDeployment `flights` that somebody made, and lets a model of that name have."""
    container = {"name": "classifier", "image": "iris:1"}
    predictor = {
        "name": "main",
        "graph": {"name": "classifier", "type": "MODEL"},
        "replicas": 1,
        "componentSpecs": [{"spec": {"containers": [container]}}],
    }
    body = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "metadata": {"name": "flights", "namespace": namespace, "annotations": {ADOPT: "true"}},
        "spec": {"predictors": [predictor]},
    }
    cluster.api.create(SELDON_DEPLOYMENT, body)


@pytest.fixture
def adopted(owners: None, make_canary: Callable[..., Canary]) -> Canary:
    """Model `flights` serves by it; the rollout of v2 is proposed."""
    canary = make_canary(KEEPS)
    was_accepted(canary)
    return canary


@pytest.fixture
def next_leader(namespace: str) -> Iterator[Callable[[Canary], None]]:
    """Another process begins to lead; it ends with the test."""
    begun: list[Cluster] = []

    def begin(canary: Canary) -> None:
        canary.start()
        settings = replace(canary.settings, watch_namespaces=(namespace,))
        begun.append(Cluster(canary.leads, settings, canary.buckets, canary.rollouts))
        begun[-1].start()

    yield begin
    for each in begun:
        each.stop()


def was_accepted(canary: Canary) -> None:
    """The spec, as the check of it left it in the state."""
    text = spec_text(model_of(canary.api.get(MODEL, canary.namespace, "flights")))
    kept = Checked(check="", ok=True, spec=canary.state.data.put_spec(text))
    canary.state.bucket.create(canary.state.layout.current("acceptance"), kept.to_json())


def is_nobodys(canary: Canary) -> bool:
    meta = canary.api.get(SELDON_DEPLOYMENT, canary.namespace, "flights")["metadata"]
    return MODEL_LABEL not in (meta.get("labels") or {}) and BOOK not in (meta.get("annotations") or {})


def told_of(canary: Canary) -> set[str]:
    """Deployments that the operator's status names."""
    found = canary.api.get(SELDON_DEPLOYMENT, canary.namespace, "flights")
    return set((found.get("status") or {}).get("deploymentStatus") or ())


def nobody_looks() -> None:
    """The leader's own threads do."""


def test_in_mid_rollout_the_champion_is_left_alone_with_everything(
    adopted: Canary, next_leader: Callable[[Canary], None]
) -> None:
    adopted.at_weight(10)
    adopted.api.delete(MODEL, adopted.namespace, "flights")
    assert not is_nobodys(adopted)

    next_leader(adopted)
    adopted.until(lambda: is_nobodys(adopted), "the end of its marks", look=nobody_looks)
    assert adopted.predictors() == ["v1"]
    assert adopted.answering() == {"v1": 100}
    assert str(adopted.at().phase) == "Aborted"
    adopted.until(lambda: len(adopted.deployments()) == 1, "the end of v2's pods", look=nobody_looks)


def test_a_former_champion_is_kept_no_longer(adopted: Canary, next_leader: Callable[[Canary], None]) -> None:
    adopted.at_weight(10)
    adopted.send(400)
    adopted.until(lambda: adopted.phase() == "Promoted" and adopted.answering() == {"v2": 100}, "the promotion")
    assert adopted.predictors() == ["v1", "v2"]
    adopted.api.delete(MODEL, adopted.namespace, "flights")

    next_leader(adopted)
    adopted.until(lambda: is_nobodys(adopted), "the end of its marks", look=nobody_looks)
    assert adopted.predictors() == ["v2"]
    assert adopted.answering() == {"v2": 100}


def test_a_champion_that_never_became_ready_is_taken_away_and_its_owners_predictor_answers_on(
    owners: None,
    make_model: Callable[..., Canary],
    pods: Any,
    next_leader: Callable[[Canary], None],
) -> None:
    model = make_model(KEEPS)
    model.until(lambda: model.answering() == {"main": 100}, "the owner's route", look=nobody_looks)
    pods.never_ready(model.namespace, "v1")
    was_accepted(model)
    model.register()
    model.until(lambda: model.predictors() == ["main", "v1"], "the champion's start")
    # A Deployment that it has not told of yet is one that the operator never takes away.
    model.until(lambda: told_of(model) >= {"flights-v1-0-model"}, "the operator's word on it", look=nobody_looks)
    model.api.delete(MODEL, model.namespace, "flights")

    next_leader(model)
    model.until(lambda: is_nobodys(model), "the end of its marks", look=nobody_looks)
    assert model.predictors() == ["main"]
    assert model.answering() == {"main": 100}
    # The operator cleans up, and routes anew, only while nothing that is unready is left.
    model.until(lambda: len(model.deployments()) == 1, "the end of v1's pods", look=nobody_looks)
