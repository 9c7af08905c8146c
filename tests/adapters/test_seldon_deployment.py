"""What is read of a SeldonDeployment: who is rolled out, who is routed to, what is written down, and why it fails."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from trimtab.adapters.kubernetes.seldon_deployment import (
    deployments_of,
    failing_of,
    found_of,
    is_ambassadors,
    is_down,
    mirrored_of,
    short,
    weights_of,
)
from trimtab.adapters.kubernetes.seldon_marks import BOOK, book_of, written
from trimtab.core.ports import Serving
from trimtab.core.rollout.predictors import Book

Object = dict[str, Any]


def predictor(name: str = "v7", **more: Any) -> Object:
    containers = [{"name": "model", "image": "trimtab/serving:1"}]
    return {"name": name, "replicas": 2, "componentSpecs": [{"spec": {"containers": containers}}], **more}


def resource(*predictors: Object, **status: Any) -> Object:
    meta = {"name": "flights", "namespace": "air", "uid": "u1", "generation": 3, "annotations": {}}
    return {"metadata": meta, "spec": {"predictors": list(predictors)}, "status": status}


def deployment(name: str = "v7", **more: Any) -> Object:
    """All of two pods, of the newest template, ready."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    pods = {"containers": [{"name": "model", "image": "trimtab/serving:1"}, {"name": "seldon-container-engine"}]}
    return {
        "metadata": {
            "name": f"flights-{name}-0-model",
            "generation": 4,
            "ownerReferences": [{"uid": "u1"}],
            "labels": {"version": name},
        },
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {}}, "spec": pods}},
        "status": {"observedGeneration": 4, **counts, **more},
    }


def changed(found: Object, path: str, value: Any) -> Object:
    found = copy.deepcopy(found)
    *parents, last = path.split(".")
    inner = found
    for each in parents:
        inner = inner[each]
    inner[last] = value
    return found


def virtual_service(*entries: Object) -> Object:
    return {"spec": {"http": list(entries)}}


def entry(mirror: str = "", percent: int | None = None, **weights: int | None) -> Object:
    found: Object = {
        "route": [
            {"destination": {"subset": name}, **({} if weight is None else {"weight": weight})}
            for name, weight in weights.items()
        ]
    }
    if mirror:
        found["mirror"] = {"subset": mirror}
    if percent is not None:
        found["mirrorPercentage"] = {"value": percent}
    return found


def test_all_pods_of_the_newest_template_are_rolled_out() -> None:
    assert found_of(resource(predictor()), [deployment()], None).rolled_out == {"v7"}


@pytest.mark.parametrize(
    "found",
    [
        deployment(observedGeneration=3),
        deployment(updatedReplicas=1),
        deployment(availableReplicas=1),
        deployment(replicas=3),
        changed(deployment(), "spec.replicas", 0),
        changed(deployment(), "metadata.ownerReferences", [{"uid": "of another"}]),
        changed(deployment(), "metadata.name", "flights-v70-0-model"),
        changed(deployment(), "spec.template.metadata.labels", {"seldon.io/shadow": "true"}),
        changed(deployment(), "spec.template.spec.containers", [{"name": "model", "image": "before"}]),
        changed(deployment(), "status", {}),
    ],
    ids=[
        "its status is of before",
        "old pods",
        "not available",
        "a surge that goes on",
        "none wanted",
        "another's",
        "another predictor's",
        "still a shadow",
        "the image of before",
        "nothing known",
    ],
)
def test_anything_less_is_not(found: Object) -> None:
    assert found_of(resource(predictor()), [found], None).rolled_out == frozenset()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"command": ["serve"]}),
        ({"args": ["--workers=1"]}, {"args": ["--workers=2"]}),
        ({}, {"env": [{"name": "THREADS", "value": "2"}]}),
        ({"env": [{"name": "THREADS", "value": "1"}]}, {"env": [{"name": "THREADS"}]}),
    ],
    ids=["a command", "arguments", "a new variable", "a variable of another value"],
)
def test_until_its_deployments_carry_a_change_it_is_not_rolled_out(before: Object, after: Object) -> None:
    container = {"name": "model", "image": "trimtab/serving:1"}
    wanted = resource(predictor(componentSpecs=[{"spec": {"containers": [{**container, **after}]}}]))
    old, new = ({**container, "imagePullPolicy": "Always", **each} for each in (before, after))
    for template, expected in ((old, frozenset()), (new, {"v7"})):
        found = changed(deployment(), "spec.template.spec.containers", [template, {"name": "seldon-container-engine"}])
        assert found_of(wanted, [found], None).rolled_out == expected


