"""A SeldonDeployment from creation to deletion, as Seldon's operator was seen to keep it."""

from __future__ import annotations

import threading

import pytest
from seldon.reconcile import DESTINATION_RULE

from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, SELDON_DEPLOYMENT, SERVICE, VIRTUAL_SERVICE
from trimtab.core.errors import Unavailable

from .conftest import predictor


def test_creation_makes_everything_with_its_names_owners_and_labels(iris):
    made = iris.create(predictor("main", 95), predictor("canary", 5))
    iris.until_settled()
    names = iris.names()
    assert names["deployments"] == {"iris-main-0-classifier", "iris-canary-0-classifier"}
    assert names["services"] == {"iris-main", "iris-main-classifier", "iris-canary", "iris-canary-classifier"}
    assert names["rules"] == {"iris-main", "iris-canary"}
    assert iris.routes() == {"main": 95, "canary": 5}
    found = iris.deployment("canary")
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (made["metadata"]["uid"], True, True)
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert (labels["version"], labels["seldon-app"], labels["seldon-deployment-id"]) == (
        "canary",
        "iris-canary",
        "iris",
    )
    names = [container["name"] for container in found["spec"]["template"]["spec"]["containers"]]
    assert names == ["classifier", "seldon-container-engine"]


def test_spec_and_generation_stay_as_they_were_written(iris):
    made = iris.create(predictor("main"))
    iris.until_settled()
    found = iris.get()
    assert (found["spec"], found["metadata"]["generation"]) == (made["spec"], 1)
    assert "finalizers" not in found["metadata"]
    assert "observedGeneration" not in found["status"]


def test_status_is_told_in_steps_and_nothing_is_routed_before_all_is_ready(iris, pods, namespace):
    _, version = iris.api.list(SELDON_DEPLOYMENT, namespace)
    pods.never_ready(namespace, "canary")
    iris.create(predictor("main", 95), predictor("canary", 5))
    iris.until(
        lambda: iris.status.get("deploymentStatus", {}).get("iris-main-0-classifier", {}).get("availableReplicas"),
        "main",
    )
    iris.until(lambda: iris.condition("DeploymentsReady").get("status") == "False", "told as unready")
    assert iris.status["state"] == "Creating"
    assert iris.condition("istioVirtualServicesReady") == {}
    assert iris.routes() == {}
    pods.ready(namespace, "canary")
    iris.until_settled()
    seen = []
    for _, found in iris.api.watch(SELDON_DEPLOYMENT, namespace, version, 30):
        status = found.get("status") or {}
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        seen.append((status.get("state"), conditions.get("ServicesReady"), conditions.get("Ready")))
        if seen[-1] == ("Available", "True", "True"):
            break
    assert seen[0] == (None, None, None)
    assert ("Creating", "False", "False") in seen
    assert ("Available", "True", "False") in seen
    status = iris.status
    assert status["address"] == {"url": f"http://iris-main.{namespace}.svc.cluster.local:8000/api/v1.0/predictions"}
    assert status["deploymentStatus"]["iris-canary-0-classifier"] == {"replicas": 1, "availableReplicas": 1}
    kinds = [each["type"] for each in status["conditions"]]
    assert kinds == sorted(kinds)
    assert len(kinds) == 8


def test_a_change_of_weights_moves_the_routes_alone(iris):
    iris.create(predictor("main", 95), predictor("canary", 5))
    iris.until_settled()
    before = iris.template("main"), iris.template("canary")
    version = iris.get()["metadata"]["resourceVersion"]
    iris.change(predictor("main", 50), predictor("canary", 50))
    iris.until(lambda: iris.routes() == {"main": 50, "canary": 50}, "the weights")
    iris.until_settled()
    states, ready = set(), []
    for _, found in iris.api.watch(SELDON_DEPLOYMENT, iris.namespace, version, 30):
        states.add(found["status"]["state"])
        ready.append(next(each["status"] for each in found["status"]["conditions"] if each["type"] == "Ready"))
        if ready[-2:] == ["False", "True"]:
            break
    assert states == {"Available"}
    assert ready[0] == "True", "the new generation stands with the old status at first"
    assert (iris.template("main"), iris.template("canary")) == before


