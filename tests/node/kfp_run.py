"""One of KFP's runs as what executes it sees it: the Job of each component, and what KFP's launcher takes from it."""

from __future__ import annotations

import json
from typing import Any

from kfp_graph import Graph, Outcome, Task

Json = dict[str, Any]
RUN_LABEL, TASK_ANNOTATION = "pipeline/runid", "trimtab.test/task"
NODE_ANNOTATION = "workflows.argoproj.io/node-name"  # as Argo names what it executes
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

    def outcome(self, output: Json) -> Outcome:
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


def resources(given: Json) -> Json:
    """KFP's words in a Pod's."""
    found: Json = {}
    for section in ("requests", "limits"):
        for name in ("cpu", "memory"):
            word = f"resource{name.capitalize()}{section.removesuffix('s').capitalize()}"
            if word in given:
                found.setdefault(section, {})[name] = given[word]
    return found