def test_what_the_operator_fills_in_is_no_change() -> None:
    container = {"name": "model", "image": "trimtab/serving:1", "env": [{"name": "SELDON_DEPLOYMENT_ID", "value": ""}]}
    filled = {
        **container,
        "env": [
            {"name": "SELDON_DEPLOYMENT_ID", "value": "flights"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "resources": {},
    }
    found = changed(deployment(), "spec.template.spec.containers", [filled])
    wanted = predictor(componentSpecs=[{"spec": {"containers": [container]}}])
    assert found_of(resource(wanted), [found], None).rolled_out == {"v7"}


def test_each_component_has_a_deployment_of_its_own() -> None:
    two = predictor()
    two["componentSpecs"].append({"spec": {"containers": [{"name": "scaler", "image": "s"}]}})
    assert found_of(resource(two), [deployment()], None).rolled_out == frozenset()
    second = changed(deployment(), "metadata.name", "flights-v7-1-scaler")
    assert found_of(resource(two), [deployment(), second], None).rolled_out == {"v7"}


def test_a_long_name_is_a_digest_as_the_operator_makes_it() -> None:
    long = predictor("v" * 60)
    made = changed(deployment("v" * 60), "metadata.name", short(f"flights-{'v' * 60}-0-model"))
    assert made["metadata"]["name"].startswith("seldon-")
    assert deployments_of(resource(long), long, [made]) == [made]


def test_a_prepackaged_server_is_found_by_its_label() -> None:
    server = {"name": "main", "graph": {"name": "m", "implementation": "SKLEARN_SERVER"}}
    made = changed(deployment("main"), "metadata.name", "flights-main-0-m")
    assert deployments_of(resource(server), server, [made]) == [made]


@pytest.mark.parametrize(
    ("entries", "weights"),
    [
        ([entry(v6=90, v7=10), entry(v6=90, v7=10)], {"v6": 90, "v7": 10}),
        ([entry(v6=None, v7=100), entry(v6=None, v7=100)], {"v6": 0, "v7": 100}),
        ([entry(v6=None), entry(v6=None)], {"v6": 100}),
        ([entry(v6=90, v7=10), entry(v6=50, v7=50)], None),
        ([], None),
    ],
    ids=["both", "0 is left out", "alone", "REST and gRPC apart", "nothing"],
)
def test_weights_are_those_of_all_routes(entries: list[Object], weights: dict[str, int] | None) -> None:
    assert weights_of(virtual_service(*entries), resource()) == weights


def test_without_a_virtual_service_nothing_is_routed() -> None:
    assert weights_of(None, resource()) is None
    assert mirrored_of(None, resource()) == ""


@pytest.mark.parametrize(
    ("found", "mirrored"),
    [(entry("v7", 100, v6=100), "v7"), (entry("v7", None, v6=100), "v7"), (entry("v7", 20, v6=100), "")],
    ids=["all, said", "all, as Istio takes silence", "a part"],
)
def test_a_mirror_is_one_only_of_everything(found: Object, mirrored: str) -> None:
    assert mirrored_of(virtual_service(found, found), resource()) == mirrored


def test_the_book_is_read_as_it_was_written_and_rubbish_is_none() -> None:
    book = Book(Serving(6, 7, 25, versions=(6, 7)), ("v5", "v6"), ("v5",))
    found = resource()
    found["metadata"]["annotations"][BOOK] = written(book)
    assert book_of(found) == book
    for rubbish in ("", "[]", "{", '{"asked": 7}', '{"asked": {"champion": 6}}'):
        found["metadata"]["annotations"][BOOK] = rubbish
        assert book_of(found) == Book()


def test_why_it_does_not_start_is_its_pods_word_before_its_deployments() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {"status": {"containerStatuses": [{"name": "model", "state": {"waiting": waiting}}]}}
    late = {"type": "Progressing", "status": "False", "message": "exceeded its progress deadline"}
    stuck = deployment(conditions=[late])
    assert failing_of([stuck], [pod]) == "container model: ImagePullBackOff: no such image"
    assert failing_of([stuck], []) == "exceeded its progress deadline"
    starting = {
        "status": {"containerStatuses": [{"name": "model", "state": {"waiting": {"reason": "PodInitializing"}}}]}
    }
    assert failing_of([deployment()], [starting]) == ""


def test_ambassador_is_told_from_a_virtual_service_that_somebody_deleted() -> None:
    def said(reason: str, state: str = "Available") -> Object:
        conditions = [{"type": "istioVirtualServicesReady", "status": "True", "reason": reason}]
        return resource(state=state, conditions=conditions)

    assert is_ambassadors(said("No VirtualServices defined"), None)
    assert not is_ambassadors(said("All VirtualServices created"), None)
    assert not is_ambassadors(said("No VirtualServices defined"), virtual_service())
    assert not is_ambassadors(resource(state="Creating"), None)


@pytest.mark.parametrize(
    ("ready", "down"), [([], True), ([0], True), ([None], True), ([1], False), ([2, 0], True), ([2, 1], False)]
)
def test_a_predictor_is_down_where_a_component_of_it_has_no_pod_that_is_ready(
    ready: list[int | None], down: bool
) -> None:
    statuses = [{} if count is None else {"readyReplicas": count} for count in ready]
    assert is_down([{"spec": {"replicas": 3}, "status": {"replicas": 3, **status}} for status in statuses]) is down
