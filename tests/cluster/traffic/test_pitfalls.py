"""What Seldon's operator does to those who do not know it: each pitfall, provoked, and lived with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL, SELDON_DEPLOYMENT
from trimtab.adapters.kubernetes.predictor import ModelPredictors
from trimtab.adapters.kubernetes.seldon_traffic import SeldonTraffic
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Serving

ONE = Serving(1, versions=(1,))


def canary(weight: int) -> Serving:
    return Serving(1, 2, weight, versions=(1, 2))


def plain(name: str, image: str = "iris:1", **more: Any) -> Object:
    """As people write a predictor: no ports, and of the replicas nothing either."""
    containers = [{"name": "classifier", "image": image}]
    graph = {"name": "classifier", "type": "MODEL"}
    return {"name": name, "graph": graph, "componentSpecs": [{"spec": {"containers": containers}}], **more}


# The numbers that follow the order of the list (P1)


def test_a_promotion_restarts_no_pod_of_the_promoted(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.until(canary(0), lambda seen: seen.ready == {1, 2})
    template = flights.template("v2")
    for weight in (10, 50):
        flights.until_routed(canary(weight))
    flights.until_routed(Serving(2, versions=(1, 2)))
    assert flights.weights() == {"v1": 0, "v2": 100}
    assert flights.routes() == {"v1": 0, "v2": 100}
    flights.until(Serving(2, versions=(2,)), lambda seen: flights.deployment("v1") is None)
    flights.until_routed(Serving(2, versions=(2,)))
    assert flights.template("v2") == template
    assert flights.deployment("v2")["metadata"]["generation"] == 1


def test_a_promotion_beside_a_predictor_that_says_nothing_restarts_no_pod_either(
    adopted: Callable[..., Any],
) -> None:
    found = adopted(plain("next", "iris:2"), plain("main", replicas=1))
    before = found.template("main")
    found.until(canary(0), lambda seen: seen.ready == {1, 2})
    assert found.template("main") == before, "saying what the operator has chosen changes nothing"
    template = found.template("next")
    found.until_routed(canary(50))
    found.until_routed(Serving(2, versions=(2,)))
    found.until_true(lambda: list(found.predictors()) == ["next"], "the champion's removal")
    found.until(Serving(2, versions=(2,)), lambda seen: found.deployment("main") is None)
    assert found.template("next") == template


# Routing that is frozen while anybody is not ready (P2)


def test_an_abort_gives_everything_to_the_champion_though_the_challenger_crashed(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.until_routed(canary(50))
    flights.pods.lose_one(flights.namespace, "v2")
    flights.until(canary(50), lambda seen: seen.ready == {1})
    flights.until_routed(ONE)
    assert list(flights.predictors()) == ["v1"]
    assert flights.routes() == {"v1": 100}


def test_a_former_champion_that_goes_unready_is_let_go_and_does_not_come_back_by_itself(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.until_routed(canary(50))
    promoted = Serving(2, versions=(1, 2))
    flights.until_routed(promoted)
    flights.pods.lose_one(flights.namespace, "v1")
    flights.until(promoted, lambda seen: list(flights.predictors()) == ["v2"])
    flights.until(promoted, lambda seen: flights.deployment("v1") is None)
    for _ in range(5):
        flights.traffic.want(promoted)
    assert list(flights.predictors()) == ["v2"]
    # The next challenger finds nothing in its way; and the former champion can be called back.
    flights.until_routed(Serving(2, 3, 20, versions=(1, 2, 3)))
    flights.until_routed(Serving(1, versions=(1, 2)))


def test_a_champion_short_of_a_replica_holds_the_weights_until_it_is_back(flights: Any) -> None:
    flights.until_routed(ONE)
    operations = [{"op": "replace", "path": "/spec/predictors/0/replicas", "value": 2}]
    flights.api.patch(SELDON_DEPLOYMENT, flights.namespace, "flights", operations)
    flights.until(ONE, lambda seen: flights.deployment("v1")["spec"]["replicas"] == 2 and seen.ready == {1})
    flights.until_routed(canary(10))
    assert flights.predictors()["v2"]["replicas"] == 2, "whoever is to take over is as large as the champion"
    flights.pods.lose_one(flights.namespace, "v1")
    flights.until(canary(10), lambda seen: seen.ready == {2})
    for _ in range(5):
        flights.traffic.want(canary(50))
    assert flights.weights() == {"v1": 90, "v2": 10}
    flights.pods.ready(flights.namespace, "v1")
    flights.until_routed(canary(50))


def test_an_abort_while_a_replica_of_the_champion_is_lost_ends_once_it_is_back(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.until_routed(canary(50))
    flights.pods.lose_one(flights.namespace, "v1")
    flights.until(canary(50), lambda seen: seen.ready == {2})
    flights.until(ONE, lambda seen: list(flights.predictors()) == ["v1"])
    flights.pods.ready(flights.namespace, "v1")
    flights.until_routed(ONE)


# An operator that believes what was the case before (P3)


def test_no_weight_moves_to_pods_that_are_not_there_yet_whatever_the_operator_says(flights: Any, operator: Any) -> None:
    flights.until_routed(ONE)
    mirrored = Serving(1, 2, 0, shadow=True, versions=(1, 2))
    flights.until_routed(mirrored)
    operator.delay_status(2.0)
    early: list[str] = []

    def watch() -> None:
        if flights.weights().get("v2", 0) not in (0, 100) and not flights.is_rolled_out("v2"):
            early.append(str(flights.resource().get("status")))

    # The shadow is to answer: its pods restart, and until that is over the operator says Available.
    flights.until_routed(canary(30), each=watch)
    assert early == []
    assert flights.routes() == {"v1": 70, "v2": 30}


# Replicas that nobody says (P4)


def test_replicas_are_said_before_anything_else_changes(adopted: Callable[..., Any]) -> None:
    found = adopted(plain("next"), plain("main"), replicas=2)
    found.traffic.want(canary(0))
    assert {name: each["replicas"] for name, each in found.predictors().items()} == {"main": 2}
    found.until_routed(canary(25))
    assert {name: each["replicas"] for name, each in found.predictors().items()} == {"main": 2, "next": 2}


# Shadows


def test_a_shadow_becomes_champion_through_a_restart_and_is_mirrored_to_no_more(flights: Any) -> None:
    flights.until_routed(ONE)
    mirrored = Serving(1, 2, 0, shadow=True, versions=(1, 2))
    seen = flights.until_routed(mirrored)
    assert seen.ready == {1, 2}
    assert flights.routes() == {"v1": 100}
    # Who is to answer has to be ready for it first: until then the champion of before is wanted, both running.
    flights.traffic.want(Serving(2, versions=(1, 2)))
    flights.until(Serving(1, versions=(1, 2)), lambda seen: seen.ready == {1, 2} and flights.is_rolled_out("v2"))
    flights.until_routed(Serving(2, versions=(1, 2)))
    assert flights.routes() == {"v1": 0, "v2": 100}


# Others who write


class Interfering:
    """An API server on which somebody else writes between what is read and what is written, once."""

    def __init__(self, api: Any, interfere: Callable[[], None]) -> None:
        self._api = api
        self._interfere: Callable[[], None] | None = interfere

    def __getattr__(self, name: str) -> Any:
        if name == "patch" and self._interfere is not None:
            self._interfere, interfere = None, self._interfere
            interfere()
        return getattr(self._api, name)


def test_a_write_on_top_of_another_is_not_made_and_comes_at_the_next_look(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.until(canary(0), lambda seen: seen.ready == {1, 2})

    def third() -> None:
        found = copy.deepcopy(flights.predictors()["v2"])
        found["name"] = "v3"
        operations = [{"op": "add", "path": "/spec/predictors/0", "value": found}]
        flights.api.patch(SELDON_DEPLOYMENT, flights.namespace, "flights", operations)

    api = flights.traffic._api
    flights.traffic._api = Interfering(api, third)
    flights.traffic.want(canary(40))
    flights.traffic._api = api
    assert flights.weights() == {"v3": 0, "v1": 100, "v2": 0}
    flights.until_routed(canary(40))
    assert flights.weights() == {"v1": 60, "v2": 40}


def test_what_other_tools_own_stays_theirs(flights: Any) -> None:
    flights.until_routed(ONE)
    body = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "metadata": {"name": "flights", "namespace": flights.namespace, "labels": {"team": "delays"}},
        "spec": {"replicas": 1},
    }
    flights.api.apply(SELDON_DEPLOYMENT, body, "argocd")
    flights.until_routed(canary(25))
    flights.api.apply(SELDON_DEPLOYMENT, body, "argocd")
    assert flights.resource()["metadata"]["labels"]["team"] == "delays"
    assert flights.routes() == {"v1": 75, "v2": 25}
    managers = {each["manager"] for each in flights.resource()["metadata"]["managedFields"]}
    assert {"trimtab-controller", "argocd"} <= managers


def test_with_the_operator_down_nothing_is_written_and_it_goes_on_when_it_is_back(flights: Any, operator: Any) -> None:
    flights.until_routed(ONE)
    operator.down()
    with pytest.raises(Unavailable, match="vseldondeployment"):
        flights.traffic.want(canary(0))
    assert flights.traffic.seen().route.champion == 1
    operator.up()
    flights.until_routed(canary(10))


def test_without_a_deployment_a_rollout_without_a_model_says_so(adopted: Callable[..., Any]) -> None:
    found = adopted(plain("next"), plain("main"))
    found.api.delete(SELDON_DEPLOYMENT, found.namespace, "flights")
    found.until_true(lambda: not found.predictors(), "its deletion")
    with pytest.raises(Invalid, match="found no SeldonDeployment flights"):
        found.traffic.want(ONE)


def test_where_none_can_be_made_the_reason_is_told(flights: Any) -> None:
    predictors = ModelPredictors(replace(flights.traffic._predictors._served, namespace="nowhere"))
    traffic = SeldonTraffic(flights.api, "nowhere", "flights", predictors, flights.traffic._answers)
    with pytest.raises(Invalid, match="nowhere"):
        traffic.want(ONE)


def test_a_model_that_is_gone_gets_no_deployment_again(flights: Any) -> None:
    flights.until_routed(ONE)
    flights.api.delete(MODEL, flights.namespace, "flights")
    flights.until_true(lambda: not flights.predictors(), "its deletion")
    with pytest.raises(Invalid, match="ContinuousModel flights is gone"):
        flights.traffic.want(ONE)
    assert not flights.predictors()


def test_what_the_model_server_is_given(flights: Any) -> None:
    flights.until_routed(ONE)
    pod = flights.template("v1")["spec"]
    container = next(each for each in pod["containers"] if each["name"] == "model")
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {
        "metrics": 6000,
        "http": 9000,
        "grpc": 9500,
    }
    assert pod["serviceAccountName"] == "trimtab-model"
    assert container["envFrom"] == [{"secretRef": {"name": "trimtab-s3", "optional": True}}]
    [owner] = flights.resource()["metadata"]["ownerReferences"]
    assert owner["kind"] == "ContinuousModel"
