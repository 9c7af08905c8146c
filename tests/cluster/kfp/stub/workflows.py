"""The Workflows that runs make: in memory, or in a real cluster. Nothing executes them."""

from __future__ import annotations

import random
import string
import threading
import uuid
from typing import Any

from messages import Json, now

RUN_LABEL = "pipeline/runid"
FINAL_LABEL = "pipeline/persistedFinalState"
FINAL = ("Succeeded", "Failed", "Error", "Skipped")


class Workflows:
    """What Argo would see. `made` counts all that ever were, so that a test sees a double launch."""

    def __init__(self, kube: Any = None) -> None:
        self._kube = kube
        self._lock = threading.RLock()
        self._objects: dict[tuple[str, str], Json] = {}
        self.made: dict[str, int] = {}  # by run id

    def create(self, namespace: str, run_id: str, name: str, generate: bool, run: Json) -> Json:
        if generate:
            name = f"{name}-{''.join(random.choices(string.ascii_lowercase + string.digits, k=5))}"
        body: Json = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "namespace": namespace, "labels": {RUN_LABEL: run_id}},
            "spec": {
                "entrypoint": "entrypoint",
                "serviceAccountName": run.get("service_account") or "pipeline-runner",
                "arguments": {"parameters": []},
            },
        }
        with self._lock:
            self.made[run_id] = self.made.get(run_id, 0) + 1
        if self._kube is not None:
            return self._kube.create_workflow(body)
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": "1"}
        with self._lock:
            self._objects[namespace, name] = body
        return body

    def all(self, namespace: str = "") -> list[Json]:
        if self._kube is not None:
            return list(self._kube.workflows(namespace))
        with self._lock:
            return [each for (place, _), each in self._objects.items() if namespace in ("", place)]

    def of(self, run_id: str) -> list[Json]:
        return [each for each in self.all() if each["metadata"].get("labels", {}).get(RUN_LABEL) == run_id]

    def find(self, namespace: str, name: str) -> Json | None:
        return next((each for each in self.all(namespace) if each["metadata"]["name"] == name), None)

    def change(self, workflow: Json, **parts: Json) -> None:
        """Merge into `spec`, `status` or the metadata's `labels`."""
        meta = workflow["metadata"]
        if self._kube is not None:
            labels = parts.pop("labels", None)
            body: Json = {**parts, **({"metadata": {"labels": labels}} if labels else {})}
            self._kube.patch_workflow(meta["namespace"], meta["name"], body)
            return
        with self._lock:
            for part, values in parts.items():
                target = meta if part == "labels" else workflow
                target.setdefault(part, {}).update(values)

    def delete(self, workflow: Json) -> None:
        meta = workflow["metadata"]
        if self._kube is not None:
            self._kube.delete_workflow(meta["namespace"], meta["name"])
            return
        with self._lock:
            self._objects.pop((meta["namespace"], meta["name"]), None)
