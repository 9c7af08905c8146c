"""The predictors of trimtab's versions: of a registered model by our own serving image, or as a person wrote one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL_LABEL, SELDON_DEPLOYMENT
from trimtab.core.errors import Invalid
from trimtab.core.rollout.pinning import PORTS, pinned
from trimtab.core.rollout.predictors import Body

CONTAINER = "model"
USER = 65532  # of the serving image
LOG, CACHE = "/var/lib/trimtab", "/var/cache/trimtab"
REQUESTS = {"cpu": "50m", "memory": "256Mi"}  # a server with one small model; not a limit
STARTING_SECONDS = 600  # as long as the operator gives a Deployment until it counts as stuck
VERSION = re.compile(r"v([1-9][0-9]*)")
SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """
    What serves a model's versions.

    Attributes:
        owner: The ContinuousModel: with it, its SeldonDeployment goes.
        image: Of the model server.
        secret: In the model's namespace, with the store's address and credentials; may be missing.
        account: The pods' service account.
        resources: Requests and limits of the model server; without them `REQUESTS`.
    """

    namespace: str
    model: str
    owner: Object
    image: str
    state_bucket: str
    secret: str
    account: str
    trusted_types: tuple[str, ...] = ()
    resources: Mapping[str, Any] | None = None


class ModelPredictors:
    """`Predictors` of a model: v7 serves version 7."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served

    def name(self, version: int) -> str:
        return f"v{version}"

    def number(self, name: str) -> int | None:
        found = VERSION.fullmatch(name)
        return int(found[1]) if found else None

    def template(self, version: int) -> Body:
        if not self._served.image:
            raise Invalid(
                f"found no image to serve {self._served.model} v{version} by",
                "set TRIMTAB_SERVING_IMAGE for the controller, or the model's annotation trimtab.dev/serving-image",
            )
        return model_predictor(self._served, version)

    def deployment(self) -> Object | None:
        served, meta = self._served, self._served.owner["metadata"]
        owner = {
            "apiVersion": served.owner["apiVersion"],
            "kind": served.owner["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
        return {
            "apiVersion": SELDON_DEPLOYMENT.api_version,
            "kind": SELDON_DEPLOYMENT.name,
            "metadata": {
                "name": served.model,
                "namespace": served.namespace,
                "labels": {MODEL_LABEL: served.model, "app.kubernetes.io/managed-by": "trimtab"},
                "ownerReferences": [owner],
            },
            "spec": {"name": served.model, "predictors": []},
        }


def model_predictor(served: ServedModel, version: int) -> Body:
    """The predictor that serves one version: everything that the operator would else choose is said."""
    return {
        "name": f"v{version}",
        "graph": {"name": CONTAINER, "type": "MODEL", "endpoint": {"type": "REST"}},
        "componentSpecs": [{"metadata": {"labels": {MODEL_LABEL: served.model}}, "spec": _pod(served, version)}],
    }


def _pod(served: ServedModel, version: int) -> Body:
    folders = {"log": LOG, "cache": CACHE, "tmp": "/tmp"}  # noqa: S108  (of the container, whose root is read-only)
    ports = dict(PORTS)
    container = {
        "name": CONTAINER,
        "image": served.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS],
        "env": [{"name": name, "value": value} for name, value in _variables(served, version).items()],
        "envFrom": [{"secretRef": {"name": served.secret, "optional": True}}],
        "readinessProbe": _probe("/health/status", ports["http"], 2, 3),
        # Loading a model takes a minute and more where the node is busy: who is restarted for that begins anew.
        "startupProbe": _probe("/health/ping", ports["http"], 1, STARTING_SECONDS),
        "livenessProbe": _probe("/health/ping", ports["http"], 10, 6),
        "securityContext": SECURITY,
        "resources": dict(served.resources or {"requests": REQUESTS}),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in folders.items()],
    }
    return {
        "serviceAccountName": served.account,
        "terminationGracePeriodSeconds": 30,  # the log's last segment is put into the store
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": name, "emptyDir": {}} for name in folders],
    }


def _variables(served: ServedModel, version: int) -> Mapping[str, str]:
    ports = dict(PORTS)
    variables = {
        "TRIMTAB_MODEL": served.model,
        "TRIMTAB_VERSION": str(version),
        "TRIMTAB_STATE_BUCKET": served.state_bucket,
        "TRIMTAB_NAMESPACE": served.namespace,
        "TRIMTAB_BIND": f"0.0.0.0:{ports['http']}",
        "TRIMTAB_METRICS_BIND": f"0.0.0.0:{ports['metrics']}",
        "TRIMTAB_LOG_FOLDER": f"{LOG}/log",
        "TRIMTAB_CACHE": CACHE,
    }
    trusted = {"TRIMTAB_TRUSTED_TYPES": ",".join(served.trusted_types)} if served.trusted_types else {}
    return {**variables, **trusted}


def _probe(path: str, port: int, period: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


class FreePredictors:
    """
    `Predictors` of a rollout without a model.

    Args:
        names: By version: the champion's, and the challenger's.
        challenger: The version that is to be added.
        predictor: It, as its author wrote it.
    """

    def __init__(self, names: Mapping[int, str], challenger: int, predictor: Body) -> None:
        self._names = names
        self._challenger = challenger
        self._predictor = predictor

    def name(self, version: int) -> str:
        return self._names[version]

    def number(self, name: str) -> int | None:
        return next((number for number, each in self._names.items() if each == name), None)

    def template(self, version: int) -> Body:
        if version != self._challenger:
            raise Invalid(
                f"predictor {self._names[version]} is gone from the SeldonDeployment",
                "put it back, or delete the ModelRollout",
            )
        return pinned(self._predictor)

    def deployment(self) -> Object | None:
        return None
