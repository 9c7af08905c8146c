"""
What Seldon's operator would choose by itself, said in the predictors: pure.

It hands out ports in the order of the list, so that a predictor that moves up in it is restarted; and without a number
of replicas it goes round in a loop.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from trimtab.core.rollout.predictors import Body, Found, Operation

PORTS = (("metrics", 6000), ("http", 9000), ("grpc", 9500))  # the first that it gives, in the order it appends them


def pins(found: Found) -> list[Operation]:
    """Replicas and ports that predictors leave open, as the operator has chosen them: no pod restarts for it."""
    operations: list[Operation] = []
    numbers = _Numbers()
    for number, predictor in enumerate(found.predictors):
        at = f"/spec/predictors/{number}"
        if "replicas" not in predictor and not _scales_itself(predictor):
            count = found.replicas.get(predictor["name"], 1) or 1
            operations.append({"op": "add", "path": f"{at}/replicas", "value": count})
        for where, container in _containers(predictor, numbers):
            ports = _completed(container, numbers)
            if ports is not None:
                operations.append({"op": "add", "path": f"{at}/{where}/ports", "value": ports})
    return operations


def pinned(predictor: Body) -> dict[str, Any]:
    """
    A new predictor with all its ports said.

    >>> model = {"name": "b", "graph": {"name": "m", "implementation": "SKLEARN_SERVER"}}
    >>> [port["containerPort"] for port in pinned(model)["componentSpecs"][0]["spec"]["containers"][0]["ports"]]
    [6000, 9000, 9500]
    """
    found = copy.deepcopy(dict(predictor))
    _name_servers(found)
    numbers = _Numbers()
    for _, container in _containers(found, numbers):
        container["ports"] = _completed(container, numbers) or container["ports"]
    return found


class _Numbers:
    """Ports as the operator hands them out."""

    def __init__(self) -> None:
        self._metrics = 0
        self._slots: dict[str, int] = {}

    def meet(self, name: str) -> None:
        """HTTP and gRPC go by distinct container name, in the graph or not."""
        self._slots.setdefault(name, len(self._slots))

    def take(self, name: str, has_metrics: bool) -> dict[str, int]:
        """Metrics go by container that does not say its own."""
        self.meet(name)
        slot, metrics = self._slots[name], self._metrics
        self._metrics += 0 if has_metrics else 1
        first = dict(PORTS)
        return {"metrics": first["metrics"] + metrics, "http": first["http"] + slot, "grpc": first["grpc"] + slot}


def _completed(container: Body, numbers: _Numbers) -> list[Body] | None:
    """All its ports, those it lacks at the end as the operator appends them; None where it lacks none."""
    declared = {port.get("name") for port in container.get("ports") or ()}
    given = numbers.take(container["name"], "metrics" in declared)
    missing = [
        {"name": name, "containerPort": given[name], "protocol": "TCP"} for name, _ in PORTS if name not in declared
    ]
    return [*(container.get("ports") or ()), *missing] if missing else None


def _containers(predictor: Body, numbers: _Numbers) -> Iterator[tuple[str, dict[str, Any]]]:
    """Containers of the graph, with their place in the predictor; all take numbers, those not written down too."""
    servers = {node.get("name", ""): _is_server(node) for node in _nodes(predictor)}
    met = set()
    for number, component in enumerate(predictor.get("componentSpecs") or ()):
        for place, container in enumerate(component.get("spec", {}).get("containers") or ()):
            numbers.meet(container["name"])
            met.add(container["name"])
            if container["name"] in servers:
                yield f"componentSpecs/{number}/spec/containers/{place}", container
    for name, is_server in servers.items():
        if is_server and name not in met:
            numbers.take(name, has_metrics=False)


def _nodes(predictor: Body) -> Iterator[Body]:
    """Of the predictor's graph, parents first."""
    waiting = [predictor.get("graph") or {}]
    while waiting:
        node = waiting.pop(0)
        yield node
        waiting = [*(node.get("children") or ()), *waiting]


def _is_server(node: Body) -> bool:
    """A prepackaged one, whose container the operator makes."""
    return str(node.get("implementation") or "").endswith("_SERVER")


def _name_servers(predictor: dict[str, Any]) -> None:
    """Containers of prepackaged servers, to say ports in; the operator fills in the rest."""
    components = predictor.get("componentSpecs") or []
    written = {each["name"] for one in components for each in one.get("spec", {}).get("containers") or ()}
    servers = [{"name": node["name"]} for node in _nodes(predictor) if _is_server(node)]
    lacking = [each for each in servers if each["name"] not in written]
    if lacking:
        first, *others = components or [{}]
        pods = first.get("spec") or {}
        containers = [*(pods.get("containers") or ()), *lacking]
        predictor["componentSpecs"] = [{**first, "spec": {**pods, "containers": containers}}, *others]


def _scales_itself(predictor: Body) -> bool:
    """Whether an autoscaler says how many pods each of its components has."""
    components = predictor.get("componentSpecs") or ()
    return bool(components) and all("hpaSpec" in each or "kedaSpec" in each for each in components)
