"""A predictor's Deployments, as the operator writes them."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from seldon.predictors import (
    container_service,
    deployment_name,
    graph_containers,
    has_engine,
    port_of,
    predictor_service,
    replicas,
)

LAST_APPLIED = "seldon.io/last-applied"
DEADLINE_SECONDS = 600


@dataclass(frozen=True)
class Engine:
    """
    The executor beside a model.

    Attributes:
        delay_seconds: Before it is first asked whether it is ready.
        period_seconds: Between two such questions.
        cpu: That it requests.
    """

    image: str = "seldonio/seldon-core-executor:1.17.1"
    command: tuple[str, ...] = field(default=())
    delay_seconds: int = 20
    period_seconds: int = 5
    cpu: str = "500m"


def deployments(sdep: dict[str, Any], predictor: dict[str, Any], engine: Engine) -> list[dict[str, Any]]:
    """
    One for each componentSpec.

    Args:
        predictor: Defaulted.
    """
    found = [_deployment(sdep, predictor, number) for number in range(len(predictor.get("componentSpecs") or []))]
    if found and has_engine(predictor):
        # The engine goes into the first Deployment; the others are its models.
        _add_engine(sdep, predictor, engine, found[0])
    for each in found:
        each["metadata"]["annotations"] = {LAST_APPLIED: packed(each["spec"])}
    return found


def packed(value: Any) -> str:
    """JSON, small enough for an annotation."""
    return base64.b64encode(zlib.compress(json.dumps(value, sort_keys=True).encode())).decode()


def _deployment(sdep: dict[str, Any], predictor: dict[str, Any], number: int) -> dict[str, Any]:
    meta, component = sdep["metadata"], predictor["componentSpecs"][number]
    name = deployment_name(meta["name"], predictor, number)
    service = predictor_service(meta["name"], predictor)
    graph = {container["name"] for container in graph_containers(predictor)}
    pods = copy.deepcopy(component["spec"])
    selector = {"seldon-app": service, "seldon-deployment-id": meta["name"]}
    for container in pods["containers"]:
        if container["name"] in graph:
            selector[f"seldon-app-svc-{container['name']}"] = container_service(meta["name"], predictor, container)
            _complete(container, sdep, predictor)
    pods.setdefault("securityContext", {"runAsUser": 8888})
    pods.setdefault("terminationGracePeriodSeconds", 20)
    pods.setdefault("volumes", []).append(_podinfo())
    labels = {
        **predictor["labels"],
        **selector,
        "app": name,
        "fluentd": "true",
        "seldon-deployment-contains-svcorch": "true",
        "seldon.io/model": "true",
        "app.kubernetes.io/managed-by": "seldon-core",
        **({"seldon.io/shadow": "true"} if predictor.get("shadow") else {}),
    }
    annotations = {
        "prometheus.io/path": "/prometheus",
        "prometheus.io/scrape": "true",
        **(sdep["spec"].get("annotations") or {}),
        **(predictor.get("annotations") or {}),
    }
    spec: dict[str, Any] = {
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "progressDeadlineSeconds": predictor.get("progressDeadlineSeconds", DEADLINE_SECONDS),
        "template": {
            "metadata": {
                "labels": {**((component.get("metadata") or {}).get("labels") or {}), **labels},
                "annotations": annotations,
            },
            "spec": pods,
        },
    }
    wanted = replicas(sdep, predictor, component)
    if wanted is not None:
        spec["replicas"] = wanted
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels},
        "spec": spec,
    }


def _complete(container: dict[str, Any], sdep: dict[str, Any], predictor: dict[str, Any]) -> None:
    """A model's container: what it is told of itself, and probes where it brings none."""
    http, grpc, metrics = (port_of(container, name) for name in ("http", "grpc", "metrics"))
    told = {
        "PREDICTIVE_UNIT_SERVICE_PORT": http,
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": http,
        "MLSERVER_HTTP_PORT": http,
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": grpc,
        "MLSERVER_GRPC_PORT": grpc,
        "PREDICTIVE_UNIT_ID": container["name"],
        "MLSERVER_MODEL_NAME": container["name"],
        "PREDICTIVE_UNIT_IMAGE": container.get("image", ""),
        "PREDICTOR_ID": predictor["name"],
        "PREDICTOR_LABELS": json.dumps(predictor["labels"], sort_keys=True),
        "SELDON_DEPLOYMENT_ID": sdep["metadata"]["name"],
        "SELDON_EXECUTOR_ENABLED": "true",
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": metrics,
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus",
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_METRICS_ENDPOINT": "/prometheus",
    }
    env = container.setdefault("env", [])
    given = {each["name"] for each in env}
    env += [{"name": name, "value": str(value)} for name, value in told.items() if name not in given]
    container.setdefault("imagePullPolicy", "IfNotPresent")
    container.setdefault("volumeMounts", []).append({"name": "seldon-podinfo", "mountPath": "/etc/podinfo"})
    tcp = {"tcpSocket": {"port": "http"}, "failureThreshold": 3, "timeoutSeconds": 1, "periodSeconds": 5}
    container.setdefault("readinessProbe", {**tcp, "initialDelaySeconds": 20})
    container.setdefault("livenessProbe", {**tcp, "initialDelaySeconds": 60})
    container.setdefault("lifecycle", {"preStop": {"exec": {"command": ["/bin/sh", "-c", "/bin/sleep 10"]}}})


def _podinfo() -> dict[str, Any]:
    item = {"path": "annotations", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations"}}
    return {"name": "seldon-podinfo", "downwardAPI": {"items": [item], "defaultMode": 420}}


def _add_engine(sdep: dict[str, Any], predictor: dict[str, Any], engine: Engine, deployment: dict[str, Any]) -> None:
    """The executor: it carries the whole predictor, so whatever changes there replaces the pods."""
    # Weights and the predictor's replicas are no news to an executor; a componentSpec's replicas stay, and restart.
    carried = {key: value for key, value in predictor.items() if key not in ("traffic", "replicas", "explainer")}
    meta = sdep["metadata"]
    env = {
        "ENGINE_PREDICTOR": base64.b64encode(json.dumps(carried, sort_keys=True).encode()).decode(),
        "REQUEST_LOGGER_DEFAULT_ENDPOINT": "http://default-broker",
        "SELDON_LOG_MESSAGES_EXTERNALLY": "false",
        "SELDON_DEPLOYMENT_ID": meta["name"],
    }

    def probe(path: str, delay: int, period: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": 8000, "scheme": "HTTP"},
            "initialDelaySeconds": delay,
            "periodSeconds": period,
            "timeoutSeconds": 60,
            "failureThreshold": 3,
        }

    arguments = ["--sdep", meta["name"], "--namespace", meta["namespace"], "--predictor", predictor["name"]]
    container: dict[str, Any] = {
        "name": "seldon-container-engine",
        "image": engine.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*arguments, "--http_port", "8000", "--grpc_port", "5001", "--transport", "rest"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [
            {"name": "http", "containerPort": 8000, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 8000, "protocol": "TCP"},
            {"name": "grpc", "containerPort": 5001, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": engine.cpu, "memory": "512Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "readinessProbe": probe("/ready", engine.delay_seconds, engine.period_seconds),
        "livenessProbe": probe("/live", Engine.delay_seconds, Engine.period_seconds),
        "volumeMounts": [{"name": "seldon-podinfo", "mountPath": "/etc/podinfo"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 8888,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if engine.command:
        container["command"] = list(engine.command)
        container.pop("args")
    deployment["spec"]["template"]["spec"]["containers"].append(container)
