"""What Seldon's validating webhook refuses, with its own words; and, as important, what it lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seldon.predictors import containers, units

# The group is misspelt in the operator itself.
WHO = 'SeldonDeployment.machinelearing.seldon.io ""'
PROTOCOLS = ("", "seldon", "tensorflow", "kfserving", "v2", "open_inference")
TRANSPORTS = ("", "rest", "grpc")
SERVERS = (
    "SKLEARN_SERVER",
    "XGBOOST_SERVER",
    "MLFLOW_SERVER",
    "TENSORFLOW_SERVER",
    "TRITON_SERVER",
    "HUGGINGFACE_SERVER",
    "TEMPO_SERVER",
)
BUILT_IN = ("UNKNOWN_IMPLEMENTATION", "SIMPLE_MODEL", "SIMPLE_ROUTER", "RANDOM_ABTEST", "AVERAGE_COMBINER")


@dataclass(frozen=True)
class Cause:
    field: str
    value: str
    text: str

    @property
    def message(self) -> str:
        return f'Invalid value: "{self.value}": {self.text}'


def refusals(sdep: dict[str, Any]) -> list[Cause]:
    """
    Every reason why the object is refused; none: it is accepted.

    >>> one = {"name": "main", "graph": {"name": "m"}, "componentSpecs": [{"spec": {"containers": [{"name": "m"}]}}]}
    >>> [cause.text for cause in refusals({"spec": {"predictors": [one, {**one, "name": "canary"}]}})]
    ['Traffic must sum to 100 for multiple predictors']
    """
    spec = sdep.get("spec") or {}
    predictors = spec.get("predictors") or []
    return [*_of_spec(spec), *_of_predictors(predictors), *_of_traffic(predictors)]


def _of_spec(spec: dict[str, Any]) -> Iterator[Cause]:
    if spec.get("protocol", "") not in PROTOCOLS:
        yield Cause("spec", spec["protocol"], "Invalid protocol")
    if spec.get("transport", "") not in TRANSPORTS:
        yield Cause("spec", spec["transport"], "Invalid transport")
    if not spec.get("predictors"):
        yield Cause("spec", "", "Graph contains no predictors")


def _of_predictors(predictors: list[dict[str, Any]]) -> Iterator[Cause]:
    names: set[str] = set()
    services: set[str] = set()
    for number, predictor in enumerate(predictors):
        at, name = f"spec.predictors[{number}]", predictor["name"]
        if name in names:
            yield Cause(at, name, "Duplicate predictor name")
        names.add(name)
        annotations = predictor.get("annotations") or {}
        service = annotations.get("seldon.io/svc-name")
        if service and service in services:
            text = f"Found duplicate service name in seldon.io/svc-name with value {service}"
            yield Cause(at, name, text)
        services.add(service or "")
        graph = list(units(predictor["graph"]))
        if "seldon.io/no-engine" in annotations and len(graph) > 1:
            yield Cause(at, name, "Running without engine only valid for single element graphs")
        named = {container["name"] for _, container in containers(predictor)}
        for unit in graph:
            yield from _of_unit(unit, named, f"{at}.graph")


def _of_unit(unit: dict[str, Any], named: set[str], at: str) -> Iterator[Cause]:
    name, implementation = unit["name"], unit.get("implementation") or BUILT_IN[0]
    if implementation in SERVERS:
        if not unit.get("modelUri"):
            yield Cause(at, name, "Predictive unit modelUri required when using standalone servers")
    elif implementation not in BUILT_IN:
        yield Cause(at, name, f"No entry in predictors map for {implementation}")
    elif implementation == BUILT_IN[0] and name not in named:
        yield Cause(at, name, "Can't find container for Predictive Unit")
    if unit.get("type") == "UNKNOWN_TYPE" and not unit.get("methods"):
        text = (
            "Predictive Unit has no implementation methods defined. "
            "Change to a known type or add what methods it defines"
        )
        yield Cause(at, name, text)


def _of_traffic(predictors: list[dict[str, Any]]) -> Iterator[Cause]:
    shadows = [each for each in predictors if each.get("shadow")]
    active = [each for each in predictors if not each.get("shadow")]
    if len(predictors) == 1 and shadows:
        yield Cause("spec.predictors[0]", predictors[0]["name"], "Shadow can not exist as only predictor")
    if len(shadows) > 1:
        yield Cause("spec", shadows[1]["name"], "Multiple shadows are not allowed")
    for shadow in shadows:
        if not 0 <= shadow.get("traffic", 0) <= 100:
            text = "shadow traffic is illegal, the traffic number should be between [0, 100]"
            yield Cause("spec", shadow["name"], text)
    if len(active) > 1 and sum(each.get("traffic", 0) for each in active) != 100:
        yield Cause("spec", predictors[0]["name"], "Traffic must sum to 100 for multiple predictors")
    # Only the number of predictors is looked at: 90 % beside a shadow passes, and so do 0, 150 and -5.
    if len(predictors) == 1 and 0 < predictors[0].get("traffic", 0) < 100:
        text = "Traffic must sum be 100 for a single predictor when set"
        yield Cause("spec", predictors[0]["name"], text)


def status(causes: list[Cause]) -> dict[str, Any]:
    """As the webhook answers the API server, which puts its own words before it."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    message = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    return {
        "metadata": {},
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": f"{WHO} is invalid: {message}",
        "details": {
            "group": "machinelearing.seldon.io",
            "kind": "SeldonDeployment",
            "causes": [
                {"reason": "FieldValueInvalid", "field": cause.field, "message": cause.message} for cause in causes
            ],
        },
    }
