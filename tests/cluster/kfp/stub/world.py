"""Everything that the server holds, and what tests do to it."""

from __future__ import annotations

import threading
import time
from typing import Any

from access import Access
from experiments import Experiments
from messages import Json
from recurring import Recurring
from refusals import Lost
from reports import Reports
from runs import Runs
from workflows import Workflows

from pipelines import Pipelines


class World:
    """One KFP installation; `lock` is its database."""

    def __init__(self, namespace: str, multi_user: bool, kube: Any = None, store_kubernetes: bool = False) -> None:
        self.namespace = namespace
        self.multi_user = multi_user
        self.store_kubernetes = store_kubernetes
        self.kube = kube
        self.lock = threading.RLock()
        self.faults: list[Json] = []  # of the next POSTs of runs, in order
        self.making = 0  # requests to make a run that are on their way
        self.posts: dict[str, int] = {}  # requests to make a run that had an effect or were refused, by run id
        self.access = Access(self)
        self.workflows = Workflows(kube)
        self.experiments = Experiments(self)
        self.pipelines = Pipelines(self)
        self.runs = Runs(self)
        self.recurring = Recurring(self)
        self.reports = Reports(self)

    def fresh(self) -> World:
        """The same installation, new."""
        return World(self.namespace, self.multi_user, self.kube, self.store_kubernetes)

    def next_fault(self) -> Json:
        with self.lock:
            return self.faults.pop(0) if self.faults else {}

    def create_run(self, body: Json, user: str) -> Json:
        """
        A POST of a run, with what a test does to it: `late` (effect at once, answer after `seconds`), `slow` (both
        after), `lost-before`, `lost-after`, `500-before`, `500-after` (the Workflow is made, the run not stored).
        """
        with self.lock:
            self.making += 1
        try:
            return self._create_run(body, user)
        finally:
            with self.lock:
                self.making -= 1

    def _create_run(self, body: Json, user: str) -> Json:
        fault = self.next_fault()
        kind, seconds = fault.get("kind", ""), float(fault.get("seconds", 0))
        if kind == "lost-before":
            raise Lost
        if kind == "slow":
            time.sleep(seconds)
        run = self.runs.create(body, user, fail={"500-before": "early", "500-after": "late"}.get(kind, ""))
        if kind == "late":
            time.sleep(seconds)
        if kind == "lost-after":
            time.sleep(seconds)
            raise Lost
        return run

    def steer(self, what: str, body: Json) -> Any:
        """What tests do: `POST /_stub/WHAT`."""
        if what == "faults":
            self.faults = list(body["faults"])
        elif what == "report":
            return self.reports.move(body)
        elif what == "phase":  # the Workflow only: nobody reports it
            self.reports.phase(self.reports.workflow_of(body), body["phase"], body.get("message", ""))
        elif what == "forget-workflows":
            for workflow in self.workflows.of(body["run_id"]):
                self.workflows.delete(workflow)
        elif what == "fire":
            return self.recurring.fire(body["recurring_run_id"])
        elif what == "next":
            return {"next": self.recurring.next_trigger(body["recurring_run_id"], float(body["at"]))}
        elif what == "tokens":
            self.access.tokens = dict(body["tokens"])
        elif what == "grants":
            self.access.grants = [tuple(each) for each in body["grants"]]
        elif what == "counts":
            with self.lock:
                return {
                    "runs": len(self.runs.all),
                    "workflows": dict(self.workflows.made),
                    "posts": dict(self.posts),
                    "making": self.making,
                }
        else:
            return None
        return {}
