"""A SeldonDeployment as a traffic split, on the real API server with the stand-in for Seldon's operator."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, POD, SELDON_DEPLOYMENT, VIRTUAL_SERVICE, Kind
from trimtab.adapters.kubernetes.predictor import FreePredictors, ModelPredictors, ServedModel
from trimtab.adapters.kubernetes.seldon_traffic import SeldonTraffic
from trimtab.core.errors import NotFound, TrimtabError
from trimtab.core.ports import Answer, Serving, ServingSeen

NAME = "flights"
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
DEADLINE_SECONDS = 90.0
PORTS = [{"name": name, "containerPort": port} for name, port in (("metrics", 6000), ("http", 9000), ("grpc", 9500))]


class Unread:
    """Answers that nobody asks for here."""

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        return [], position


class Flights:
    """One SeldonDeployment, `flights`, steered by `traffic`, and what is seen of it past that."""

    def __init__(self, api: Api, namespace: str, pods: Any, traffic: SeldonTraffic) -> None:
        self.api = api
        self.namespace = namespace
        self.pods = pods
        self.traffic = traffic
        self._broken: dict[str, str] = {}  # predictors, and why

    # As the suite of every traffic split steers it

    def make_ready(self, version: int) -> None:
        self.pods.ready(self.namespace, f"v{version}")

    def break_down(self, version: int, why: str) -> None:
        self.pods.never_ready(self.namespace, f"v{version}")
        self._broken[f"v{version}"] = why

    def crash(self, version: int) -> None:
        self.pods.lose_one(self.namespace, f"v{version}")

    def send(self, requests: int, user: str = "") -> list[int]:
        weights = self.routes()
        names = random.choices(list(weights), weights=list(weights.values()), k=requests)
        return [int(name[1:]) for name in names]

    def tell_why(self) -> None:
        """What a kubelet says of containers that do not come up."""
        for name, why in self._broken.items():
            for pod in self.pods.of(self.namespace, name):
                waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": why}}
                state = {"name": "model", "image": "", "imageID": "", "ready": False, "restartCount": 3}
                status = {"status": {"containerStatuses": [{**state, "state": waiting}]}}
                try:
                    self.api.merge(POD, self.namespace, pod["metadata"]["name"], status, "status")
                except NotFound:
                    continue

    # Steering

    def until(
        self, serving: Serving, true: Callable[[ServingSeen], Any], each: Callable[[], None] = lambda: None
    ) -> ServingSeen:
        """Want it again and again, as the controller does, until what is seen is as it should be."""
        deadline, said = time.monotonic() + DEADLINE_SECONDS, ""
        while True:
            try:
                self.traffic.want(serving)
                seen = self.traffic.seen()
                each()
                if true(seen):
                    return seen
                said = str(seen)
            except TrimtabError as error:
                said = str(error)
            assert time.monotonic() < deadline, f"never came: {said}; {self.weights()} routed {self.routes()}"
            time.sleep(0.03)

    def until_routed(self, serving: Serving, each: Callable[[], None] = lambda: None) -> ServingSeen:
        wanted = (serving.champion, serving.challenger, serving.weight_percent, serving.shadow)

        def routed(seen: ServingSeen) -> bool:
            route = seen.route
            return route is not None and wanted == (
                route.champion,
                route.challenger,
                route.weight_percent,
                route.shadow,
            )

        return self.until(serving, routed, each)

    # Seen past the traffic split

    def resource(self) -> Object:
        return self.api.get(SELDON_DEPLOYMENT, self.namespace, NAME)

    def predictors(self) -> dict[str, Object]:
        found = self.api.find(SELDON_DEPLOYMENT, self.namespace, NAME)
        return {each["name"]: each for each in found["spec"]["predictors"]} if found else {}

    def weights(self) -> dict[str, int]:
        """As they are asked for."""
        return {name: each.get("traffic", 0) for name, each in self.predictors().items()}

    def routes(self) -> dict[str, int]:
        found = self.api.find(VIRTUAL_SERVICE, self.namespace, NAME)
        routes = found["spec"]["http"][0]["route"] if found else []
        alone = 100 if len(routes) == 1 else 0
        return {each["destination"]["subset"]: each.get("weight", alone) for each in routes}

    def deployment(self, predictor: str) -> Object | None:
        found, _ = self.api.list(DEPLOYMENT, self.namespace, labels=f"seldon-app={NAME}-{predictor}")
        return found[0] if found else None

    def template(self, predictor: str) -> Object:
        found = self.deployment(predictor)
        assert found, f"there is no Deployment of {predictor}"
        return dict(found["spec"]["template"])

    def is_rolled_out(self, predictor: str) -> bool:
        found = self.deployment(predictor)
        status = (found or {}).get("status") or {}
        return found is not None and (
            status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            and found["spec"]["replicas"]
            == status.get("replicas")
            == status.get("updatedReplicas")
            == status.get("availableReplicas")
        )

    def until_true(self, found: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (value := found()):
            assert time.monotonic() < deadline, f"{what}: {self.weights()} routed {self.routes()}"
            time.sleep(0.03)
        return value


def model(namespace: str) -> Object:
    """The ContinuousModel: its SeldonDeployment goes with it, and does not stay without."""
    data = {
        "source": "s3://landing/in/",
        "format": "csv",
        "timestamp": "ts",
        "target": "late",
        "schema": {"heat": {"type": "float"}, "late": {"type": "boolean"}},
    }
    spec = {
        "data": data,
        "training": {"estimator": "sklearn.linear_model:LogisticRegression"},
        "evaluation": {"primary": "log_loss"},
    }
    meta = {"name": NAME, "namespace": namespace}
    return {"apiVersion": MODEL.api_version, "kind": MODEL.name, "metadata": meta, "spec": spec}


@pytest.fixture
def flights(cluster: Any, namespace: str, operator: Any, pods: Any) -> Flights:
    """Of a model: predictor v7 serves version 7."""
    owner = cluster.api.create(MODEL, model(namespace))
    served = ServedModel(namespace, NAME, owner, "trimtab/serving:1", "state", "trimtab-s3", "trimtab-model")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trimtab-model"}}
    cluster.api.create(SERVICE_ACCOUNT, account, namespace)
    return Flights(
        cluster.api, namespace, pods, SeldonTraffic(cluster.api, namespace, NAME, ModelPredictors(served), Unread())
    )


@pytest.fixture
def adopted(cluster: Any, namespace: str, operator: Any, pods: Any) -> Callable[..., Flights]:
    """Of a rollout without a model: `main` is version 1, the challenger is version 2."""

    def adopt(challenger: Mapping[str, Any], *predictors: Mapping[str, Any], **spec: Any) -> Flights:
        cluster.api.create(
            SELDON_DEPLOYMENT,
            {
                "apiVersion": SELDON_DEPLOYMENT.api_version,
                "kind": SELDON_DEPLOYMENT.name,
                "metadata": {"name": NAME, "namespace": namespace},
                "spec": {"predictors": [dict(each) for each in predictors], **spec},
            },
        )
        free = FreePredictors({1: "main", 2: challenger["name"]}, 2, challenger)
        found = Flights(cluster.api, namespace, pods, SeldonTraffic(cluster.api, namespace, NAME, free, Unread()))
        found.until_true(lambda: found.routes(), "its first routes")
        return found

    return adopt
