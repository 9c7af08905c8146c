"""Which changes replace pods: those that reach the pod template, and no others."""

from __future__ import annotations

import copy
from typing import Any

from trimtab.adapters.kubernetes.kinds import SELDON_DEPLOYMENT

from .conftest import predictor

QUIET: dict[str, Any] = {
    "weights": lambda one, two: (({**one, "traffic": 60}, {**two, "traffic": 40}), {}),
    "a predictor's replicas": lambda one, two: (({**one, "replicas": 2}, two), {}),
    "replicas of all": lambda one, two: ((one, two), {"replicas": 3}),
    "a predictor more at the end": lambda one, two: ((one, two, predictor("late", 0)), {}),
}
LOUD: dict[str, Any] = {
    "an image": lambda one, two: ((with_image(one, "iris:2"), two), {}),
    "an annotation of a predictor": lambda one, two: (({**one, "annotations": {"owner": "web"}}, two), {}),
    "a label of a predictor": lambda one, two: (({**one, "labels": {"tier": "web"}}, two), {}),
    "a deadline": lambda one, two: (({**one, "progressDeadlineSeconds": 60}, two), {}),
    "replicas of a componentSpec": lambda one, two: ((with_replicas(one, 1), two), {}),
    "a label of a componentSpec": lambda one, two: ((with_label(one), two), {}),
}


def with_image(one: dict[str, Any], image: str) -> dict[str, Any]:
    found = copy.deepcopy(one)
    found["componentSpecs"][0]["spec"]["containers"][0]["image"] = image
    return found


def with_replicas(one: dict[str, Any], replicas: int) -> dict[str, Any]:
    return {**one, "componentSpecs": [{**one["componentSpecs"][0], "replicas": replicas}]}


def with_label(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "componentSpecs": [{**one["componentSpecs"][0], "metadata": {"labels": {"team": "web"}}}]}


def test_what_leaves_pods_alone(iris):
    one, two = predictor("main", 50), predictor("canary", 50)
    iris.create(one, two)
    iris.until_settled()
    before = iris.template("main"), iris.template("canary")
    for number, (what, change) in enumerate(QUIET.items(), 1):
        predictors, spec = change(one, two)
        iris.change(*predictors, **spec)
        iris.api.merge(SELDON_DEPLOYMENT, iris.namespace, "iris", {"metadata": {"annotations": {"a": what}}})
        # Weights that are there say that all before them was seen.
        first, second, *rest = predictors
        iris.change({**first, "traffic": 50 + number}, {**second, "traffic": 50 - number}, *rest, **spec)
        iris.until_settled()
        assert (iris.template("main"), iris.template("canary")) == before, what


def test_what_replaces_them(iris):
    one, two = predictor("main", 50), predictor("canary", 50)
    iris.create(one, two)
    iris.until_settled()
    other = iris.template("canary")
    for what, change in LOUD.items():
        before = iris.template("main")
        predictors, spec = change(one, two)
        iris.change(*predictors, **spec)
        iris.until(lambda before=before: iris.template("main") != before, f"{what}: the same pods")
        assert iris.template("canary") == other, what
    iris.change(one, two, annotations={"owner": "web"})
    iris.until(lambda: iris.template("canary") != other, "an annotation of the spec is in all pods")


def test_a_shadow_that_becomes_a_canary_is_restarted(iris):
    iris.create(predictor("main", 100), predictor("canary", 20, shadow=True))
    iris.until_settled()
    before, main = iris.template("canary"), iris.template("main")
    iris.change(predictor("main", 90), predictor("canary", 10))
    iris.until(lambda: iris.template("canary") != before, "the same pods")
    iris.until_settled()
    assert iris.template("main") == main


def test_p1_the_survivor_of_a_removal_is_restarted_for_its_metrics_port(iris):
    iris.create(predictor("main", 0), predictor("canary", 100))
    iris.until_settled()
    assert metrics_port(iris.template("canary")) == 6001
    before = iris.template("canary")
    iris.change(predictor("canary", 100))
    iris.until(lambda: iris.template("canary") != before, "the same pods")
    assert metrics_port(iris.template("canary")) == 6000


def test_p1_pinned_ports_keep_the_survivor_as_it_is(iris):
    one, two = predictor("main", 0, pinned=True), predictor("canary", 100, pinned=True)
    iris.create(one, two)
    iris.until_settled()
    before = iris.template("canary")
    iris.change(two, one)
    iris.until_settled()
    iris.change(two)
    iris.until_settled()
    assert iris.template("canary") == before


def metrics_port(template: dict[str, Any]) -> int:
    ports = template["spec"]["containers"][0]["ports"]
    return next(int(port["containerPort"]) for port in ports if port["name"] == "metrics")


def test_another_container_name_is_another_deployment(iris):
    iris.create(predictor("main"))
    iris.until_settled()
    renamed = predictor("main", graph={"name": "other"})
    renamed["componentSpecs"][0]["spec"]["containers"][0]["name"] = "other"
    iris.change(renamed)
    iris.until(lambda: iris.names()["deployments"] == {"iris-main-0-other"}, "the new one alone")
    iris.until(lambda: iris.names()["services"] == {"iris-main", "iris-main-other"}, "its Services")
