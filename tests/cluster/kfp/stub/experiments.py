"""Experiments: unique names, archived with their runs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from listing import page
from messages import Json, now, shown
from refusals import Refused

if TYPE_CHECKING:
    from world import World


class Experiments:
    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Json] = {}

    def create(self, body: Json, user: Any) -> Json:
        world, name = self._world, body.get("display_name", "")
        if not name:
            raise Refused(3, "Experiment name is empty. Please specify a valid experiment name")
        namespace = body.get("namespace", "") if world.multi_user else ""
        if world.multi_user and not namespace:
            raise Refused(3, "An experiment cannot have an empty namespace in multi-user mode")
        world.access.check(user, "create", "experiments", namespace)
        with world.lock:
            same = (each for each in self.all.values() if each["namespace"] == namespace)
            if any(each["display_name"].lower() == name.lower() for each in same):
                text = f"The name {name} already exists. Please specify a new name"
                raise Refused(6, f"Failed to create a new experiment: Already exist error: {text}", text)
            experiment = {
                "experiment_id": str(uuid.uuid4()),
                "display_name": name,
                "description": body.get("description", ""),
                "created_at": now(),
                "last_run_created_at": "",
                "namespace": namespace,
                "storage_state": "AVAILABLE",
            }
            self.all[experiment["experiment_id"]] = experiment
            return shown(experiment)

    def default(self) -> Json:
        """Where runs without one go, while there is one user."""
        with self._world.lock:
            for each in self.all.values():
                if each["display_name"] == "Default":
                    return each
            return self.all[self.create({"display_name": "Default"}, ("", ""))["experiment_id"]]

    def held(self, experiment_id: str) -> Json:
        if experiment_id not in self.all:
            text = f"Experiment {experiment_id} not found"
            raise Refused(5, f"Failed to get experiment: ResourceNotFoundError: {text}", text)
        return self.all[experiment_id]

    def get(self, experiment_id: str, user: Any) -> Json:
        experiment = self.held(experiment_id)
        self._world.access.check(user, "get", "experiments", experiment["namespace"])
        return shown(experiment)

    def list(self, query: dict[str, str], user: Any) -> Json:
        namespace = query.get("namespace", "")
        if self._world.multi_user:
            if not namespace:
                raise Refused(3, "An experiment cannot have an empty namespace in multi-user mode")
            self._world.access.check(user, "list", "experiments", namespace)
        found = [each for each in self.all.values() if not self._world.multi_user or each["namespace"] == namespace]
        return page("Experiment", "experiments", found, query)

    def act(self, experiment_id: str, action: str, user: Any) -> Json:
        experiment = self.held(experiment_id)
        self._world.access.check(user, action, "experiments", experiment["namespace"])
        state = {"archive": "ARCHIVED", "unarchive": "AVAILABLE"}[action]
        experiment["storage_state"] = state
        if action == "archive":
            for run in self._world.runs.all.values():
                if run["experiment_id"] == experiment_id:
                    run["storage_state"] = state
        return {}

    def delete(self, experiment_id: str, user: Any) -> Json:
        experiment = self.held(experiment_id)
        self._world.access.check(user, "delete", "experiments", experiment["namespace"])
        del self.all[experiment_id]
        return {}
