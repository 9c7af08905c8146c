"""A SeldonDeployment that stands by a model's name already: whose it is, and who may take its predictors' place."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL_LABEL, SELDON_DEPLOYMENT
from trimtab.adapters.kubernetes.seldon_marks import ADOPT, CLAIM, marked
from trimtab.core.errors import Conflict, Invalid
from trimtab.core.ports import Serving

ONE = Serving(1, versions=(1,))


@pytest.fixture
def standing(flights: Any, cluster: Any, namespace: str) -> Any:
    """Somebody's, with one predictor that answers."""
    containers = [{"name": "classifier", "image": "iris:1"}]
    graph = {"name": "classifier", "type": "MODEL"}
    predictor = {
        "name": "main",
        "graph": graph,
        "replicas": 1,
        "componentSpecs": [{"spec": {"containers": containers}}],
    }
    body = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "metadata": {"name": "flights", "namespace": namespace},
        "spec": {"predictors": [predictor]},
    }
    cluster.api.create(SELDON_DEPLOYMENT, body)
    flights.until_true(lambda: flights.routes(), "its first routes")
    return flights


def spec_of(found: Any) -> Object:
    body: Object = found.resource()["spec"]
    return body


def test_what_is_not_the_models_is_left_alone_until_its_owner_says_so(
    standing: Any, cluster: Any, namespace: str
) -> None:
    before = spec_of(standing)
    with pytest.raises(Invalid, match=r"flights \(main\) that is not of this model") as refused:
        standing.traffic.want(ONE)
    assert f"annotate sdep flights {ADOPT}=true" in str(refused.value)
    assert spec_of(standing) == before
    assert MODEL_LABEL not in (standing.resource()["metadata"].get("labels") or {})

    cluster.api.merge(SELDON_DEPLOYMENT, namespace, "flights", {"metadata": {"annotations": {ADOPT: "true"}}})
    standing.until_routed(ONE)

    assert list(standing.predictors()) == ["v1"]
    assert standing.resource()["metadata"]["labels"][MODEL_LABEL] == "flights"


def test_a_rollout_without_a_model_keeps_the_model_waiting_until_it_has_ended(
    standing: Any, cluster: Any, namespace: str
) -> None:
    claimed = {"metadata": {"annotations": {CLAIM: "to-next/u-7", ADOPT: "true"}}}
    cluster.api.merge(SELDON_DEPLOYMENT, namespace, "flights", claimed)
    before = spec_of(standing)
    with pytest.raises(Invalid, match="ModelRollout to-next works on SeldonDeployment flights"):
        standing.traffic.want(ONE)
    assert spec_of(standing) == before

    cluster.api.merge(SELDON_DEPLOYMENT, namespace, "flights", {"metadata": {"annotations": {CLAIM: None}}})
    standing.until_routed(ONE)
    assert list(standing.predictors()) == ["v1"]


def test_a_claim_made_while_the_model_adopts_is_not_overwritten(standing: Any, cluster: Any, namespace: str) -> None:
    cluster.api.merge(SELDON_DEPLOYMENT, namespace, "flights", {"metadata": {"annotations": {ADOPT: "true"}}})
    read = standing.resource()
    cluster.api.merge(SELDON_DEPLOYMENT, namespace, "flights", {"metadata": {"annotations": {CLAIM: "to-next/u-7"}}})
    with pytest.raises(Conflict):
        cluster.api.patch(SELDON_DEPLOYMENT, namespace, "flights", marked(read), manager="trimtab-controller")
    assert MODEL_LABEL not in (standing.resource()["metadata"].get("labels") or {})
