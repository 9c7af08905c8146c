"""The operator's pitfalls, which a driver of rollouts has to live with."""

from __future__ import annotations

import pytest

from trimtab.adapters.kubernetes.kinds import SELDON_DEPLOYMENT
from trimtab.core.errors import Conflict, Invalid

from .conftest import predictor
from .test_restarts import with_image


def test_p2_weights_stay_while_anything_is_unready_and_removal_frees_them(iris, pods, namespace):
    one, two = predictor("main", 50), predictor("canary", 50)
    iris.create(one, two)
    iris.until_settled()
    pods.crash_after_update(namespace, "canary")
    iris.change(one, with_image(two, "broken:1"))
    iris.until(lambda: iris.condition("DeploymentsReady").get("status") == "False", "unready")
    generation = iris.change({**one, "traffic": 100}, {**with_image(two, "broken:1"), "traffic": 0})["metadata"]
    assert generation["generation"] == 3
    # Later than this write it looked, and left the routes.
    noted = iris.api.merge(SELDON_DEPLOYMENT, namespace, "iris", {"metadata": {"labels": {"seen": "no"}}})
    assert noted["metadata"]["generation"] == 3
    pods.lose_one(namespace, "main")
    iris.until(lambda: "main" in unavailable(iris), "main unready as well")
    assert iris.routes() == {"main": 50, "canary": 50}
    assert iris.status["state"] == "Creating"
    pods.ready(namespace, "main")
    iris.until(lambda: "main" not in unavailable(iris), "main ready")
    iris.change({**one, "traffic": 100})
    iris.until(lambda: iris.routes() == {"main": 100}, "the challenger removed")


def unavailable(iris) -> list[str]:
    """Predictors whose status, as the operator told it, lacks an available replica."""
    told = iris.status["deploymentStatus"]
    return [
        name.removeprefix("iris-").removesuffix("-0-classifier")
        for name, each in told.items()
        if each.get("availableReplicas", 0) < each.get("replicas", 1)
    ]


def test_p2_one_lost_stable_replica_blocks_a_removal_too(iris, pods, namespace):
    one, two = predictor("main", 50, replicas=2), predictor("canary", 50)
    iris.create(one, two)
    iris.until_settled()
    pods.lose_one(namespace, "main")
    iris.until(lambda: iris.condition("DeploymentsReady").get("status") == "False", "unready")
    iris.change({**one, "traffic": 100})
    iris.until(lambda: list(iris.status["deploymentStatus"]) and iris.get()["metadata"]["generation"] == 2, "seen")
    assert iris.routes() == {"main": 50, "canary": 50}
    assert iris.deployment("canary") is not None
    pods.ready(namespace, "main")
    iris.until(lambda: iris.routes() == {"main": 100} and iris.deployment("canary") is None, "freed")


def test_p3_available_is_said_of_pods_that_do_not_exist_yet_and_moves_weights(iris, operator, pods, namespace):
    one, two = predictor("main", 95), predictor("canary", 5)
    iris.create(one, two)
    iris.until_settled()
    operator.delay_status(3.0)
    pods.never_ready(namespace, "canary")
    iris.until_settled()
    iris.change({**one, "traffic": 50}, {**with_image(two, "iris:2"), "traffic": 50})
    iris.until(lambda: iris.routes() == {"main": 50, "canary": 50}, "the weights, too early")
    found = iris.deployment("canary")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "iris:2"
    assert iris.status["state"] == "Available"
    iris.until(lambda: iris.deployment("canary")["status"].get("unavailableReplicas") == 1, "the new pod")
    iris.until(lambda: iris.status["state"] == "Creating", "the truth, later")
    operator.delay_status(0)
    pods.ready(namespace, "canary")
    iris.until_settled()


def test_p4_replicas_that_nobody_sets_make_it_write_without_end(iris):
    unset = predictor("main")
    del unset["replicas"]
    iris.create(unset)
    iris.until(lambda: iris.status.get("state") == "Available", "available")
    assert iris.deployment()["metadata"]["generation"] == 1
    iris.change(with_image(unset, "iris:2"))
    iris.until(lambda: iris.deployment()["metadata"]["generation"] > 8, "a generation after the other")
    iris.until(lambda: iris.status["state"] == "Available", "available all the while")
    iris.change({**with_image(unset, "iris:2"), "replicas": 1})
    iris.until_settled()
    iris.change({**with_image(unset, "iris:2"), "replicas": 1, "traffic": 100})
    iris.until_settled()
    settled = iris.deployment()["metadata"]["generation"]
    iris.api.merge(SELDON_DEPLOYMENT, iris.namespace, "iris", {"metadata": {"labels": {"look": "again"}}})
    iris.change({**with_image(unset, "iris:2"), "replicas": 2})
    iris.until(lambda: iris.deployment()["spec"]["replicas"] == 2, "the second replica")
    iris.until_settled()
    assert iris.deployment()["metadata"]["generation"] == settled + 1


