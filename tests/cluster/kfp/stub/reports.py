"""How a Workflow's phase comes into a run: only by a report, of the persistence agent or by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from messages import Json, now
from refusals import Refused
from workflows import FINAL, FINAL_LABEL, RUN_LABEL

if TYPE_CHECKING:
    from world import World

STATES = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "Error": "FAILED",
    "Skipped": "SKIPPED",
}


class Reports:
    def __init__(self, world: World) -> None:
        self._world = world

    def workflow_of(self, body: Json) -> Json:
        """The Workflow that a test means: by name, or the run's number `which`, oldest first."""
        if "workflow" in body:
            found = [each for each in self._world.workflows.all() if each["metadata"]["name"] == body["workflow"]]
        else:
            found = self._world.workflows.of(body["run_id"])[body.get("which", 0) :]
        if not found:
            raise Refused(5, f"found no Workflow for {body}")
        return found[0]

    def phase(self, workflow: Json, phase: str, message: str = "") -> None:
        self._world.workflows.change(workflow, status={"phase": phase, "message": message})

    def move(self, body: Json) -> Json:
        """A test's report: set the phase, then tell of it. `tasks` become the run's details."""
        workflow = self.workflow_of(body)
        self.phase(workflow, body.get("phase", ""), body.get("message", ""))
        meta = workflow["metadata"]
        fresh = self._world.workflows.find(meta["namespace"], meta["name"])
        assert fresh is not None
        self.report(fresh, body.get("tasks", []))
        return {}

    def raw(self, text: str) -> Json:
        """`POST /workflows`: the body is a JSON string that holds a Workflow."""
        workflow = json.loads(json.loads(text))
        meta = workflow["metadata"]
        if meta.get("labels", {}).get(FINAL_LABEL) == "true":
            self._world.workflows.delete(workflow)
            raise Refused(5, f"Workflow {meta['name']} not found")
        self.report(workflow, [])
        return {}

    def agent(self) -> None:
        """One look of the persistence agent; a final phase that was reported is not told of again."""
        for workflow in self._world.workflows.all():
            meta = workflow["metadata"]
            if RUN_LABEL in meta.get("labels", {}) and meta["labels"].get(FINAL_LABEL) != "true":
                self.report(workflow, [])

    def report(self, workflow: Json, tasks: list[Json]) -> None:
        world, meta = self._world, workflow["metadata"]
        if meta["labels"].get(FINAL_LABEL) == "true":
            return
        status = workflow.get("status") or {}
        phase, run_id = status.get("phase", ""), meta["labels"][RUN_LABEL]
        with world.lock:
            run = world.runs.all.get(run_id)
            if run is None:
                run = world.recurring.appear(workflow)
            if run is None:
                return
            state = STATES.get(phase, "")
            if run["state"] == "CANCELING" and phase not in FINAL:
                state = "CANCELING"
            self.state(run, state)
            run["run_details"] = {"task_details": self._details(run_id, meta["name"], state, status, tasks)}
        if phase in FINAL:
            world.workflows.change(workflow, labels={FINAL_LABEL: "true"})

    def state(self, run: Json, state: str) -> None:
        if run["state"] == state:
            return
        run["state"] = state
        if state != "CANCELING":
            run["state_history"].append({"update_time": now(), "state": state})
        run["finished_at"] = now() if state in ("SUCCEEDED", "FAILED", "SKIPPED") else ""

    def _details(self, run_id: str, name: str, state: str, status: Json, tasks: list[Json]) -> list[Any]:
        nodes = [{"display_name": name, "state": state}, *tasks]
        nodes += [
            {"display_name": node.get("displayName", ""), "state": STATES.get(node.get("phase", ""), ""), "pod": key}
            for key, node in (status.get("nodes") or {}).items()
        ]
        return [
            {
                "run_id": run_id,
                "task_id": f"{run_id}-{number}",
                "display_name": node["display_name"],
                "create_time": now(),
                "state": node.get("state", ""),
                "child_tasks": [{"pod_name": node["pod"]}] if node.get("pod") else [],
            }
            for number, node in enumerate(nodes)
        ]
