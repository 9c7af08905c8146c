"""
What KFP made of a run in Kubernetes: its Workflow, found by the run's id, and its pods.

KFP makes the Workflow before it stores the run. Where it died in between, only the Workflow tells that the run exists.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.kfp_log import StepLog
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import POD, Kind
from trimtab.core.errors import NotFound, TrimtabError
from trimtab.core.ports import RunPhase, RunStatus

WORKFLOW = Kind("argoproj.io", "v1alpha1", "Workflow", "workflows")
RUN_LABEL = "pipeline/runid"  # KFP puts it on the Workflow and on each of its pods
STEP_ANNOTATION = "workflows.argoproj.io/node-name"
CONTAINER = "main"  # where the step itself runs
PHASES = {
    "Pending": RunPhase.PENDING,
    "Running": RunPhase.RUNNING,
    "Succeeded": RunPhase.SUCCEEDED,
    "Skipped": RunPhase.SUCCEEDED,
    "Failed": RunPhase.FAILED,
    "Error": RunPhase.FAILED,
}
log = logging.getLogger("trimtab.kfp")


@dataclass(frozen=True, slots=True)
class Workflows:
    """The Workflows of one namespace."""

    api: Api
    namespace: str

    def of(self, run_id: str) -> list[Object]:
        """Every Workflow of the run, oldest first; none where Kubernetes here knows no Workflows."""
        try:
            found, _ = self.api.list(WORKFLOW, self.namespace, labels=f"{RUN_LABEL}={run_id}")
        except NotFound:
            return []
        return sorted(found, key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"]))

    def status(self, run_id: str) -> RunStatus | None:
        """How the run's first Workflow stands, None when it has none."""
        found = self.of(run_id)
        if not found:
            return None
        status: dict[str, Any] = found[0].get("status") or {}
        phase = PHASES.get(status.get("phase", ""), RunPhase.PENDING)
        error = str(status.get("message") or "its Workflow failed") if phase is RunPhase.FAILED else ""
        return RunStatus(run_id, phase, error.splitlines()[0] if error else "")

    def end(self, run_id: str) -> None:
        """End what executes of the run, as KFP itself does."""
        for workflow in self.of(run_id):
            if PHASES.get((workflow.get("status") or {}).get("phase", "")) in (RunPhase.SUCCEEDED, RunPhase.FAILED):
                continue
            name = workflow["metadata"]["name"]
            self.api.merge(WORKFLOW, self.namespace, name, {"spec": {"activeDeadlineSeconds": 0}})

    def logs(self, run_id: str, lines: int) -> list[str]:
        """The last lines of the run's steps, each after its step's name; what cannot be read is left out."""
        shown: list[str] = []
        try:
            pods, _ = self.api.list(POD, self.namespace, labels=f"{RUN_LABEL}={run_id}")
        except NotFound:
            return []
        for pod in sorted(pods, key=lambda each: each["metadata"].get("creationTimestamp", "")):
            step = _step(pod)
            if step:
                shown += [f"{step}: {line}" for line in self._lines(pod)]
        return shown[-lines:] if lines > 0 else []

    def _lines(self, pod: Object) -> list[str]:
        path = f"{POD.path(self.namespace, pod['metadata']['name'], 'log')}?container={CONTAINER}"
        try:
            text = self.api.raw("GET", path)
        except TrimtabError as error:
            log.info("the log of pod %s cannot be read: %s", pod["metadata"]["name"], error)
            return []
        output = StepLog()
        lines = [shown for line in str(text).splitlines() for shown in output.feed(line)]
        return [*lines, *output.finish()]


def _step(pod: Object) -> str:
    """
    The step that a pod executes, empty for those that only prepare one.

    KFP calls the node of a step's own container `….executor`, under the node of the task.

    >>> _step({"metadata": {"annotations": {"workflows.argoproj.io/node-name": "ct-x1.root.train.executor"}}})
    'train'
    """
    parts = str(pod["metadata"].get("annotations", {}).get(STEP_ANNOTATION, "")).split(".")
    return parts[-2] if len(parts) > 1 and parts[-1] == "executor" else ""
