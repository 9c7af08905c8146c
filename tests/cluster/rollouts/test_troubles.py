"""Rollouts while something is wrong: pods, the operator, the API server, a second writer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, SELDON_DEPLOYMENT
from trimtab.app.cluster.resources import model_of
from trimtab.core.errors import Fenced, TrimtabError

Canary = Any
Witness = Any
Kubectl = Callable[..., str]


def at_weight(canary: Canary, percent: int) -> None:
    canary.until(lambda: canary.answering() == {"v1": 100 - percent, "v2": percent}, f"{percent} %")
    canary.until(lambda: canary.at().epochs[-1].confirmed_from is not None, f"the router's word on {percent} %")


def back_at_the_champion(canary: Canary) -> None:
    canary.until(lambda: canary.answering() == {"v1": 100}, "the champion alone")
    canary.until(lambda: canary.predictors() == ["v1"], "the challenger's end")


def abort(kubectl: Kubectl) -> None:
    kubectl("patch", "mro", "flights-v2", "--type=merge", "-p", json.dumps({"spec": {"aborted": True}}))


def test_a_challenger_that_never_becomes_ready_harms_nobody_and_is_taken_away(
    make_canary: Callable[..., Canary], pods: Any, kubectl: Kubectl, namespace: str
) -> None:
    pods.never_ready(namespace, "v2")
    canary = make_canary()
    canary.until(lambda: "v2" in canary.predictors(), "the challenger's start")
    for _ in range(10):
        canary.look()
    assert canary.answering() == {"v1": 100}
    assert canary.phase() in ("Pending", "Error")

    abort(kubectl)
    back_at_the_champion(canary)

    assert canary.phase() == "Aborted"


def test_a_challenger_that_crashes_after_an_update_does_not_hold_up_its_own_end(
    canary: Canary, pods: Any, kubectl: Kubectl, namespace: str
) -> None:
    at_weight(canary, 10)
    pods.crash_after_update(namespace, "v2")
    image = "/spec/predictors/1/componentSpecs/0/spec/containers/0/image"
    canary.api.patch(SELDON_DEPLOYMENT, namespace, "flights", [{"op": "replace", "path": image, "value": "bad:1"}])
    canary.until(lambda: "v2" not in ready(canary), "the crash")
    canary.send(400)
    for _ in range(5):
        canary.look()
    assert canary.answering() == {"v1": 90, "v2": 10}

    abort(kubectl)
    back_at_the_champion(canary)

    assert canary.phase() == "Aborted"


def test_the_operator_is_down_for_a_while(canary: Canary, operator: Any) -> None:
    at_weight(canary, 10)
    operator.down()
    try:
        canary.send(400)
        for _ in range(10):
            with_trouble(canary.look)
        assert canary.answering() == {"v1": 90, "v2": 10}
    finally:
        operator.up()

    at_weight(canary, 50)

    assert canary.phase() == "Canary"


def test_a_stable_replica_is_lost_during_a_rollback(
    canary: Canary, pods: Any, kubectl: Kubectl, namespace: str
) -> None:
    at_weight(canary, 10)
    pods.lose_one(namespace, "v1")
    abort(kubectl)
    for _ in range(5):
        with_trouble(canary.look)
    pods.ready(namespace, "v1")

    back_at_the_champion(canary)

    assert canary.phase() == "Aborted"


def test_the_api_server_is_killed_and_comes_back(canary: Canary, cluster: Any) -> None:
    if cluster.plane is None:
        pytest.skip("the cluster is somebody else's: its API server is not killed")
    at_weight(canary, 10)
    canary.send(400)
    cluster.restart_api_server()
    at_weight(canary, 50)
    canary.send(400)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")


def test_a_second_writer_of_the_seldon_deployment_is_lived_with(canary: Canary, namespace: str) -> None:
    at_weight(canary, 10)
    ending = threading.Event()

    def annotate() -> None:
        number = 0
        while not ending.wait(0.05):
            number += 1
            body = {"metadata": {"annotations": {"example.com/touched": str(number)}}}
            with_trouble(lambda body=body: canary.api.merge(SELDON_DEPLOYMENT, namespace, "flights", body))

    def resize() -> None:
        while not ending.wait(0.11):
            with_trouble(lambda: _unweighted(canary, namespace))

    writers = [threading.Thread(target=each) for each in (annotate, resize)]
    for writer in writers:
        writer.start()
    try:
        canary.send(400)
        at_weight(canary, 50)
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    canary.send(400)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")


def test_two_controllers_at_once_make_one_rollout_of_it(canary: Canary, kubectl: Kubectl) -> None:
    at_weight(canary, 10)
    former = canary.rollouts
    canary.start()
    canary.look()
    found = canary.api.get(MODEL, canary.namespace, "flights")
    with pytest.raises(Fenced):
        former.lead(canary.namespace, model_of(found), found, canary.epoch - 1)
    canary.send(400)
    at_weight(canary, 50)


def ready(canary: Canary) -> set[str]:
    """Versions whose pods are all of the newest template, and ready."""
    found = set()
    for each in canary.api.list(DEPLOYMENT, canary.namespace)[0]:
        status, wanted = each.get("status") or {}, each["spec"]["replicas"]
        current = status.get("observedGeneration") == each["metadata"]["generation"]
        # While a new pod crashes, the old one goes on beside it and counts as available.
        counts = {status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        if current and counts == {wanted}:
            found.add(each["metadata"]["labels"]["version"])
    return found


def with_trouble(act: Callable[[], Any]) -> None:
    """What does not work just now is tried again by whoever calls."""
    try:
        act()
    except TrimtabError:
        return


def _unweighted(canary: Canary, namespace: str) -> None:
    """As a GitOps tool that puts back what stands in its own file: an edit in the wrong place, refused by guards."""
    found = canary.api.get(SELDON_DEPLOYMENT, namespace, "flights")
    found["spec"]["predictors"][0]["annotations"] = {}
    canary.api.replace(SELDON_DEPLOYMENT, found)
