"""Rollouts while something is wrong: pods, the operator, the API server, a second writer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from trimtab.app.cluster.resources import model_of
from trimtab.core.errors import Fenced, TrimtabError

Canary = Any
Witness = Any
Kubectl = Callable[..., str]
OTHERS = {"v1": 30, "v2": 70}  # what a second writer wants
EDITS = 5  # at each weight


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
    canary.at_weight(10)
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


def test_a_challenger_that_is_gone_while_requests_go_to_it_is_rolled_back(
    canary: Canary, pods: Any, namespace: str
) -> None:
    canary.at_weight(10)
    pods.lose_one(namespace, "v2")  # its only one
    canary.until(lambda: "v2" not in ready(canary), "its end")
    canary.until(lambda: canary.at().unanswered_since is not None, "the controller's notice")
    assert canary.answering() == {"v1": 90, "v2": 10}  # the operator leaves the routes as they are
    canary.offset += timedelta(minutes=2)

    back_at_the_champion(canary)

    assert canary.phase() == "RolledBack"
    assert "nothing of v2 has answered for 2m" in canary.at().reason


def test_the_operator_is_down_for_a_minute(canary: Canary, operator: Any, namespace: str) -> None:
    canary.at_weight(10)
    operator.down()
    before = written(canary, namespace)
    canary.send(400)  # enough for the next step
    with_trouble(canary.look)
    asked, told = canary.at(), (canary.rollout()["metadata"]["resourceVersion"], canary.events())
    for _ in range(12):
        canary.send(400)
        canary.offset += timedelta(seconds=5)
        with_trouble(canary.look)
    assert (asked.weight_percent, asked.epochs[-1].confirmed_from) == (50, None)
    assert counted(canary.at()) == counted(asked)
    assert written(canary, namespace) == before
    assert (canary.rollout()["metadata"]["resourceVersion"], canary.events()) == told
    assert canary.phase() == "Error"
    assert canary.answering() == {"v1": 90, "v2": 10}
    assert canary.champion() == 1
    operator.up()

    canary.at_weight(50)
    for _ in range(5):
        canary.look()
    assert canary.phase() == "Canary"  # what was answered meanwhile says nothing of this step
    canary.send(400)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")


def test_a_stable_replica_is_lost_during_a_rollback(
    canary: Canary, pods: Any, kubectl: Kubectl, namespace: str
) -> None:
    canary.at_weight(10)
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
    canary.at_weight(10)
    canary.send(400)
    cluster.restart_api_server()
    canary.at_weight(50)
    canary.send(400)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")


def test_a_second_writer_who_puts_other_weights_back_is_outlasted(
    canary: Canary, witness: Witness, namespace: str
) -> None:
    canary.at_weight(10)
    ending = threading.Event()
    edits: list[int] = []

    def annotate() -> None:
        number = 0
        while not ending.wait(0.05):
            number += 1
            body = {"metadata": {"annotations": {"example.com/touched": str(number)}}}
            with_trouble(lambda body=body: canary.api.merge(SELDON_DEPLOYMENT, namespace, "flights", body))

    def reweigh() -> None:
        while not ending.wait(0.2):
            with_trouble(lambda: edits.extend(reweighed(canary, namespace)))

    writers = [threading.Thread(target=each) for each in (annotate, reweigh)]
    for writer in writers:
        writer.start()
    try:
        canary.until(lambda: len(edits) >= EDITS, "edits at 10 %")
        canary.until(lambda: canary.at().weight_percent == 50, "the next step", look=lambda: served(canary))
        before = len(edits)
        canary.until(lambda: len(edits) >= before + EDITS, "edits at 50 %")
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    canary.at_weight(50)
    assert witness.splits.count(OTHERS) == len(edits)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion", look=lambda: served(canary))

    reweighed(canary, namespace)
    canary.until(lambda: canary.answering() == OTHERS, "the other's split", look=nobody_looks)
    canary.until(lambda: canary.answering() == {"v2": 100}, "the promoted alone")
    assert canary.predictors() == ["v1", "v2"]
    assert canary.champion() == 2


def test_two_controllers_at_once_make_one_rollout_of_it(canary: Canary, kubectl: Kubectl) -> None:
    canary.at_weight(10)
    former = canary.rollouts
    canary.start()
    canary.look()
    found = canary.api.get(MODEL, canary.namespace, "flights")
    with pytest.raises(Fenced):
        former.lead(canary.namespace, model_of(found), found, canary.epoch - 1)
    canary.send(400)
    canary.at_weight(50)


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


def reweighed(canary: Canary, namespace: str) -> list[int]:
    """As a GitOps tool that puts back what stands in its own file: weights that add up, and that nobody asked for."""
    found = canary.api.get(SELDON_DEPLOYMENT, namespace, "flights")
    predictors = found["spec"]["predictors"]
    if {each["name"]: each.get("traffic", 0) for each in predictors} == OTHERS:
        return []
    for each in predictors:
        each["traffic"] = OTHERS[each["name"]]
    return [canary.api.replace(SELDON_DEPLOYMENT, found)["metadata"]["generation"]]


def counted(state: Any) -> int:
    """Answers that were taken for evidence."""
    return sum(each["champion"] + each["challenger"] for each in state.evidence["counts"])


def written(canary: Canary, namespace: str) -> list[str]:
    """How often the split was written: where it is asked for, and where it is routed."""
    found = [canary.api.get(kind, namespace, "flights") for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE)]
    return [str(each["metadata"]["generation"]) for each in found]


def served(canary: Canary) -> None:
    canary.send(50)
    canary.look()


def nobody_looks() -> None:
    """What is there is awaited as it comes."""
