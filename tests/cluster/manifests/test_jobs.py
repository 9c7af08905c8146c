"""Jobs under the manifests' service accounts: those that trimtab makes are taken, others are refused in a sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from accounts import POLICY, PROCESSES, policy

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.kinds import JOB, MODEL
from trimtab.app.cluster.restricted_job import Work, restricted_job
from trimtab.core.errors import Invalid

Object = dict[str, Any]
Edit = Callable[[Object], Any]
OWNER = {
    "apiVersion": MODEL.api_version,
    "kind": MODEL.name,
    "metadata": {"name": "mine", "uid": "5f0e8f3c-3f8e-4b0a-9f5e-2f1f6f0c9a11"},
}
WORK = Work(
    "check", ("trimtab.app.cluster.check", "s3://state/spec.yaml"), {}, "256Mi", 300, 600, {"OMP_NUM_THREADS": "1"}
)


def job(namespace: str, **settings: Any) -> Object:
    """As every Job of trimtab is made."""
    owner = {**OWNER, "metadata": {**OWNER["metadata"], "namespace": namespace}}
    found = ClusterSettings("state", trusted_types=("mine.Ridge",), **settings)
    return restricted_job("trimtab-check-mine", owner, "registry.example/mine:1", WORK, found)


def pod(body: Object) -> Object:
    found: Object = body["spec"]["template"]["spec"]
    return found


def container(body: Object) -> Object:
    found: Object = pod(body)["containers"][0]
    return found


@pytest.mark.parametrize("process", PROCESSES)
def test_trimtabs_own_jobs_are_taken(accounts: Any, namespace: str, process: str) -> None:
    made = accounts.api(process).create(JOB, job(namespace))
    assert made["spec"]["template"]["spec"]["serviceAccountName"] == "trimtab-model"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_job_under_another_account_is_refused_with_what_was_found_and_needed(
    accounts: Any, namespace: str, process: str
) -> None:
    with pytest.raises(Invalid) as refused:
        accounts.api(process).create(JOB, job(namespace, model_service_account="cluster-admin"))
    assert "found a Job of trimtab under service account cluster-admin; needed trimtab-model" in refused.value.message
    assert refused.value.hint


# Each takes a Job to where it must not be; the refusal says this.
REFUSED: dict[str, tuple[Edit, str]] = {
    "the namespace's own account": (
        lambda job: pod(job).pop("serviceAccountName"),
        "account default; needed trimtab-m",
    ),
    "the account by its old name": (
        lambda job: (pod(job).pop("serviceAccountName"), pod(job).update(serviceAccount="admin")),
        "under service account admin",
    ),
    "no owner": (lambda job: job["metadata"].pop("ownerReferences"), "with 0 owners"),
    "another owner": (lambda job: job["metadata"]["ownerReferences"][0].update(kind="Pod"), "1 owners, a Pod"),
    "two owners": (
        lambda job: job["metadata"]["ownerReferences"].append(
            {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": False}
        ),
        "with 2 owners; needed one, a ContinuousModel",
    ),
    "a token": (lambda job: pod(job).update(automountServiceAccountToken=True), "mounts a token"),
    "the account's own choice of a token": (lambda job: pod(job).pop("automountServiceAccountToken"), "mounts a token"),
    "the host's files": (
        lambda job: pod(job)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "a volume other than emptyDir",
    ),
    "a Secret as files": (
        lambda job: pod(job)["volumes"].append({"name": "keys", "secret": {"secretName": "others"}}),
        "a volume other than emptyDir",
    ),
    "a Secret as a variable": (
        lambda job: container(job)["env"].append(
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "others", "key": "key"}}}
        ),
        "with variables from elsewhere",
    ),
    "another Secret's variables": (
        lambda job: container(job)["envFrom"].append({"secretRef": {"name": "others"}}),
        "those of the Secret trimtab-s3",
    ),
    "a second container": (
        lambda job: pod(job)["containers"].append({**container(job), "name": "second"}),
        "with several containers",
    ),
    "a container before": (
        lambda job: pod(job).update(initContainers=[{**container(job), "name": "first"}]),
        "with several containers",
    ),
    "the host's network": (lambda job: pod(job).update(hostNetwork=True), "not restricted"),
    "the host's processes": (lambda job: pod(job).update(hostPID=True), "not restricted"),
    "root": (lambda job: pod(job)["securityContext"].update(runAsUser=0, runAsNonRoot=False), "not restricted"),
    "root in the container": (lambda job: container(job)["securityContext"].update(runAsUser=0), "not restricted"),
    "no profile": (lambda job: pod(job)["securityContext"].pop("seccompProfile"), "not restricted"),
    "a profile of the container's own": (
        lambda job: container(job)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "not restricted",
    ),
    "no security settings": (lambda job: container(job).pop("securityContext"), "not restricted"),
    "escalation": (lambda job: container(job)["securityContext"].pop("allowPrivilegeEscalation"), "not restricted"),
    "a root that can be written": (
        lambda job: container(job)["securityContext"].update(readOnlyRootFilesystem=False),
        "not restricted",
    ),
    "a capability": (
        lambda job: container(job)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "not restricted",
    ),
    "a port": (lambda job: container(job).update(ports=[{"containerPort": 80, "hostPort": 80}]), "not restricted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_job_with_more_than_a_model_needs_is_refused(accounts: Any, namespace: str, what: str) -> None:
    edit, said = REFUSED[what]
    body = copy.deepcopy(job(namespace))
    edit(body)
    with pytest.raises(Invalid) as refused:
        accounts.api("monitor").create(JOB, body)
    assert "found a Job of trimtab" in refused.value.message
    assert said in refused.value.message


def test_a_job_of_anybody_else_is_not_touched(cluster: Any, namespace: str) -> None:
    cluster.api.create(JOB, job(namespace, model_service_account="another"))
    cluster.kubectl("create", "serviceaccount", "trimtab-listener-2", "-n", namespace, check=True)
    role = ("create", "role", "jobs", "-n", namespace, "--verb=create", "--resource=jobs.batch")
    cluster.kubectl(*role, check=True)
    bound = (f"--serviceaccount={namespace}:trimtab-listener-2", "--role=jobs", "-n", namespace)
    cluster.kubectl("create", "rolebinding", "jobs", *bound, check=True)
    body = {**job(namespace, model_service_account="another"), "spec": {"template": {"spec": PLAIN}}}
    body["metadata"] = {"name": "theirs", "namespace": namespace}
    who = f"--as=system:serviceaccount:{namespace}:trimtab-listener-2"
    done = cluster.kubectl("create", who, "-f", "-", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr


PLAIN = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/theirs:1"}]}


# What stands in the manifests


def test_the_policy_names_what_the_settings_name_unless_told_otherwise(rendered: dict[str, list[Object]]) -> None:
    for folder in ("base", "overlays/kind", "overlays/production", "one-namespace"):
        found = {each["metadata"]["name"]: each for each in rendered[folder] if each["kind"] == POLICY}
        variables = {each["name"]: each["expression"] for each in found["trimtab-jobs"]["spec"]["variables"]}
        settings = next(
            each["data"] for each in rendered[folder] if each["metadata"]["name"].startswith("trimtab-settings")
        )
        account = settings.get("TRIMTAB_MODEL_SERVICE_ACCOUNT", ClusterSettings.model_service_account)
        secret = settings.get("TRIMTAB_S3_SECRET", ClusterSettings.s3_secret)
        assert (variables["account"], variables["secret"]) == (f"'{account}'", f"'{secret}'"), folder


def test_kustomize_leaves_the_policy_as_it_stands(rendered: dict[str, list[Object]]) -> None:
    for folder in ("base", "overlays/kind", "overlays/production", "one-namespace"):
        found = [each for each in rendered[folder] if each["kind"].startswith(POLICY)]
        assert [(each["metadata"]["name"], each["metadata"].get("namespace")) for each in found] == [
            ("trimtab-jobs", None),
            ("trimtab-jobs", None),
        ]
        assert [each["spec"] for each in found] == [each["spec"] for each in policy()]


def test_the_policy_has_no_mistake_that_the_api_server_finds(cluster: Any, accounts: Any) -> None:
    """An expression of a type that cannot be would let nothing through, and says so in the status."""
    (found,) = yaml.safe_load_all(
        cluster.kubectl("get", POLICY, accounts.named("trimtab-jobs"), "-o", "yaml", check=True).stdout
    )
    checked = found.get("status", {}).get("typeChecking", {})
    assert checked.get("expressionWarnings", []) == []
