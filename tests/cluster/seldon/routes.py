"""Services, VirtualService and DestinationRules of a SeldonDeployment."""

from __future__ import annotations

from typing import Any

from seldon.predictors import container_service, graph_containers, has_engine, port_of, predictor_service, short

GATEWAY = "istio-system/seldon-gateway"
GRPC_PATHS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
RETRY_ON = "gateway-error,connect-failure,refused-stream"


def services(sdep: dict[str, Any], predictor: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each container of the graph, then the predictor's own."""
    name = sdep["metadata"]["name"]
    found = []
    for container in graph_containers(predictor):
        own = container_service(name, predictor, container)
        ports = {"http": port_of(container, "http"), "grpc": port_of(container, "grpc")}
        shadow = {"seldon.io/shadow": "true"} if predictor.get("shadow") else {}
        found.append(_service(sdep, own, f"seldon-app-svc-{container['name']}", ports, shadow))
    own = predictor_service(name, predictor)
    return [*found, _service(sdep, own, "seldon-app", dict(zip(("http", "grpc"), _ports(predictor), strict=True)), {})]


def _service(
    sdep: dict[str, Any], name: str, key: str, ports: dict[str, int], labels: dict[str, str]
) -> dict[str, Any]:
    meta = sdep["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {key: name, "seldon-deployment-id": meta["name"], **labels},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": {key: name},
            "ports": [
                {"name": port, "port": number, "targetPort": number, "protocol": "TCP"}
                for port, number in ports.items()
            ],
        },
    }


def _ports(predictor: dict[str, Any]) -> tuple[int, int]:
    """Where requests go: to the executor, or straight to the model where there is none."""
    if has_engine(predictor):
        return 8000, 5001
    container = graph_containers(predictor)[0]
    return port_of(container, "http"), port_of(container, "grpc")


def host(sdep: dict[str, Any], predictor: dict[str, Any]) -> str:
    meta = sdep["metadata"]
    return f"{predictor_service(meta['name'], predictor)}.{meta['namespace']}.svc.cluster.local"


def endpoints(sdep: dict[str, Any], predictor: dict[str, Any]) -> dict[str, Any]:
    """The predictor Service as status.serviceStatus tells of it."""
    http, grpc = _ports(predictor)
    at = host(sdep, predictor)
    return {
        "svcName": predictor_service(sdep["metadata"]["name"], predictor),
        "httpEndpoint": f"{at}:{http}",
        "grpcEndpoint": f"{at}:{grpc}",
    }


def virtual_service(sdep: dict[str, Any], predictors: list[dict[str, Any]]) -> dict[str, Any]:
    """The weights in both of its entries, HTTP and gRPC; a weight of 0 is left out, as is a mirror's share of 0."""
    meta = sdep["metadata"]
    given = {**(meta.get("annotations") or {}), **(sdep["spec"].get("annotations") or {})}
    web: dict[str, Any] = {
        "match": [{"uri": {"prefix": f"/seldon/{meta['namespace']}/{meta['name']}/"}}],
        "rewrite": {"uri": "/"},
    }
    headers = {"seldon": {"exact": meta["name"]}, "namespace": {"exact": meta["namespace"]}}
    rpc: dict[str, Any] = {"match": [{"uri": {"regex": GRPC_PATHS}, "headers": headers}]}
    for number, entry in enumerate((web, rpc)):
        entry["route"] = [
            {"destination": _destination(sdep, each, number), **_weight(each)}
            for each in predictors
            if not each.get("shadow")
        ]
        for shadow in (each for each in predictors if each.get("shadow")):
            entry["mirror"] = _destination(sdep, shadow, number)
            if shadow.get("traffic", 0) > 0:
                entry["mirrorPercentage"] = {"value": shadow["traffic"]}
        if attempts := given.get("seldon.io/istio-retries"):
            timeout = f"{given.get('seldon.io/istio-retries-timeout', '1')}s"
            entry["retries"] = {"attempts": int(attempts), "perTryTimeout": timeout, "retryOn": RETRY_ON}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": short(meta["name"]), "namespace": meta["namespace"]},
        "spec": {
            "hosts": [given.get("seldon.io/istio-host", "*")],
            "gateways": [given.get("seldon.io/istio-gateway", GATEWAY)],
            "http": [web, rpc],
        },
    }


def _destination(sdep: dict[str, Any], predictor: dict[str, Any], port: int) -> dict[str, Any]:
    at = host(sdep, predictor)
    return {"host": at, "port": {"number": _ports(predictor)[port]}, "subset": predictor["name"]}


def _weight(predictor: dict[str, Any]) -> dict[str, int]:
    return {"weight": predictor["traffic"]} if predictor.get("traffic") else {}


def destination_rule(sdep: dict[str, Any], predictor: dict[str, Any]) -> dict[str, Any]:
    meta = sdep["metadata"]
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": predictor_service(meta["name"], predictor), "namespace": meta["namespace"]},
        "spec": {
            "host": host(sdep, predictor),
            "subsets": [{"name": predictor["name"], "labels": {"version": predictor["labels"]["version"]}}],
            "trafficPolicy": {"connectionPool": {"http": {"idleTimeout": "60s"}}},
        },
    }
