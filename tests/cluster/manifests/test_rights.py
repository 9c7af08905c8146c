"""What processes seldom do, under the service accounts of the manifests; the rest is done by other tests here."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from accounts import PROCESSES, granted, problems
from control_plane import Asked, asked

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kfp_workflows import RUN_LABEL, STEP_ANNOTATION, WORKFLOW, Workflows
from trimtab.adapters.kubernetes.kinds import JOB, MODEL, POD, Kind
from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.jobs import Jobs, Task, job_name
from trimtab.app.cluster.resources import model_of, spec_text

ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
SPEC = {
    "data": {
        "source": "s3://landing/in/",
        "format": "csv",
        "timestamp": "ts",
        "target": "count",
        "schema": {"heat": {"type": "float"}, "count": {"type": "float"}},
    },
    "training": {"estimator": "mine:Ridge", "image": "registry.example/mine@sha256:" + "a" * 64},
    "evaluation": {"primary": "mean_absolute_error"},
}


def until(look: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(("process", "task"), [("listener", "intake"), ("monitor", "monitor")])
def test_a_job_in_a_models_image_is_made_and_gives_way_to_the_next(
    cluster: Any, accounts: Any, namespace: str, pods: Any, process: str, task: Task
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trimtab-model"}}
    cluster.api.create(ACCOUNT, account, namespace)
    meta = {"name": "mine", "namespace": namespace}
    made = cluster.api.create(
        MODEL, {"apiVersion": MODEL.api_version, "kind": MODEL.name, "metadata": meta, "spec": SPEC}
    )
    model = model_of(made)
    listed = Listed((namespace, "mine"), model, spec_text(model), True, "", made)
    jobs, name = Jobs(accounts.api(process), ClusterSettings("state")), job_name(listed, task)

    def standing() -> str:
        assert jobs.ensure(listed, task, "s3://state/spec.yaml") == ""
        found = cluster.api.find(JOB, namespace, name)
        return str(found["metadata"]["uid"]) if found else ""

    first = until(standing)
    pods.finish(namespace, name)
    until(lambda: standing() not in ("", first))


def test_a_run_is_ended_and_its_log_read(cluster: Any, accounts: Any, namespace: str) -> None:
    cluster.install(Path(__file__).parents[1] / "kfp" / "crds")
    run_id = str(uuid.uuid4())
    meta = {"name": "ct-x1", "namespace": namespace, "labels": {RUN_LABEL: run_id}}
    body = {"apiVersion": WORKFLOW.api_version, "kind": WORKFLOW.name, "metadata": meta, "spec": {}}
    cluster.api.create(WORKFLOW, body)
    step = {**meta, "annotations": {STEP_ANNOTATION: "ct-x1.root.train.executor"}}
    container = {"name": "main", "image": "trimtab/pipeline:test"}
    cluster.api.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": step, "spec": {"containers": [container]}})
    workflows = Workflows(accounts.api("controller"), namespace)
    workflows.end(run_id)
    assert cluster.api.get(WORKFLOW, namespace, "ct-x1")["spec"] == {"activeDeadlineSeconds": 0}
    assert workflows.logs(run_id, 20) == []  # it has not started; whether the log may be read is what is asked here


# The proof itself


@pytest.fixture
def told(tmp_path: Path) -> dict[str, list[list[Any]]]:
    """What workers leave where each right was used."""
    return {process: [[verb, resource, "", True] for verb, resource in granted(process)] for process in PROCESSES}


def proved(folder: Path, told: dict[str, list[list[Any]]]) -> list[str]:
    for number, process in enumerate(told):
        (folder / f"{number}.json").write_text(json.dumps({process: told[process]}))
    return list(problems(folder))


def test_rights_are_proved_by_what_all_workers_did_together(tmp_path: Path, told: dict[str, list[list[Any]]]) -> None:
    assert proved(tmp_path, told) == []


@pytest.mark.parametrize(
    ("process", "verb", "resource"),
    [("controller", "patch", "argoproj.io/workflows"), ("controller", "terminate", "pipelines.kubeflow.org/runs")],
)
def test_a_right_that_nobody_used_is_told(
    tmp_path: Path, told: dict[str, list[list[Any]]], process: str, verb: str, resource: str
) -> None:
    told[process].remove([verb, resource, "", True])
    assert proved(tmp_path, told) == [f"{process}: may {verb} {resource}, and never did"]


def test_what_was_denied_is_told(tmp_path: Path, told: dict[str, list[list[Any]]]) -> None:
    told["monitor"].append(["get", "secrets", "", False])
    assert proved(tmp_path, told) == ["monitor: was denied get secrets"]


def test_what_was_denied_is_told_though_it_is_granted_somewhere(
    tmp_path: Path, told: dict[str, list[list[Any]]]
) -> None:
    told["controller"].append(["get", "coordination.k8s.io/leases", "shop", False])
    assert proved(tmp_path, told) == ["controller: was denied get coordination.k8s.io/leases in shop"]


def test_nothing_to_compare_with_is_no_proof(tmp_path: Path) -> None:
    assert list(problems(tmp_path)) != []


# What the audit log says


def logged(verb: str = "get", allowed: bool = False, at: str = "2026-05-02T00:54:06.655000Z") -> dict[str, Any]:
    return {
        "verb": verb,
        "user": {"username": "system:serviceaccount:trimtab-x:trimtab-monitor"},
        "objectRef": {"apiGroup": "batch", "resource": "jobs", "namespace": "shop"},
        "requestReceivedTimestamp": at,
        "annotations": {"authorization.k8s.io/decision": "allow" if allowed else "forbid"},
    }


def test_a_denial_counts_unless_the_api_server_had_not_read_its_roles() -> None:
    start = datetime(2026, 5, 2, 0, 54, 6, tzinfo=UTC).timestamp()
    denied = {Asked("get", "batch/jobs", "shop", False)}
    assert asked([logged()], "trimtab-monitor") == denied
    assert asked([logged()], "trimtab-monitor", [(start, start + 1)]) == set()
    assert asked([logged()], "trimtab-monitor", [(start - 5, start), (start + 1, start + 5)]) == denied
    assert asked([logged(allowed=True)], "trimtab-monitor", [(start, start + 1)]) != set()
    assert asked([logged()], "trimtab-listener") == set()


@pytest.mark.parametrize("allowed", [True, False])
def test_what_kfp_asks_about_an_account_counts_as_asked_by_it(allowed: bool) -> None:
    about = {"group": "pipelines.kubeflow.org", "resource": "runs", "verb": "create", "namespace": "shop"}
    review = {
        "verb": "create",
        "user": {"username": "kfp"},
        "objectRef": {"apiGroup": "authorization.k8s.io", "resource": "subjectaccessreviews"},
        "requestReceivedTimestamp": "2026-05-02T00:54:06.655000Z",
        "requestObject": {"spec": {"user": "system:serviceaccount:a:trimtab-controller", "resourceAttributes": about}},
        "responseObject": {"status": {"allowed": allowed}},
    }
    found = {Asked("create", "pipelines.kubeflow.org/runs", "shop", allowed)}
    assert asked([review], "trimtab-controller") == found
    assert asked([review], "kfp") == set()
