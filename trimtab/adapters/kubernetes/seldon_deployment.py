"""
What a SeldonDeployment, its Deployments and its VirtualService say, as the planner of its next write reads them.

The operator's own `state` is not believed: just after a change it says Available with the pods of before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.seldon_marks import book_of
from trimtab.core.rollout.predictors import Body, Found

LONGEST_NAME = 63
ENGINE = "seldon-container-engine"
OPERATORS = ("PREDICTIVE_UNIT_", "MLSERVER_", "PREDICTOR_", "SELDON_")  # variables that the operator writes itself
NEVER_STARTS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "InvalidImageName",
)


def short(name: str) -> str:
    """
    The name that the operator gives to what would be called so.

    >>> short("iris-main")
    'iris-main'
    """
    return name if len(name) <= LONGEST_NAME else f"seldon-{hashlib.md5(name.encode()).hexdigest()}"  # noqa: S324


def found_of(resource: Object, deployments: Iterable[Object], virtual_service: Object | None) -> Found:
    """Everything that the planner needs."""
    predictors = tuple(resource["spec"].get("predictors") or ())
    by_name = {each["name"]: deployments_of(resource, each, deployments) for each in predictors}
    return Found(
        predictors=predictors,
        rolled_out=frozenset(each["name"] for each in predictors if _all_rolled_out(each, by_name[each["name"]])),
        weights=weights_of(virtual_service, resource),
        mirrored=mirrored_of(virtual_service, resource),
        replicas={name: sum(each["spec"].get("replicas", 1) for each in some) for name, some in by_name.items()},
        book=book_of(resource),
    )


# Deployments


def deployments_of(resource: Object, predictor: Body, deployments: Iterable[Object]) -> list[Object]:
    """Those that the operator made for this predictor: one a component."""
    uid = resource["metadata"]["uid"]
    prefix = f"{resource['metadata']['name']}-{predictor['name']}-"
    names = set()
    for number, component in enumerate(predictor.get("componentSpecs") or ()):
        given = (component.get("metadata") or {}).get("name")
        containers = "-".join(each.get("name", "") for each in component.get("spec", {}).get("containers") or ())
        names |= {short(given or f"{prefix}{number}-{containers}")}
    version = (predictor.get("labels") or {}).get("version", predictor["name"])
    found = []
    for each in deployments:
        owners = each["metadata"].get("ownerReferences") or ()
        labels = each["metadata"].get("labels") or {}
        if not any(owner.get("uid") == uid for owner in owners):
            continue
        if each["metadata"]["name"] in names or (not names and labels.get("version") == version):
            found.append(each)
    return found


def _all_rolled_out(predictor: Body, deployments: list[Object]) -> bool:
    expected = max(len(predictor.get("componentSpecs") or ()), 1)
    return len(deployments) == expected and all(_rolled_out(predictor, each) for each in deployments)


def _rolled_out(predictor: Body, deployment: Object) -> bool:
    """All pods of the newest template, ready; and the template is the predictor's as it is now."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas", "replicas")]
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return wanted > 0 and current and counts == [wanted] * 4 and _is_of(predictor, deployment)


def is_down(deployments: Iterable[Object]) -> bool:
    """Whether nothing answers: a component of the graph has no pod that is ready, or there is none."""
    ready = [(each.get("status") or {}).get("readyReplicas", 0) for each in deployments]
    return not ready or min(ready) == 0


def _is_of(predictor: Body, deployment: Object) -> bool:
    """Whether the operator has taken up what the predictor says by now: it writes only some moments later."""
    template = deployment["spec"]["template"]
    shadow = (template["metadata"].get("labels") or {}).get("seldon.io/shadow") == "true"
    if shadow != bool(predictor.get("shadow")):
        return False
    there = {each["name"]: each for each in template["spec"]["containers"]}
    components = (each.get("spec") or {} for each in predictor.get("componentSpecs") or ())
    written = [each for pods in components for each in pods.get("containers") or () if each["name"] in there]
    return all(_runs(there[each["name"]], each) for each in written)


def _runs(there: Object, written: Object) -> bool:
    """Whether a container runs what is written; of the other fields the API server and the operator fill many in."""
    for field in ("image", "command", "args"):
        if written.get(field) and written[field] != there.get(field):
            return False
    given = {each["name"]: each.get("value", "") for each in there.get("env") or () if "valueFrom" not in each}
    variables = {each["name"]: each.get("value", "") for each in written.get("env") or () if "valueFrom" not in each}
    return all(given.get(name) == value for name, value in variables.items() if not name.startswith(OPERATORS))


def failing_of(deployments: Iterable[Object], pods: Iterable[Object]) -> str:
    """Why it does not become ready, in a line; empty while it may only need time."""
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in NEVER_STARTS:
                said = waiting.get("message") or ""
                return f"container {status['name']}: {waiting['reason']}{f': {said}' if said else ''}"[:300]
    for each in deployments:
        for condition in (each.get("status") or {}).get("conditions") or ():
            failed = (condition["type"], condition["status"])
            if failed in (("Progressing", "False"), ("ReplicaFailure", "True")):
                return str(condition.get("message") or condition.get("reason"))[:300]
    return ""


# The VirtualService


def weights_of(virtual_service: Object | None, resource: Object) -> Mapping[str, int] | None:
    """Weights by predictor, where REST and gRPC are routed alike; None where they are not, or nothing is."""
    found = [_weights(entry, resource) for entry in _entries(virtual_service)]
    return found[0] if found and all(each == found[0] for each in found) else None


def _weights(entry: Mapping[str, Any], resource: Object) -> dict[str, int]:
    routes = entry.get("route") or ()
    # A weight of 0 is left out, and so is that of a single route.
    default = 100 if len(routes) == 1 else 0
    return {_predictor(route["destination"], resource): route.get("weight", default) for route in routes}


def mirrored_of(virtual_service: Object | None, resource: Object) -> str:
    """The predictor to which everything is mirrored; empty for none, or a part only."""
    found = set()
    for entry in _entries(virtual_service):
        share = entry.get("mirrorPercentage")
        whole = "mirror" in entry and (share is None or share.get("value") == 100)  # none is all, to Istio
        found.add(_predictor(entry["mirror"], resource) if whole else "")
    return found.pop() if len(found) == 1 else ""


def _entries(virtual_service: Object | None) -> list[Mapping[str, Any]]:
    return list(virtual_service["spec"].get("http") or ()) if virtual_service else []


def _predictor(destination: Mapping[str, Any], resource: Object) -> str:
    """The subset is named after the predictor."""
    return str(destination.get("subset", ""))


def is_ambassadors(resource: Object, virtual_service: Object | None) -> bool:
    """Whether the operator serves it, and says itself that it defines no VirtualService."""
    status = resource.get("status") or {}
    if virtual_service is not None or status.get("state") != "Available":
        return False
    reasons = {each["type"]: each.get("reason", "") for each in status.get("conditions") or ()}
    # Somebody may have deleted it just now: the operator puts it back.
    return "VirtualServices created" not in reasons.get("istioVirtualServicesReady", "")
