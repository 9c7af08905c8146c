"""SeldonDeployments as people write them, and what is seen of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from seldon.reconcile import DESTINATION_RULE

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, POD, SELDON_DEPLOYMENT, SERVICE, VIRTUAL_SERVICE

PORTS = [
    {"name": "metrics", "containerPort": 6000},
    {"name": "http", "containerPort": 9000},
    {"name": "grpc", "containerPort": 9500},
]


def predictor(name: str, traffic: int | None = None, pinned: bool = False, **more: Any) -> dict[str, Any]:
    container = {"name": "classifier", "image": "iris:1", **({"ports": PORTS} if pinned else {})}
    weight = {} if traffic is None else {"traffic": traffic}
    graph = {"name": "classifier", "type": "MODEL"}
    component = {"spec": {"containers": [container]}}
    return {"name": name, "replicas": 1, "graph": graph, "componentSpecs": [component], **weight, **more}


class Iris:
    """One SeldonDeployment and what belongs to it."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def create(self, *predictors: dict[str, Any], **spec: Any) -> dict[str, Any]:
        return self.api.create(
            SELDON_DEPLOYMENT,
            {
                "apiVersion": SELDON_DEPLOYMENT.api_version,
                "kind": SELDON_DEPLOYMENT.name,
                "metadata": {"name": "iris", "namespace": self.namespace},
                "spec": {"predictors": list(predictors), **spec},
            },
        )

    def change(self, *predictors: dict[str, Any], **spec: Any) -> dict[str, Any]:
        body = {"spec": {"predictors": list(predictors), **spec}}
        return self.api.merge(SELDON_DEPLOYMENT, self.namespace, "iris", body)

    def get(self) -> dict[str, Any]:
        return self.api.get(SELDON_DEPLOYMENT, self.namespace, "iris")

    @property
    def status(self) -> dict[str, Any]:
        return self.get().get("status") or {}

    def condition(self, kind: str) -> dict[str, Any]:
        return next((each for each in self.status.get("conditions", []) if each["type"] == kind), {})

    def deployment(self, name: str = "main") -> dict[str, Any] | None:
        return self.api.find(DEPLOYMENT, self.namespace, f"iris-{name}-0-classifier")

    def template(self, name: str = "main") -> dict[str, Any]:
        found = self.deployment(name)
        assert found, f"there is no Deployment of {name}"
        return dict(found["spec"]["template"])

    def routes(self) -> dict[str, int]:
        """Weights of the HTTP entry by predictor; {} without a VirtualService."""
        found = self.api.find(VIRTUAL_SERVICE, self.namespace, "iris")
        entry = found["spec"]["http"][0] if found else {"route": []}
        return {each["destination"].get("subset", ""): each.get("weight", 0) for each in entry["route"]}

    def names(self) -> dict[str, set[str]]:
        kinds = {"deployments": DEPLOYMENT, "services": SERVICE, "rules": DESTINATION_RULE, "pods": POD}
        return {
            key: {each["metadata"]["name"] for each in self.api.list(kind, self.namespace)[0]}
            for key, kind in kinds.items()
        }

    def until_settled(self) -> None:
        """The spec's weights are routed, it is Available with every condition, all Deployments are rolled out."""
        self.until(self._settled, "not settled")

    def _settled(self) -> bool:
        found = self.get()
        status = found.get("status") or {}
        ready = [each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"]
        wanted = [each["name"] for each in found["spec"]["predictors"]]
        weights = {
            each["name"]: each.get("traffic", 0) for each in found["spec"]["predictors"] if not each.get("shadow")
        }
        return (
            self.routes() == weights
            and status.get("state") == "Available"
            and ready == ["True"]
            and len(status["deploymentStatus"]) == len(wanted)
            and all(self._rolled_out(name) for name in wanted)
        )

    def _rolled_out(self, name: str) -> bool:
        found = self.deployment(name)
        status = (found or {}).get("status") or {}
        return (
            found is not None
            and status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            and found["spec"]["replicas"]
            == status.get("replicas")
            == status.get("updatedReplicas")
            == status.get("availableReplicas")
        )

    def until(self, found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, f"{what}: {self.status}, routes {self.routes()}"
            time.sleep(0.1)
        return value


@pytest.fixture
def iris(cluster, namespace, operator, pods) -> Iris:
    return Iris(cluster.api, namespace)
