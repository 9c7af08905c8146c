"""A Job that works for one model in an image of its user's, within the restricted Pod Security level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import JOB, MODEL_LABEL
from trimtab.app.cluster.resources import PREFIX, owner_reference

ROLE_LABEL = f"{PREFIX}role"
TRIES = 3


@dataclass(frozen=True, slots=True)
class Work:
    """
    What a Job does.

    Attributes:
        role: In a word: its container's name, and a label.
        command: Its arguments of `python -m`.
        resources: As of a Pod.
        room: For its files in /tmp, as a quantity.
        seconds: That it may take, its image's pull included.
        kept_seconds: That it stays once it has ended, for people to look at.
        environment: Variables besides those of every Job.
    """

    role: str
    command: Sequence[str]
    resources: Mapping[str, Any]
    room: str
    seconds: int
    kept_seconds: int
    environment: Mapping[str, str]


def restricted_job(name: str, owner: Object, image: str, work: Work, settings: ClusterSettings) -> Object:
    """
    The Job, in the model's namespace, under its service account and with the S3 credentials there.

    The API server is out of its reach.

    Args:
        owner: The ContinuousModel, with which it goes.
    """
    meta = owner["metadata"]
    labels = {MODEL_LABEL: meta["name"], ROLE_LABEL: work.role, "app.kubernetes.io/managed-by": "trimtab"}
    environment = {**work.environment, "TRIMTAB_CACHE": "/tmp/trimtab"}  # noqa: S108  (a volume of the pod's own)
    if settings.trusted_types:
        environment["TRIMTAB_TRUSTED_TYPES"] = ",".join(settings.trusted_types)
    container = {
        "name": work.role,
        "image": image,
        "command": ["python", "-m", *work.command],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "envFrom": [{"secretRef": {"name": settings.s3_secret, "optional": True}}],
        "resources": work.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.model_service_account,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": work.room}}],
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "backoffLimit": TRIES - 1,
            "activeDeadlineSeconds": work.seconds,
            "ttlSecondsAfterFinished": work.kept_seconds,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def ended(job: Object) -> Mapping[str, Any] | None:
    """The condition by which a Job has ended, well or not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            found: Mapping[str, Any] = condition
            return found
    return None
