"""What the operator thinks into a SeldonDeployment before it acts. Nothing of it is ever written into the spec."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from hashlib import md5
from typing import Any

HTTP, GRPC, METRICS = 9000, 9500, 6000
LONGEST = 63  # characters of a name that becomes a label or a host


def defaulted(sdep: dict[str, Any]) -> list[dict[str, Any]]:
    """
    The predictors with graph types, labels and ports filled in.

    HTTP and gRPC ports go by distinct container name, metrics ports by container, both across all predictors: what is
    removed before a predictor changes its pods, unless they declare all three.

    >>> plain = {"graph": {"name": "m"}, "componentSpecs": [{"spec": {"containers": [{"name": "m"}]}}]}
    >>> found = defaulted({"spec": {"predictors": [{"name": name, **plain} for name in ("main", "canary")]}})
    >>> [[port["containerPort"] for port in each["componentSpecs"][0]["spec"]["containers"][0]["ports"]]
    ...  for each in found]
    [[6000, 9000, 9500], [6001, 9000, 9500]]
    """
    predictors: list[dict[str, Any]] = copy.deepcopy(sdep["spec"]["predictors"])
    numbers: dict[str, int] = {}
    metrics = METRICS
    for predictor in predictors:
        labels = predictor.setdefault("labels", {})
        labels.setdefault("version", predictor["name"])
        _add_servers(predictor)
        known = {unit["name"]: unit for unit in units(predictor["graph"])}
        for _, container in containers(predictor):
            number = numbers.setdefault(container["name"], len(numbers))
            if container["name"] not in known:
                continue
            ports = container.setdefault("ports", [])
            declared = {port.get("name") for port in ports}
            if "metrics" not in declared:
                ports.append({"name": "metrics", "containerPort": metrics})
                metrics += 1
            if "http" not in declared:
                ports.append({"name": "http", "containerPort": HTTP + number})
            if "grpc" not in declared:
                ports.append({"name": "grpc", "containerPort": GRPC + number})
            for port in ports:
                port.setdefault("protocol", "TCP")
            _default_unit(known[container["name"]], container)
    return predictors


def _default_unit(unit: dict[str, Any], container: dict[str, Any]) -> None:
    if not any(unit.get(key) for key in ("type", "methods", "implementation")):
        unit["type"] = "MODEL"
    unit.setdefault("implementation", "UNKNOWN_IMPLEMENTATION")
    http, grpc = port_of(container, "http"), port_of(container, "grpc")
    unit["endpoint"] = {"service_host": "localhost", "service_port": http, "httpPort": http, "grpcPort": grpc}


def _add_servers(predictor: dict[str, Any]) -> None:
    """A prepackaged server's container, where the spec does not give it."""
    named = {container["name"] for _, container in containers(predictor)}
    for unit in units(predictor["graph"]):
        implementation = unit.get("implementation", "")
        if not implementation.endswith("_SERVER"):
            continue
        image = f"seldonio/{implementation.removesuffix('_SERVER').lower()}server:1.17.1"
        if unit["name"] not in named:
            if not predictor.get("componentSpecs"):
                predictor["componentSpecs"] = [{"spec": {"containers": []}}]
            pods = predictor["componentSpecs"][0].setdefault("spec", {})
            pods.setdefault("containers", []).append({"name": unit["name"], "image": image})
        for _, container in containers(predictor):
            if container["name"] == unit["name"]:
                container.setdefault("image", image)


def units(graph: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a graph, parents first."""
    yield graph
    for child in graph.get("children") or []:
        yield from units(child)


def containers(predictor: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every container with the number of its componentSpec."""
    for number, component in enumerate(predictor.get("componentSpecs") or []):
        for container in (component.get("spec") or {}).get("containers") or []:
            yield number, container


def graph_containers(predictor: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are nodes of the graph."""
    named = {unit["name"] for unit in units(predictor["graph"])}
    return [container for _, container in containers(predictor) if container["name"] in named]


def port_of(container: dict[str, Any], name: str) -> int:
    return next(int(port["containerPort"]) for port in container["ports"] if port.get("name") == name)


def replicas(sdep: dict[str, Any], predictor: dict[str, Any], component: dict[str, Any]) -> int | None:
    """
    Of one Deployment; None when nobody says.

    >>> replicas({"spec": {"replicas": 3}}, {"replicas": 2}, {})
    2
    """
    for where in (component, predictor, sdep["spec"]):
        if where.get("replicas") is not None:
            return int(where["replicas"])
    return None


def short(name: str) -> str:
    """
    The name, or its digest where Kubernetes would refuse it as a label.

    >>> short("iris-main"), short("i" * 64)
    ('iris-main', 'seldon-2acbc1a0af1f7d30a2d6d9ecc8e39066')
    """
    return name if len(name) <= LONGEST else f"seldon-{md5(name.encode(), usedforsecurity=False).hexdigest()}"


def deployment_name(sdep: str, predictor: dict[str, Any], number: int) -> str:
    component = predictor["componentSpecs"][number]
    if given := (component.get("metadata") or {}).get("name"):
        return str(given)
    joined = "-".join(container["name"] for container in component["spec"]["containers"])
    return short(f"{sdep}-{predictor['name']}-{number}-{joined}")


def container_service(sdep: str, predictor: dict[str, Any], container: dict[str, Any]) -> str:
    return short(f"{sdep}-{predictor['name']}-{container['name']}")


def predictor_service(sdep: str, predictor: dict[str, Any]) -> str:
    given = (predictor.get("annotations") or {}).get("seldon.io/svc-name")
    return str(given) if given else short(f"{sdep}-{predictor['name']}")


def has_engine(predictor: dict[str, Any]) -> bool:
    return "seldon.io/no-engine" not in (predictor.get("annotations") or {})
