"""What the webhook refuses, in its words, by way of the real API server; and what it lets through, as the real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from trimtab.core.errors import Invalid

from .conftest import predictor

NODE = {"name": "classifier"}
OTHER_NODE = {"name": "other", "implementation": "SIMPLE_MODEL"}


def shadow(name: str, traffic: int) -> dict[str, Any]:
    return predictor(name, traffic, shadow=True)


def named(service: str) -> dict[str, Any]:
    return {"annotations": {"seldon.io/svc-name": service}}


REFUSED = {
    "weights beside each other": (
        [predictor("main", 50), predictor("canary", 40)],
        {},
        'spec: Invalid value: "main": Traffic must sum to 100 for multiple predictors',
    ),
    "no weights at all": (
        [predictor("main"), predictor("canary")],
        {},
        'spec: Invalid value: "main": Traffic must sum to 100 for multiple predictors',
    ),
    "one that gets a part": (
        [predictor("main", 50)],
        {},
        'spec: Invalid value: "main": Traffic must sum be 100 for a single predictor when set',
    ),
    "a name twice": (
        [predictor("main", 50), predictor("main", 50)],
        {},
        'spec.predictors[1]: Invalid value: "main": Duplicate predictor name',
    ),
    "a node without a container": (
        [{**predictor("main"), "componentSpecs": []}],
        {},
        'spec.predictors[0].graph: Invalid value: "classifier": Can\'t find container for Predictive Unit',
    ),
    "a shadow alone": (
        [shadow("main", 0)],
        {},
        'spec.predictors[0]: Invalid value: "main": Shadow can not exist as only predictor',
    ),
    "two shadows": (
        [predictor("main", 100), shadow("one", 10), shadow("two", 10)],
        {},
        'spec: Invalid value: "two": Multiple shadows are not allowed',
    ),
    "a shadow's share": (
        [predictor("main", 100), shadow("dark", 101)],
        {},
        'Invalid value: "dark": shadow traffic is illegal, the traffic number should be between [0, 100]',
    ),
    "nobody": ([], {}, 'spec: Invalid value: "": Graph contains no predictors'),
    "a protocol": ([predictor("main")], {"protocol": "morse"}, 'spec: Invalid value: "morse": Invalid protocol'),
    "a transport": ([predictor("main")], {"transport": "pigeon"}, 'spec: Invalid value: "pigeon": Invalid transport'),
    "a type of no methods": (
        [predictor("main", graph={**NODE, "type": "UNKNOWN_TYPE"})],
        {},
        "Predictive Unit has no implementation methods defined. Change to a known type or add what methods it defines",
    ),
    "a server without a model": (
        [predictor("main", graph={**NODE, "implementation": "SKLEARN_SERVER"})],
        {},
        'Invalid value: "classifier": Predictive unit modelUri required when using standalone servers',
    ),
    "a server nobody knows": (
        [predictor("main", graph={**NODE, "implementation": "FOO_SERVER", "modelUri": "s3://a/b"})],
        {},
        "No entry in predictors map for FOO_SERVER",
    ),
    "a graph without an engine": (
        [predictor("main", graph={**NODE, "children": [OTHER_NODE]}, annotations={"seldon.io/no-engine": "false"})],
        {},
        'spec.predictors[0]: Invalid value: "main": Running without engine only valid for single element graphs',
    ),
    "a Service name twice": (
        [predictor("main", 50, **named("x")), predictor("canary", 50, **named("x"))],
        {},
        'spec.predictors[1]: Invalid value: "canary": Found duplicate service name in seldon.io/svc-name with value x',
    ),
}
ACCEPTED = {
    "more than all": [predictor("main", 110), predictor("canary", -10)],
    "nothing for one alone": [predictor("main", 0)],
    "150 for one alone": [predictor("main", 150)],
    "-5 for one alone": [predictor("main", -5)],
    "90 beside a shadow": [predictor("main", 90), shadow("dark", 10)],
    "an unknown graph type": [predictor("main", graph={**NODE, "type": "ORACLE"})],
    "no name": [predictor("")],
    "a name in capitals": [predictor("Canary_1")],
    "a name of 80 characters": [predictor("n" * 80)],
    "no image": [predictor("main", componentSpecs=[{"spec": {"containers": [{"name": "classifier"}]}}])],
    "fewer than no replicas": [predictor("main", replicas=-1)],
}


def dry_run(cluster: Any, namespace: str, body: dict[str, Any]) -> None:
    """Asks the webhook as a real creation does, and leaves nothing to reconcile."""
    path = f"/apis/machinelearning.seldon.io/v1/namespaces/{namespace}/seldondeployments?dryRun=All"
    cluster.api.raw("POST", path, body)


def iris(*predictors: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "iris"},
        "spec": {"predictors": list(predictors), **spec},
    }


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(cluster, namespace, operator, case):
    predictors, spec, said = REFUSED[case]
    with pytest.raises(Invalid) as refused:
        dry_run(cluster, namespace, iris(*predictors, **spec))
    begin = 'admission webhook "v1.vseldondeployment.kb.io" denied the request: '
    assert refused.value.message.startswith(f'{begin}SeldonDeployment.machinelearing.seldon.io "" is invalid: ')
    assert said in refused.value.message


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_lets_through(cluster, namespace, operator, case):
    dry_run(cluster, namespace, iris(*ACCEPTED[case]))


def test_a_refusal_is_422_with_its_causes(cluster, namespace, operator):
    with pytest.raises(Invalid) as refused:
        dry_run(cluster, namespace, iris(predictor("main", 50), predictor("main", 40), protocol="morse"))
    cause = refused.value.__cause__
    assert isinstance(cause, ApiException)
    assert (cause.status, cause.reason) == (422, "Unprocessable Entity")
    found = json.loads(cause.body)
    assert found["reason"] == "Invalid"
    causes = [(each["reason"], each["field"]) for each in found["details"]["causes"]]
    assert sorted(causes) == [("FieldValueInvalid", at) for at in ("spec", "spec", "spec.predictors[1]")]


def test_older_versions_are_asked_about_too(cluster, namespace, operator):
    body = {**iris(predictor("main", 50)), "apiVersion": "machinelearning.seldon.io/v1alpha3"}
    path = f"/apis/machinelearning.seldon.io/v1alpha3/namespaces/{namespace}/seldondeployments?dryRun=All"
    with pytest.raises(Invalid, match="Traffic must sum be 100"):
        cluster.api.raw("POST", path, body)


def test_the_schema_refuses_what_the_webhook_never_sees(cluster, namespace, operator):
    without = predictor("main")
    del without["graph"]
    with pytest.raises(Invalid, match=r"spec\.predictors\[0\]\.graph: Required value"):
        dry_run(cluster, namespace, iris(without))
    with pytest.raises(Invalid, match=r"spec\.predictors\[0\]\.traffic"):
        dry_run(cluster, namespace, iris({**predictor("main"), "traffic": 12.5}))
