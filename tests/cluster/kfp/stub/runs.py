"""Runs: made with their Workflow first and their record second, which is where the trouble comes from."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from listing import page
from messages import Json, now, shown
from refusals import Refused
from templates import RUN_PREFIX, check_parameters, fault, split

if TYPE_CHECKING:
    from world import World

FINISHED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
COLUMN = 255  # characters of a name
LABEL = 63  # characters of a label's value


class Runs:
    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Json] = {}

    # Making one

    def create(self, body: Json, user: Any, fail: str = "") -> Json:
        world = self._world
        name = body.get("display_name", "")
        experiment = self._experiment(body)
        namespace = experiment["namespace"] or world.namespace
        world.access.check(user, "create", "runs", namespace)
        if not name:
            raise Refused(13, "Failed to create a new run: Invalid input error: Run name cannot be empty")
        spec, platform, reference = self._source(body)
        check_parameters(spec, body.get("runtime_config", {}).get("parameters") or {})
        run_id, known = self._id(body, name)
        if known is not None:
            return shown(known)
        if len(run_id) > LABEL:
            raise Refused(13, f"Failed to create a new run: label value must be no more than {LABEL} characters")
        if fail == "early":
            raise Refused(13, "Failed to create a new run: dial tcp 10.0.0.7:3306: connect: connection refused")
        with world.lock:
            world.posts[run_id] = world.posts.get(run_id, 0) + 1
        workflow = world.workflows.create(namespace, run_id, spec["pipelineInfo"]["name"], True, body)
        if fail == "late":
            raise Refused(13, f"Failed to store run {name} to table: Error 2013: Lost connection to MySQL server")
        if len(name) > COLUMN:
            raise Refused(13, f"Failed to store run {name} to table: Data too long for column 'DisplayName' at row 1")
        return self._store(run_id, body, experiment, (spec, platform, reference), workflow)

    def _store(self, run_id: str, body: Json, experiment: Json, source: tuple, workflow: Json) -> Json:
        spec, platform, reference = source
        with self._world.lock:
            if run_id in self.all:
                if body.get("recurring_run_id"):
                    return shown(self.all[run_id])
                raise Refused(
                    13,
                    f"Failed to store run {body['display_name']} to table: Error 1062 (23000): "
                    f"Duplicate entry '{run_id}' for key 'PRIMARY'",
                )
            run: Json = {
                "experiment_id": experiment["experiment_id"],
                "run_id": run_id,
                "display_name": body["display_name"],
                "storage_state": "AVAILABLE",
                "description": body.get("description", ""),
                "runtime_config": body.get("runtime_config", {}),
                "service_account": body.get("service_account") or "pipeline-runner",
                "recurring_run_id": body.get("recurring_run_id", ""),
                "created_at": now(),
                "scheduled_at": now(),
                "finished_at": "",
                "state": "PENDING",
                "state_history": [{"update_time": now(), "state": "PENDING"}],
                "_namespace": experiment["namespace"] or self._world.namespace,
                "_workflow": workflow["metadata"]["name"],
            }
            if reference:
                run["pipeline_version_reference"] = reference
            else:
                run["pipeline_spec"] = {"pipeline_spec": spec, "platform_spec": platform} if platform else spec
            self.all[run_id] = run
            experiment["last_run_created_at"] = now()
            return public(run)

    def _experiment(self, body: Json) -> Json:
        if body.get("experiment_id"):
            return self._world.experiments.held(body["experiment_id"])
        if self._world.multi_user:
            raise Refused(3, "Experiment id can not be empty in multi-user mode")
        return self._world.experiments.default()

    def _source(self, body: Json) -> tuple[Json, Json, Json]:
        """Pipeline, platform part, and the reference they came by."""
        reference = body.get("pipeline_version_reference") or {}
        if reference and body.get("pipeline_spec"):
            raise Refused(3, 'proto: (line 1:1): error parsing "pipeline_spec", oneof pipeline_source is already set')
        if reference:
            version = self._world.pipelines.resolve(reference)
            spec, platform = split(version["pipeline_spec"])
            ids = ("pipeline_id", "pipeline_version_id")
            return spec, platform, {name: version[name] for name in ids}
        given = body.get("pipeline_spec")
        if given is None:
            raise Refused(13, f"{RUN_PREFIX} with an empty pipeline spec manifest")
        spec, platform = split(given)
        if wrong := fault(spec):
            raise Refused(13, f"{RUN_PREFIX}: {wrong}")
        return spec, platform, {}

    def _id(self, body: Json, name: str) -> tuple[str, Json | None]:
        """The run's id, and the run that a repeat of a recurring run's request finds."""
        recurring = body.get("recurring_run_id", "")
        if not recurring:
            return body.get("run_id") or str(uuid.uuid4()), None
        if recurring not in self._world.recurring.all:
            raise Refused(13, f"Failed to create a new run: Failed to get recurring run {recurring}")
        run_id = str(uuid.uuid5(uuid.UUID(recurring), name))
        return run_id, self.all.get(run_id)

    # Looking

    def held(self, run_id: str) -> Json:
        if run_id not in self.all:
            text = f"Run {run_id} not found"
            raise Refused(5, f"Failed to get a run: ResourceNotFoundError: {text}", text)
        return self.all[run_id]

    def get(self, run_id: str, user: Any) -> Json:
        run = self.held(run_id)  # before anybody is asked for a name
        self._world.access.check(user, "get", "runs", run["_namespace"])
        return public(run)

    def list(self, query: dict[str, str], user: Any) -> Json:
        namespace, experiment = query.get("namespace", ""), query.get("experiment_id", "")
        if experiment:
            namespace = self._world.experiments.held(experiment)["namespace"]
        if self._world.multi_user:
            if not namespace:
                raise Refused(3, "A run cannot have an empty namespace in multi-user mode")
            self._world.access.check(user, "list", "runs", namespace)
        found = [
            {name: value for name, value in run.items() if name[0] != "_"}
            for run in list(self.all.values())
            if (not experiment or run["experiment_id"] == experiment)
            and (not self._world.multi_user or run["_namespace"] == namespace)
        ]
        return page("Run", "runs", found, query)

    # Ending

    def terminate(self, run_id: str, user: Any) -> Json:
        run = self.held(run_id)
        world = self._world
        world.access.check(user, "terminate", "runs", run["_namespace"])
        with world.lock:
            if run["state"] in (*FINISHED, "CANCELING"):
                raise Refused(3, f"Failed to terminate a run {run_id}: Row not found")
            run["state"] = "CANCELING"
        workflow = world.workflows.find(run["_namespace"], run["_workflow"])
        if workflow is None:
            raise Refused(13, f"Failed to terminate a run {run_id}: workflows.argoproj.io not found after 5 retries")
        world.workflows.change(workflow, spec={"activeDeadlineSeconds": 0})
        return {}

    def act(self, run_id: str, action: str, user: Any) -> Json:
        if action == "terminate":
            return self.terminate(run_id, user)
        run = self.held(run_id)
        self._world.access.check(user, action, "runs", run["_namespace"])
        if action == "retry":
            if run["state"] != "FAILED":
                raise Refused(10, "Failed to retry a run: Workflow must be Failed/Error to retry")
            self._world.reports.state(run, "RUNNING")
        else:
            run["storage_state"] = {"archive": "ARCHIVED", "unarchive": "AVAILABLE"}[action]
        return {}

    def delete(self, run_id: str, user: Any) -> Json:
        run = self.held(run_id)
        self._world.access.check(user, "delete", "runs", run["_namespace"])
        del self.all[run_id]
        workflow = self._world.workflows.find(run["_namespace"], run["_workflow"])
        if workflow is not None:
            self._world.workflows.delete(workflow)
        return {}


def public(run: Json) -> Json:
    """A run as it is answered: what the server keeps for itself stays there."""
    return shown({name: value for name, value in run.items() if name[0] != "_"})
