"""The Job that checks a spec's estimator in the image of the user's code: its manifest, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Object
from trimtab.app.cluster.resources import PREFIX, Key, key_of
from trimtab.app.cluster.restricted_job import Work, ended, restricted_job
from trimtab.core.records import digest
from trimtab.core.spec.model import ContinuousModel

NAME_PART = 40  # of the model's name; the digest tells apart what is cut alike, and 63 characters are a label
SECONDS = 300  # that a check may take: the image is pulled in them too
POD_SECONDS = 15.0  # after which a Job without a pod is told of; a controller manager takes one
KEPT_SECONDS = 600  # that an ended Job stays, for people to look at


@dataclass(frozen=True, slots=True)
class Passed:
    """The estimator is sound; `code` is the digest of the user's own module, `sklearn` the version it runs with."""

    code: str
    sklearn: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The spec must change, or the image."""

    message: str


@dataclass(frozen=True, slots=True)
class Waits:
    """No verdict yet; `failed` when this Job will give none."""

    message: str
    failed: bool = False


Verdict = Passed | Refused | Waits


def check_digest(model: ContinuousModel, image: str) -> str:
    """Of all that a check's verdict depends on: an equal one need not be checked again."""
    spec = model.spec
    target = spec.data.described[spec.data.target]
    recipe = spec.training.model_dump(mode="json", by_alias=True, exclude={"resources"})
    return digest("check", recipe, target.type, spec.evaluation.reported, image)


def job_name(key: Key, checked: str) -> str:
    """
    Of the check with this digest.

    >>> job_name(("shop", "flights"), "0123456789abcdef")
    'trimtab-check-flights-4eee9ae6'
    """
    return f"trimtab-check-{key[1][:NAME_PART].rstrip('-')}-{digest(*key, checked)[:8]}"


def job(resource: Object, checked: str, image: str, spec: str, settings: ClusterSettings) -> Object:
    """
    The Job.

    Args:
        resource: The ContinuousModel.
        checked: The check's digest.
        spec: s3:// address of the spec's text.
    """
    work = Work(
        role="check",
        command=("trimtab.app.cluster.check", spec),
        resources={"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        room="256Mi",
        seconds=SECONDS,
        kept_seconds=KEPT_SECONDS,
        environment={},
    )
    made = restricted_job(job_name(key_of(resource), checked), resource, image, work, settings)
    made["metadata"]["annotations"] = {f"{PREFIX}check": checked}
    return made


def verdict_of(job: Object, pods: Sequence[Object], now: datetime) -> Verdict:
    """What the Job says by now, from its own status and its pods'."""
    for pod in pods:
        exited = _state(pod, "terminated")
        if exited.get("exitCode") == 0 and (found := _told(str(exited.get("message", "")))) is not None:
            return found
    name = job["metadata"]["name"]
    over = ended(job)
    last = max(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), default=None)
    why = _why(last) if last is not None else ""
    if over is not None:
        return Waits(f"Job {name} gave no verdict: {why or over.get('message') or over['type']}", failed=True)
    if last is None and _age(job, now) >= POD_SECONDS:
        why = _no_pod(job)
    return Waits(f"Job {name} checks the estimator{f': {why}' if why else ''}")


def _age(job: Object, now: datetime) -> float:
    """Seconds since the API server took it."""
    made = job["metadata"].get("creationTimestamp")
    return (now - datetime.fromisoformat(made)).total_seconds() if made else 0.0


def _no_pod(job: Object) -> str:
    meta, account = job["metadata"], job["spec"]["template"]["spec"]["serviceAccountName"]
    namespace = meta["namespace"]
    return (
        f"no pod was made for it; kubectl -n {namespace} describe job {meta['name']} tells why\n"
        f"hint: mostly the service account {account} is missing: "
        f"kubectl apply -n {namespace} -k manifests/model-namespace"
    )


def _told(message: str) -> Verdict | None:
    try:
        verdict = json.loads(message)
        return Passed(verdict["code"], verdict["sklearn"]) if verdict["ok"] else Refused(verdict["message"])
    except (ValueError, KeyError, TypeError):
        return None


def _why(pod: Object) -> str:
    """What keeps a pod from its verdict, in its own words."""
    exited, waiting = _state(pod, "terminated"), _state(pod, "waiting")
    if exited:
        said = str(exited.get("message") or exited.get("reason") or "").strip()
        return f"exit code {exited.get('exitCode')}: {said}" if said else f"exit code {exited.get('exitCode')}"
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
        return ": ".join(str(waiting[name]) for name in ("reason", "message") if waiting.get(name))
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""


def _state(pod: Object, state: str) -> dict[str, Any]:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        return (container.get("state") or {}).get(state) or {}
    return {}
