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
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import httpx
from kfp_graph import Graph, Outcome, Task
from kfp_graph import Path as Place

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import JOB, POD, Kind
from trimtab.core.errors import Conflict, TrimtabError

Json = dict[str, Any]
WORKFLOW = Kind("argoproj.io", "v1alpha1", "Workflow", "workflows")
RUN_LABEL, TASK_ANNOTATION = "pipeline/runid", "trimtab.test/task"
NODE_ANNOTATION = "workflows.argoproj.io/node-name"  # as Argo names what it executes
FINAL = ("Succeeded", "Failed", "Error")
LOOK_SECONDS = 0.5
ROOT = "s3://mlpipeline/v2/artifacts"
OUTPUTS = "/tmp/kfp_outputs/output_metadata.json"
MARK = "trimtab-test-output: "
# Where KFP's compiler gives each step an empty folder to write to.
SCRATCH = ("/gcs", "/minio", "/s3", "/.local", "/.cache", "/.config")
PROGRAM = 'mkdir -p /tmp/kfp_outputs; "$@"; echo; if [ -e "$0" ]; then printf "%s" "$MARK"; cat "$0"; echo; fi'


class Run:
    """One run: what it executes, and what it has executed so far."""

    def __init__(self, workflow: Json, run: Json, jobs: list[Json]) -> None:
        self.workflow = workflow
        self.id = str(run["run_id"])
        source = run["pipeline_spec"]
        self.spec = source.get("pipeline_spec", source)
        self.executors: Json = self.spec["deploymentSpec"]["executors"]
        kubernetes = source.get("platform_spec", {}).get("platforms", {}).get("kubernetes", {})
        self.settings: Json = kubernetes.get("deploymentSpec", {}).get("executors", {})
        self.graph = Graph(self.spec, run.get("runtime_config", {}).get("parameters", {}))
        self.account = workflow["spec"]["serviceAccountName"]
        self.jobs = {tuple(json.loads(job["metadata"]["annotations"][TASK_ANNOTATION])): job for job in jobs}

    @property
    def root(self) -> str:
        return f"{ROOT}/{self.spec['pipelineInfo']['name']}/{self.id}"

    def executor_input(self, task: Task) -> Json:
        """As KFP's driver makes it and its launcher completes it."""
        outputs = task.component.get("outputDefinitions", {})
        artifacts = {
            name: {"artifacts": [self._artifact(task, name, each["artifactType"])]}
            for name, each in outputs.get("artifacts", {}).items()
        }
        files = {name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in outputs.get("parameters", {})}
        return {
            "inputs": {"parameterValues": task.inputs.parameters, "artifacts": task.inputs.artifacts},
            "outputs": {"parameters": files, "artifacts": artifacts, "outputFile": OUTPUTS},
        }

    def _artifact(self, task: Task, name: str, kind: Json) -> Json:
        return {"name": name, "type": kind, "uri": f"{self.root}/{task.name}/{name}", "metadata": {}}

    def job(self, task: Task) -> Json:
        container = self.executors[task.executor]["container"]
        given = json.dumps(self.executor_input(task))
        words = [task.filled(each).replace("{{$}}", given) for each in (*container["command"], *container["args"])]
        main = {
            "name": "main",
            "image": task.filled(container["image"]),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-ec", PROGRAM, OUTPUTS],
            "args": [each.replace("$(", "$$(") for each in words],  # $(NAME) is Kubernetes' own
            "env": [{"name": "MARK", "value": MARK}, *container.get("env", ()), *self._secrets(task.executor)],
            "resources": resources(container.get("resources", {})),
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "scratch", "mountPath": each, "subPath": each[1:]} for each in SCRATCH],
        }
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": self.account,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [main],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        }
        meta = self.workflow["metadata"]
        labels = {RUN_LABEL: self.id}
        node = ".".join((meta["name"], "root", *task.path, "executor"))
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": f"{meta['name']}-{task.name}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": {TASK_ANNOTATION: json.dumps(task.path)},
                "ownerReferences": [
                    {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": meta["name"], "uid": meta["uid"]}
                ],
            },
            "spec": {
                "backoffLimit": 0,
                "template": {"metadata": {"labels": labels, "annotations": {NODE_ANNOTATION: node}}, "spec": pod},
            },
        }

    def _secrets(self, executor: str) -> list[Json]:
        return [
            {
                "name": each["envVar"],
                "valueFrom": {
                    "secretKeyRef": {
                        "name": secret["secretName"],
                        "key": each["secretKey"],
                        "optional": secret.get("optional", False),
                    }
                },
            }
            for secret in self.settings.get(executor, {}).get("secretAsEnv", ())
            for each in secret["keyToEnv"]
        ]

    def outcome(self, place: Place, output: Json) -> Outcome:
        """What a component that ended well hands on. Raises ValueError where KFP's launcher would refuse it."""
        artifacts = output.get("artifacts", {})
        for name, each in artifacts.items():
            for artifact in each["artifacts"]:
                if not artifact["uri"].startswith(f"{self.root}/"):
                    raise ValueError(
                        f"failed to upload output artifact {name!r}: "
                        f"URI {artifact['uri']!r} does not have expected bucket prefix {self.root!r}"
                    )
        return Outcome(True, output.get("parameterValues", {}), artifacts)


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
                outcomes[place] = self._outcome(run, place, job)
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

    def _outcome(self, run: Run, place: Place, job: Json) -> Outcome | None:
        meta, status = job["metadata"], job.get("status", {})
        conditions = {each["type"] for each in status.get("conditions", ()) if each["status"] == "True"}
        if "Failed" in conditions:
            return Outcome(False)
        if "Complete" not in conditions:
            return None
        if meta["uid"] not in self._outcomes:
            self._outcomes[meta["uid"]] = run.outcome(place, self._output(meta["namespace"], meta["name"]))
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


def resources(given: Json) -> Json:
    """KFP's words in a Pod's."""
    found: Json = {}
    for section in ("requests", "limits"):
        for name in ("cpu", "memory"):
            word = f"resource{name.capitalize()}{section.removesuffix('s').capitalize()}"
            if word in given:
                found.setdefault(section, {})[name] = given[word]
    return found


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
    sys.exit(main())
