"""What trimtab needs beside itself, in pods: the stub of KFP's API server, the stand-in of Seldon's operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

Body = dict[str, Any]
CLUSTER = Path(__file__).parents[1] / "cluster"
SERVICES, ENVOY = "trimtab/services:test", "trimtab/envoy:test"
SETTINGS = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/srv"}


def kfp() -> list[Body]:
    """KFP with many users: who asks shows a token, and the API server is asked what he may."""
    command = ["python", "/srv/stub", "--host", "0.0.0.0", "--port", "8888", "--multi-user", "--kubernetes"]  # noqa: S104
    rules = [
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list", "create", "patch"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]
    return _program(
        "kubeflow", "ml-pipeline", {"stub": CLUSTER / "kfp" / "stub"}, [*command, "--agent-seconds", "1"], rules, 8888
    )


def driver() -> list[Body]:
    """Who executes runs: he reads them from KFP under this account."""
    rules = [{"apiGroups": ["pipelines.kubeflow.org"], "resources": ["runs"], "verbs": ["get", "list"]}]
    return _account("kubeflow", "driver", rules)


def seldon() -> list[Body]:
    """In the executor's place an Envoy that passes requests on to the model beside it, as `executor` says."""
    role = yaml.safe_load((CLUSTER / "seldon" / "role.yaml").read_text())
    program = ["python", "-m", "seldon", "--tls-folder", "/tmp/tls", "--port", "9443", "--address", "0.0.0.0"]  # noqa: S104
    program += ["--service", "seldon-system/seldon-webhook-service", "--suffix", "seldon-system"]
    program += ["--executor-image", ENVOY, "--executor-delay", "1", "--executor-cpu", "50m"]
    program += ["--executor-period", "1"]
    program += ["--executor-command", json.dumps(executor())]
    sources = {"seldon": CLUSTER / "seldon"}
    return _program("seldon-system", "seldon-webhook-service", sources, program, role["rules"], 9443, 443)


def executor() -> list[str]:
    """Its ports and paths: predictions and feedback go to the model, which must answer before it is ready."""

    def to(path: str, rewrite: str = "") -> Body:
        route: Body = {"cluster": "model", "timeout": "10s"}
        return {"match": {"prefix": path}, "route": {**route, **({"prefix_rewrite": rewrite} if rewrite else {})}}

    live = {"match": {"prefix": "/live"}, "direct_response": {"status": 200}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [live, to("/ready", "/health/ping"), to("/")]}]
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "executor",
        "route_config": {"name": "routes", "virtual_hosts": hosts},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    model = {
        "name": "model",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "model",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address("127.0.0.1", 9000)}}]}],
        },
    }
    listener = {"name": "executor", "address": _address("0.0.0.0", 8000), "filter_chains": [{"filters": filters}]}  # noqa: S104
    text = json.dumps({"static_resources": {"listeners": [listener], "clusters": [model]}})
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    return ["/usr/local/bin/envoy", "--config-yaml", text, *options]


def _address(address: str, port: int) -> Body:
    return {"socket_address": {"address": address, "port_value": port}}


def namespace(name: str) -> Body:
    """Pod Security restricted, in all of them."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _account(place: str, name: str, rules: list[Body]) -> list[Body]:
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": f"{place}-{name}"}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": place}]
    meta = {"name": f"{place}-{name}"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": place}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": subjects,
        },
    ]


def _program(
    place: str,
    name: str,
    sources: dict[str, Path],
    command: list[str],
    rules: list[Body],
    port: int,
    service_port: int | None = None,
) -> list[Body]:
    """A program of the tests in the services image, its sources from ConfigMaps, behind a Service."""
    meta = {"name": name, "namespace": place}
    labels = {"app": name}
    maps = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-{folder}", "namespace": place},
            "data": {file.name: file.read_text() for file in sorted(path.glob("*.py"))},
        }
        for folder, path in sources.items()
    ]
    container = {
        "name": "main",
        "image": SERVICES,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": key, "value": value} for key, value in SETTINGS.items()],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 120},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": folder, "mountPath": f"/srv/{folder}"} for folder in sources],
    }
    pod = {
        "serviceAccountName": name,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": folder, "configMap": {"name": f"{name}-{folder}"}} for folder in sources],
    }
    return [
        namespace(place),
        *_account(place, name, rules),
        *maps,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"port": service_port or port, "targetPort": port}]},
        },
    ]
