"""
Jobs in the image that holds a user's own code, for what has to load the model: intake and monitoring.

They run the same code as the listener and the monitor do for models that need no image of their own, under the
model's service account and with the S3 credentials of its namespace. The API server is out of their reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import JOB
from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.restricted_job import Work, ended, restricted_job
from trimtab.core.errors import Conflict
from trimtab.core.records import digest

Task = Literal["intake", "monitor"]
NAME_PART = 40  # of the model's name; with the task and a digest a name has at most 63 characters
SECONDS = {"intake": 3600, "monitor": 1200}  # that a Job may take, its image's pull included
KEPT_SECONDS = 300  # that an ended Job stays, for people to look at
RETRY_AFTER = timedelta(seconds=60)  # after one that failed
RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
# A file of 1 GiB, once as it came and once decompressed, and copies of artifacts.
ROOM = "4Gi"


def job_name(listed: Listed, task: Task) -> str:
    """The same for the same spec: of two who ask for it, one makes it."""
    part = listed.key[1][:NAME_PART].rstrip("-")
    return f"trimtab-{task}-{part}-{digest(*listed.key, listed.text)[:6]}"


def manifest(listed: Listed, task: Task, spec: str, settings: ClusterSettings) -> Object:
    """
    The Job.

    Args:
        spec: s3:// address of the spec's text.
    """
    work = Work(
        role=task,
        command=("trimtab.app.cluster.own_image", task, spec),
        resources=RESOURCES,
        room=ROOM,
        seconds=SECONDS[task],
        kept_seconds=KEPT_SECONDS,
        environment={
            "TRIMTAB_STATE_BUCKET": settings.state_bucket,
            "TRIMTAB_NAMESPACE": listed.key[0],
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    return restricted_job(job_name(listed, task), listed.resource, listed.image, work, settings)


class Jobs:
    """Has tasks done by Jobs, one at a time of each model."""

    def __init__(self, api: Api, settings: ClusterSettings) -> None:
        self._api = api
        self._settings = settings

    def ensure(self, listed: Listed, task: Task, spec: str, now: datetime | None = None) -> str:
        """
        See to it that a Job is at it, or soon; returns why the last one failed, empty while nothing has.

        One that has ended well gives way to the next one: ask only while there is something to do.

        Args:
            spec: s3:// address of the spec's text.
            now: Wall clock.

        Raises:
            Unavailable: If the API server does not answer.
            Invalid: If it refuses such a Job, with its reason.
        """
        namespace, name = listed.key[0], job_name(listed, task)
        standing = self._api.find(JOB, namespace, name)
        if standing is None:
            try:
                self._api.create(JOB, manifest(listed, task, spec, self._settings), namespace)
            except Conflict:
                return ""  # the other replica made it, or the one before is still being deleted
            return ""
        over = ended(standing)
        if over is None or standing["metadata"].get("deletionTimestamp"):
            return ""
        failed = over["type"] == "Failed"
        if not failed or (now or datetime.now(UTC)) >= _moment(over) + RETRY_AFTER:
            self._api.delete(JOB, namespace, name)
        if not failed:
            return ""
        said = over.get("message") or over.get("reason") or "no reason is given"
        return f"Job {namespace}/{name} failed: {said}; kubectl -n {namespace} logs job/{name} shows more"


def _moment(condition: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(condition["lastTransitionTime"].replace("Z", "+00:00"))
