"""
The service accounts of the manifests, with their very rights, on the tests' API server; and whether all were used.

Tests let the processes work under these accounts. What was asked under each stands in the API server's audit log; each
worker leaves it in the folder TRIMTAB_TEST_RIGHTS, and when all have ended, `python tests/cluster/accounts.py FOLDER`
compares it with what the manifests grant: every right was used, and nothing was denied. What Jobs may be stands in the
way of every test alike.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

PROCESSES = ("controller", "listener", "monitor")
MANIFESTS = Path(__file__).parents[2] / "manifests" / "base"
FOLDER = "TRIMTAB_TEST_RIGHTS"
REVIEWS = "authorization.k8s.io/v1"
POLICY = "ValidatingAdmissionPolicy"
READ_SECONDS = 60.0  # for the API server to read what was made just now
Right = tuple[str, str]  # verb, and resource with group and subresource
Object = dict[str, Any]


def objects(process: str) -> list[Object]:
    """Service account, roles and bindings, as the manifests have them."""
    return list(yaml.safe_load_all((MANIFESTS / process / "rbac.yaml").read_text()))


def policy() -> list[Object]:
    """What Jobs of these accounts may be: the policy, and what puts it in force."""
    return list(yaml.safe_load_all((MANIFESTS / "jobs.yaml").read_text()))


def granted(process: str) -> set[Right]:
    """Every verb on every resource."""
    rules = [
        (rule, group) for each in objects(process) for rule in each.get("rules", ()) for group in rule["apiGroups"]
    ]
    return {
        (verb, _named(group, resource))
        for rule, group in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _named(group: str, resource: str) -> str:
    return "/".join(part for part in (group, resource) if part)


class Accounts:
    """
    The three accounts in a namespace of this worker's, bound for the whole cluster.

    Attributes:
        system: That namespace.
    """

    def __init__(self, cluster: Any, suffix: str) -> None:
        self._cluster, self._suffix = cluster, suffix
        self.system = f"trimtab-{suffix}"
        self._apis: dict[str, Any] = {}
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.system}})
        for process in PROCESSES:
            for each in objects(process):
                self._apply(self._own(each, self.system))
        for each in policy():
            self._apply(self._own(each, ""))
        for process in PROCESSES:
            self._wait_until_read(process, self.system)
        until(self._jobs_are_judged, "ValidatingAdmissionPolicy trimtab-jobs does not count")

    def kubeconfig(self, process: str) -> Path:
        found: Path = self._cluster.kubeconfig_as(self.system, f"trimtab-{process}")
        return found

    def api(self, process: str) -> Any:
        """The API server as that process reaches it."""
        if process not in self._apis:
            self._apis[process] = self._cluster.api_as(self.system, f"trimtab-{process}")
        return self._apis[process]

    def named(self, name: str) -> str:
        """What an object of the whole cluster is called here."""
        return f"{name}-{self._suffix}"

    def leads_in(self, namespace: str) -> None:
        """A controller whose pod stands there holds its Lease there."""
        for each in objects("controller"):
            if each["kind"] in ("Role", "RoleBinding"):
                self._apply(self._own(each, namespace))
        self._wait_until_read("controller", namespace)

    def remove(self) -> None:
        names = [self.named(f"trimtab-{process}") for process in PROCESSES]
        for kind in ("clusterrolebinding", "clusterrole"):
            self._cluster.kubectl("delete", kind, *names, "--ignore-not-found", "--wait=false")
        for each in policy():
            self._cluster.kubectl(
                "delete", each["kind"], self.named(each["metadata"]["name"]), "--ignore-not-found", "--wait=false"
            )
        self._cluster.kubectl("delete", "namespace", self.system, "--ignore-not-found", "--wait=false")

    def asked(self) -> dict[str, list[list[Any]]]:
        """By process: verb, resource, namespace and whether it was allowed."""
        found = {}
        for process in PROCESSES:
            asked = self._cluster.asked(f"trimtab-{process}")
            # Where a right was used says nothing; where one was denied, much.
            each = {(one.verb, one.resource, "" if one.allowed else one.namespace, one.allowed) for one in asked}
            found[process] = [list(one) for one in sorted(each)]
        return found

    def _wait_until_read(self, process: str, namespace: str) -> None:
        """Until the API server knows all that the account may: what it denies from then on, it denies for good."""
        for each in objects(process):
            for rule in each.get("rules", ()):
                at = namespace if each["kind"] == "Role" else ""
                until(partial(self._may, process, rule, at), f"the role of {process} is not read: {rule}")

    def _may(self, process: str, rule: Object, namespace: str) -> bool:
        """Asked as the administrator, in its name: a question of its own would stand among what it asked for."""
        resource, _, subresource = rule["resources"][-1].partition("/")
        about = {"group": rule["apiGroups"][0], "resource": resource, "subresource": subresource}
        about |= {"verb": rule["verbs"][-1], "name": rule.get("resourceNames", [""])[0], "namespace": namespace}
        body = {"apiVersion": REVIEWS, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": about}}
        how = ("--raw", f"/apis/{REVIEWS}/selfsubjectaccessreviews", "-f", "-", self._as(process))
        done = self._cluster.kubectl("create", *how, stdin=json.dumps(body))
        return bool(done.returncode == 0 and json.loads(done.stdout)["status"]["allowed"])

    def _as(self, process: str) -> str:
        return f"--as=system:serviceaccount:{self.system}:trimtab-{process}"

    def _jobs_are_judged(self) -> bool:
        """Whether a Job is refused that no account of trimtab may make; asked as the administrator, in its name."""
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "any"}]}
        meta = {"name": "probe", "namespace": self.system}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": pod}}}
        how = ("--dry-run=server", self._as("controller"), "-f", "-")
        done = self._cluster.kubectl("create", *how, stdin=json.dumps(body))
        return "found a Job of trimtab" in done.stderr

    def _own(self, body: Object, namespace: str) -> Object:
        """With names that are this worker's alone: roles of the cluster have no namespace."""
        meta = dict(body["metadata"])
        body = {**body, "metadata": meta}
        if body["kind"].startswith(("ClusterRole", POLICY)):
            meta["name"] = self.named(meta["name"])
        else:
            meta["namespace"] = namespace
        if "policyName" in body.get("spec", {}):
            body["spec"] = {**body["spec"], "policyName": self.named(body["spec"]["policyName"])}
        if "roleRef" in body:
            body["subjects"] = [{**each, "namespace": self.system} for each in body["subjects"]]
            if body["roleRef"]["kind"] == "ClusterRole":
                body["roleRef"] = {**body["roleRef"], "name": self.named(body["roleRef"]["name"])}
        return body

    def _apply(self, body: Object) -> None:
        done = self._cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
        assert done.returncode == 0, done.stderr


def problems(folder: Path) -> Iterator[str]:
    """What the workers' files tell against the manifests."""
    files = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    if not files:
        yield f"found nothing in {folder}: no worker has left what was asked"
        return
    for process in PROCESSES:
        asked = {tuple(each) for file in files for each in file.get(process, ())}
        used = {(verb, resource) for verb, resource, _, allowed in asked if allowed}
        for verb, resource in sorted(granted(process) - used):
            yield f"{process}: may {verb} {resource}, and never did"
        # Whether it is granted elsewhere is no excuse: a role of one namespace is a right there alone.
        for verb, resource, namespace, allowed in sorted(asked):
            if not allowed:
                yield f"{process}: was denied {verb} {resource}" + (f" in {namespace}" if namespace else "")


def until(found: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READ_SECONDS
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def main() -> int:
    found = list(problems(Path(sys.argv[1])))
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        rights = ", ".join(f"{process} {len(granted(process))}" for process in PROCESSES)
        print(f"rights: none was denied ({rights}), and every one was used")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
