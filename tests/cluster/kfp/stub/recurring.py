"""Recurring runs, as the ScheduledWorkflow controller acts upon them; they fire only when a test says so."""

from __future__ import annotations

import random
import re
import string
import uuid
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from listing import page
from messages import Json, now, shown
from refusals import Refused
from schedules import Schedule
from templates import check_parameters
from workflows import RUN_LABEL

if TYPE_CHECKING:
    from world import World

OWNER = "scheduledworkflows.kubeflow.org/scheduledWorkflowName"


class Recurring:
    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Json] = {}

    def create(self, body: Json, user: Any) -> Json:
        world = self._world
        name = body.get("display_name", "")
        if not name:
            raise Refused(13, "Failed to create a recurring run: Invalid input error: Job name cannot be empty")
        if body.get("experiment_id"):
            experiment = world.experiments.held(body["experiment_id"])
        else:
            experiment = world.experiments.default()
        namespace = experiment["namespace"] or world.namespace
        world.access.check(user, "create", "jobs", namespace)
        concurrency = int(body.get("max_concurrency") or 0)
        if not 1 <= concurrency <= 10:
            raise Refused(
                3, f"Max concurrency of a recurring run must be at least 1 and at most 10. Received {concurrency}"
            )
        trigger = body.get("trigger") or {}
        self._check(trigger)
        spec, _, reference = world.runs._source(body)
        check_parameters(spec, body.get("runtime_config", {}).get("parameters") or {})
        suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
        job: Json = {
            "recurring_run_id": str(uuid.uuid4()),
            "display_name": name,
            "description": body.get("description", ""),
            "runtime_config": body.get("runtime_config", {}),
            "service_account": body.get("service_account") or "pipeline-runner",
            "max_concurrency": concurrency,
            "trigger": trigger,
            "mode": "DISABLE" if body.get("mode") == "DISABLE" else "ENABLE",
            "status": "DISABLED" if body.get("mode") == "DISABLE" else "ENABLED",
            "no_catchup": bool(body.get("no_catchup")),
            "created_at": now(),
            "updated_at": now(),
            "namespace": namespace,
            "experiment_id": experiment["experiment_id"],
            "_swf": re.sub(r"[^a-z0-9-]", "", name.lower())[:40] + suffix,
            "_fired": 0,
            "_spec": spec,
            # Only a run that the API itself makes shows at once: of a pipeline's latest version.
            "_late": "pipeline_version_id" in (body.get("pipeline_version_reference") or {"pipeline_version_id": ""}),
        }
        job |= {"pipeline_version_reference": reference} if reference else {"pipeline_spec": spec}
        self.all[job["recurring_run_id"]] = job
        return public(job)

    def _check(self, trigger: Json) -> None:
        if "cron_schedule" in trigger:
            try:
                Schedule(trigger["cron_schedule"].get("cron", ""))
            except ValueError as error:
                raise Refused(
                    3,
                    "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). "
                    f"Error: {error}",
                ) from error
        elif "periodic_schedule" in trigger:
            interval = int(trigger["periodic_schedule"].get("interval_second") or 0)
            if interval < 1:
                raise Refused(
                    3, f"Found invalid period schedule interval {interval}. Set at interval to least 1 second"
                )

    def held(self, recurring_run_id: str) -> Json:
        if recurring_run_id not in self.all:
            text = f"Job {recurring_run_id} not found"
            raise Refused(5, f"Failed to get recurring run: ResourceNotFoundError: {text}", text)
        return self.all[recurring_run_id]

    def get(self, recurring_run_id: str, user: Any) -> Json:
        job = self.held(recurring_run_id)
        self._world.access.check(user, "get", "jobs", job["namespace"])
        return public(job)

    def list(self, query: dict[str, str], user: Any) -> Json:
        if self._world.multi_user:
            self._world.access.check(user, "list", "jobs", query.get("namespace", ""))
        found = [{k: v for k, v in job.items() if k[0] != "_"} for job in self.all.values()]
        return page("Job", "recurringRuns", found, query)

    def act(self, recurring_run_id: str, action: str, user: Any) -> Json:
        job = self.held(recurring_run_id)
        self._world.access.check(user, action, "jobs", job["namespace"])
        job |= {"mode": action.upper(), "status": f"{action.upper()}D", "updated_at": now()}
        return {}

    def delete(self, recurring_run_id: str, user: Any) -> Json:
        job = self.held(recurring_run_id)
        self._world.access.check(user, "delete", "jobs", job["namespace"])
        del self.all[recurring_run_id]
        return {}

    # Firing

    def next_trigger(self, recurring_run_id: str, at: float) -> str:
        trigger, after = self.held(recurring_run_id)["trigger"], datetime.fromtimestamp(at, UTC)
        if "cron_schedule" not in trigger:
            seconds = int(trigger["periodic_schedule"]["interval_second"])
            return datetime.fromtimestamp(at + seconds, UTC).isoformat()
        return Schedule(trigger["cron_schedule"]["cron"]).next(after).isoformat()

    def fire(self, recurring_run_id: str) -> Json:
        """One trigger. The run shows at once only where the API itself makes it; else when it is reported."""
        job = self.held(recurring_run_id)
        job["_fired"] += 1
        name = f"{job['_swf']}-{job['_fired']}-{zlib.crc32(repr(job).encode())}"
        if not job["_late"]:
            body = {
                "display_name": name,
                "recurring_run_id": recurring_run_id,
                "experiment_id": job["experiment_id"],
                "pipeline_version_reference": {"pipeline_id": job["pipeline_version_reference"]["pipeline_id"]},
            }
            run = self._world.runs.create(body, ("system", ""))
            return {"name": name, "run_id": run["run_id"]}
        run_id = str(uuid.uuid4())
        workflow = self._world.workflows.create(job["namespace"], run_id, name, False, job)
        self._world.workflows.change(workflow, labels={OWNER: job["_swf"]})
        return {"name": name, "run_id": run_id}

    def appear(self, workflow: Json) -> Json | None:
        """The run of a Workflow that a ScheduledWorkflow made, at its first report; none for any other Workflow."""
        labels = workflow["metadata"]["labels"]
        job = next((each for each in self.all.values() if each["_swf"] == labels.get(OWNER, "-")), None)
        if job is None:
            return None
        run_id = labels[RUN_LABEL]
        body = {
            "display_name": workflow["metadata"]["name"],
            "recurring_run_id": job["recurring_run_id"],
            "runtime_config": job["runtime_config"],
        }
        experiment = self._world.experiments.held(job["experiment_id"])
        self._world.runs._store(run_id, body, experiment, (job["_spec"], {}, {}), workflow)
        return self._world.runs.all[run_id]


def public(job: Json) -> Json:
    return shown({name: value for name, value in job.items() if name[0] != "_"})