def test_a_challenger_that_never_becomes_ready_fails_by_its_deadline_and_recovers(iris, pods, namespace):
    pods.never_ready(namespace, "canary")
    iris.create(predictor("main", 95), predictor("canary", 5, progressDeadlineSeconds=1))
    iris.until(lambda: iris.status.get("state") == "Failed", "never failed")
    assert iris.status["description"] == "Deployment is no longer progressing and not available."
    assert iris.condition("DeploymentsReady")["reason"] == "MinimumReplicasUnavailable"
    pods.ready(namespace, "canary")
    iris.until_settled()
    assert "description" not in iris.status


def test_one_that_was_ready_and_crashes_after_an_update_is_never_failed(iris, pods, namespace):
    one, two = predictor("main", 95), predictor("canary", 5, progressDeadlineSeconds=1)
    iris.create(one, two)
    iris.until_settled()
    pods.crash_after_update(namespace, "canary")
    iris.change(one, with_image(two, "broken:1"))

    def exceeded() -> bool:
        conditions = iris.deployment("canary")["status"]["conditions"]
        return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)

    iris.until(exceeded, "the deadline")
    iris.until(lambda: iris.status["state"] == "Creating", "not told")
    assert iris.deployment("canary")["status"]["availableReplicas"] == 1


def test_no_replicas_at_all_freeze_everything(iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    iris.change(predictor("main", 100), predictor("canary", 0, replicas=0))
    iris.until(lambda: iris.status["deploymentStatus"]["iris-canary-0-classifier"] == {}, "zeros are left out")
    assert iris.status["state"] == "Creating"
    iris.change(with_image(predictor("main", 90), "iris:2"), predictor("canary", 10, replicas=0))

    def image() -> str:
        return str(iris.deployment("main")["spec"]["template"]["spec"]["containers"][0]["image"])

    iris.until(lambda: image() == "iris:2", "the operator has seen the new weights")
    assert iris.routes() == {"main": 100, "canary": 0}


def test_predictors_belong_to_one_manager_as_a_whole(iris):
    apply = {"apiVersion": SELDON_DEPLOYMENT.api_version, "kind": SELDON_DEPLOYMENT.name}
    meta = {"name": "iris", "namespace": iris.namespace}
    mine = {**apply, "metadata": meta, "spec": {"predictors": [predictor("main", 50), predictor("canary", 50)]}}
    iris.api.apply(SELDON_DEPLOYMENT, mine, "argocd")
    other = {**apply, "metadata": meta, "spec": {"predictors": [predictor("main", 60), predictor("canary", 40)]}}
    with pytest.raises(Conflict, match=r'conflict with "argocd"'):
        iris.api.apply(SELDON_DEPLOYMENT, other, "trimtab")
    part = {**apply, "metadata": meta, "spec": {"predictors": [{"name": "main", "traffic": 60}]}}
    with pytest.raises(Invalid, match=r"spec\.predictors\[0\]\.graph: Required value"):
        iris.api.apply(SELDON_DEPLOYMENT, part, "trimtab", force=True)
    iris.api.apply(SELDON_DEPLOYMENT, {**apply, "metadata": meta, "spec": {"replicas": 2}}, "trimtab")


def test_a_failed_guard_of_a_patch_writes_nothing(iris):
    iris.create(predictor("main", 95), predictor("canary", 5))
    guarded = [
        {"op": "test", "path": "/spec/predictors/1/name", "value": "another"},
        {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 0},
        {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 100},
    ]
    with pytest.raises(Conflict):
        iris.api.patch(SELDON_DEPLOYMENT, iris.namespace, "iris", guarded)
    half = [{"op": "replace", "path": "/spec/predictors/0/traffic", "value": 70}]
    with pytest.raises(Invalid, match="Traffic must sum to 100"):
        iris.api.patch(SELDON_DEPLOYMENT, iris.namespace, "iris", half)
    assert [each["traffic"] for each in iris.get()["spec"]["predictors"]] == [95, 5]
