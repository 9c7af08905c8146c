"""
What executes KFP's runs, in the place of Argo and of KFP's own driver and launcher: each component once, as a Job.

    python kfp_driver.py --kfp http://10.211.0.7:8888 --token-file /tmp/token

It looks for Workflows of KFP's that have not ended, asks KFP for their runs, and starts a Job for each component that
may start now, with the executor's own command and ExecutorInput, the pod's Secrets, account and image as the run says.
What the component put out is read from the end of its pod's log. Started again it goes on: Jobs are named after their
Workflow and task, and nothing else is remembered. It copies no artifacts, but refuses those that KFP's launcher
could not store: an output's address has to stay below the run's pipeline root.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import traceback
from pathlib import Path
from typing import Any

import httpx
from kfp_graph import Outcome
from kfp_run import MARK, RUN_LABEL, Run

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import JOB, POD, Kind
from trimtab.core.errors import Conflict, TrimtabError

Json = dict[str, Any]
WORKFLOW = Kind("argoproj.io", "v1alpha1", "Workflow", "workflows")
FINAL = ("Succeeded", "Failed", "Error")
LOOK_SECONDS = 0.5


class Driver:
    def __init__(self, api: Api, kfp: str, token_file: Path) -> None:
        self._api = api
        self._kfp = kfp
        self._token_file = token_file
        self._runs: dict[str, Json] = {}
        self._outcomes: dict[str, Outcome] = {}  # by Job: what was read once is not read again

    def look(self) -> None:
        """Do what is to be done now, for every run."""
        workflows, _ = self._api.list(WORKFLOW, labels=RUN_LABEL)
        for workflow in workflows:
            if workflow.get("status", {}).get("phase") not in FINAL:
                try:
                    self._lead(workflow)
                except (TrimtabError, httpx.HTTPError) as error:
                    print(f"{workflow['metadata']['name']}: {error}", flush=True)

    def _lead(self, workflow: Json) -> None:
        meta = workflow["metadata"]
        run_id = meta["labels"][RUN_LABEL]
        if run_id not in self._runs:
            token = self._token_file.read_text().strip()
            headers = {"authorization": f"Bearer {token}"}
            answer = httpx.get(f"{self._kfp}/apis/v2beta1/runs/{run_id}", headers=headers, timeout=10)
            if answer.status_code == 404:
                return  # made before its run is stored
            answer.raise_for_status()
            self._runs[run_id] = answer.json()
        jobs, _ = self._api.list(JOB, meta["namespace"], labels=f"{RUN_LABEL}={run_id}")
        mine = [job for job in jobs if job["metadata"]["name"].startswith(f"{meta['name']}-")]
        run = Run(workflow, self._runs[run_id], mine)
        if workflow["spec"].get("activeDeadlineSeconds") == 0:
            self._end(run)
            return
        outcomes, said = {}, ""
        for place, job in run.jobs.items():
            try:
                outcomes[place] = self._outcome(run, job)
            except ValueError as error:
                outcomes[place], said = Outcome(False), f"{place[-1]}: {error}"
        found = run.graph.look(outcomes)
        for task in found.ready:
            try:
                self._api.create(JOB, run.job(task))
                print(f"{meta['name']}: {task.name} is started", flush=True)
            except Conflict:
                pass  # in the moment before this one was killed
        failed = sorted(place[-1] for place, state in found.states.items() if state == "failed" and place in outcomes)
        nodes = {
            f"{meta['name']}-{place[-1]}": {"displayName": place[-1], "phase": found.states[place].capitalize()}
            for place in (*run.jobs, *(task.path for task in found.ready))
        }
        message = said or (f"{', '.join(failed)} failed" if failed else "")
        self._report(workflow, {"phase": found.state.capitalize(), "message": message, "nodes": nodes})

    def _outcome(self, run: Run, job: Json) -> Outcome | None:
        meta, status = job["metadata"], job.get("status", {})
        conditions = {each["type"] for each in status.get("conditions", ()) if each["status"] == "True"}
        if "Failed" in conditions:
            return Outcome(False)
        if "Complete" not in conditions:
            return None
        if meta["uid"] not in self._outcomes:
            self._outcomes[meta["uid"]] = run.outcome(self._output(meta["namespace"], meta["name"]))
        return self._outcomes[meta["uid"]]

    def _output(self, namespace: str, job: str) -> Json:
        """What the component's executor wrote, from the end of its pod's log."""
        pods, _ = self._api.list(POD, namespace, labels=f"batch.kubernetes.io/job-name={job}")
        assert len(pods) == 1, f"{job} has {len(pods)} pods"
        text = str(self._api.raw("GET", POD.path(namespace, pods[0]["metadata"]["name"], "log")))
        lines = [line for line in text.splitlines() if line.startswith(MARK)]
        return dict(json.loads(lines[-1].removeprefix(MARK))) if lines else {}

    def _end(self, run: Run) -> None:
        """As Argo ends what is past its deadline: pods go, the Workflow has failed."""
        for job in run.jobs.values():
            meta = job["metadata"]
            if not job.get("status", {}).get("conditions"):
                self._api.merge(JOB, meta["namespace"], meta["name"], {"spec": {"activeDeadlineSeconds": 1}})
        message = "Step exceeded its deadline"
        self._report(run.workflow, {"phase": "Failed", "message": message})

    def _report(self, workflow: Json, status: Json) -> None:
        meta, before = workflow["metadata"], workflow.get("status", {})
        if any(before.get(name) != value for name, value in status.items()):
            self._api.merge(WORKFLOW, meta["namespace"], meta["name"], {"status": status})
            if status["phase"] in FINAL:
                print(f"{meta['name']}: {status['phase']} {status['message']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Executes the runs of KFP's API server as Jobs.")
    parser.add_argument("--kfp", required=True, help="address of its API server")
    parser.add_argument("--token-file", required=True, type=Path, help="of an account that may read runs there")
    given = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    driver = Driver(Api.connect(), given.kfp, given.token_file)
    print("ready", flush=True)
    while not stopping.wait(LOOK_SECONDS):
        try:
            driver.look()
        except Exception:
            traceback.print_exc()  # the next look may go well


if __name__ == "__main__":
    main()