def test_removal_takes_routes_first_services_last_and_leaves_the_rule(iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    _, version = iris.api.list(DEPLOYMENT, iris.namespace)
    iris.change(predictor("main", 100))
    iris.until_settled()
    assert iris.routes() == {"main": 100}
    iris.until(lambda: iris.names()["services"] == {"iris-main", "iris-main-classifier"}, "Services of the removed")
    deletion = next(
        found
        for _, found in iris.api.watch(DEPLOYMENT, iris.namespace, version, 30)
        if "deletionTimestamp" in found["metadata"]
    )
    assert "foregroundDeletion" in deletion["metadata"]["finalizers"]
    assert iris.names()["deployments"] == {"iris-main-0-classifier"}
    assert iris.names()["rules"] == {"iris-main", "iris-canary"}
    assert list(iris.status["deploymentStatus"]) == ["iris-main-0-classifier"]


def test_deletion_takes_everything_with_it(iris):
    iris.create(predictor("main"))
    iris.until_settled()
    iris.api.delete(SELDON_DEPLOYMENT, iris.namespace, "iris")
    iris.until(lambda: not any(iris.names().values()), "what is left")
    assert iris.api.find(VIRTUAL_SERVICE, iris.namespace, "iris") is None


def test_what_others_change_is_put_right_but_a_rule_only_at_the_next_pass(iris):
    iris.create(predictor("main"))
    iris.until_settled()
    api, namespace = iris.api, iris.namespace
    api.delete(DESTINATION_RULE, namespace, "iris-main")
    api.merge(DEPLOYMENT, namespace, "iris-main-0-classifier", {"spec": {"replicas": 3}})
    iris.until(lambda: iris.deployment()["spec"]["replicas"] == 1, "replicas put right")
    api.merge(VIRTUAL_SERVICE, namespace, "iris", {"spec": {"hosts": ["elsewhere.example"]}})
    hosts = lambda: api.get(VIRTUAL_SERVICE, namespace, "iris")["spec"]["hosts"]  # noqa: E731
    iris.until(lambda: hosts() == ["*"], "hosts put right")
    api.delete(VIRTUAL_SERVICE, namespace, "iris")
    iris.until(lambda: iris.routes() == {"main": 0}, "the VirtualService made again")
    iris.until(lambda: iris.names()["rules"] == {"iris-main"}, "the rule, by now")
    api.merge(SERVICE, namespace, "iris-main", {"spec": {"selector": {"seldon-app": "another"}}})
    selector = lambda: (api.find(SERVICE, namespace, "iris-main") or {"spec": {}})["spec"].get("selector")  # noqa: E731
    iris.until(lambda: selector() == {"seldon-app": "iris-main"}, "the Service made anew")


def test_a_foreign_virtual_service_is_overwritten_and_not_owned(iris):
    body = {"hosts": ["mine.example"], "http": [{"route": [{"destination": {"host": "mine"}}]}]}
    meta = {"name": "iris", "namespace": iris.namespace}
    api_version = VIRTUAL_SERVICE.api_version
    iris.api.create(
        VIRTUAL_SERVICE, {"apiVersion": api_version, "kind": "VirtualService", "metadata": meta, "spec": body}
    )
    iris.create(predictor("main"))
    iris.until_settled()
    found = iris.api.get(VIRTUAL_SERVICE, iris.namespace, "iris")
    assert found["spec"]["hosts"] == ["*"]
    assert "ownerReferences" not in found["metadata"]


def test_while_it_is_down_nothing_is_written_and_deleting_still_works(iris, operator):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    operator.down()
    with pytest.raises(Unavailable, match=r'failed calling webhook "v1\.vseldondeployment\.kb\.io"'):
        iris.change(predictor("main", 50), predictor("canary", 50))
    iris.api.merge(SELDON_DEPLOYMENT, iris.namespace, "iris", {"status": {"description": "by hand"}}, "status")
    iris.api.delete(VIRTUAL_SERVICE, iris.namespace, "iris")
    operator.up()
    iris.until(lambda: iris.routes() == {"main": 100, "canary": 0}, "made again")
    operator.down()
    iris.api.delete(SELDON_DEPLOYMENT, iris.namespace, "iris")
    iris.until(lambda: not iris.names()["deployments"], "collected without it")


def test_what_the_api_server_refuses_is_told_raw_after_what_came_before_it(iris):
    broken = predictor("canary", 10)
    del broken["componentSpecs"][0]["spec"]["containers"][0]["image"]
    iris.create(predictor("main", 90), broken)
    status = iris.until(lambda: iris.status if iris.status.get("state") == "Failed" else None, "never failed")
    assert 'Deployment.apps "iris-canary-0-classifier" is invalid' in status["description"]
    assert "image: Required value" in status["description"]
    assert iris.names()["deployments"] == {"iris-main-0-classifier"}
    iris.change(predictor("main", 90), predictor("canary", 10))
    iris.until_settled()
    assert "description" not in iris.status


def test_two_writers_of_one_object_do_not_end_it(iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()

    def note() -> None:
        for number in range(20):
            iris.api.merge(
                SELDON_DEPLOYMENT, iris.namespace, "iris", {"metadata": {"annotations": {"by": str(number)}}}
            )

    thread = threading.Thread(target=note)
    thread.start()
    for weight in (10, 20, 30):
        iris.change(predictor("main", 100 - weight), predictor("canary", weight))
    thread.join()
    iris.until(lambda: iris.routes() == {"main": 70, "canary": 30}, "the last weights")
    iris.until_settled()


def test_its_permissions_suffice_for_all_that(cluster, iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    iris.change(predictor("main", 100))
    iris.until_settled()
    if cluster.plane is None:
        pytest.skip("the audit log is somebody else's")
    asked = cluster.asked("manager")
    assert {"get", "list", "watch", "create", "update", "delete"} <= {each.verb for each in asked}
    assert [each for each in asked if not each.allowed] == []
