"""
The service accounts of the manifests, with their very rights, on the tests' API server; and whether all were used.

Tests let the processes work under these accounts. What was asked under each stands in the API server's audit log; each
worker leaves it in the folder TRIMTAB_TEST_RIGHTS, and when all have ended, `python tests/cluster/accounts.py FOLDER`
compares it with what the manifests grant: every right was used, and nothing was denied.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROCESSES = ("controller", "listener", "monitor")
MANIFESTS = Path(__file__).parents[2] / "manifests" / "base"
FOLDER = "TRIMTAB_TEST_RIGHTS"
# What the API server only looks up, because KFP asks it to, of the caller's token: its stub's tests do.
LOOKED_UP = "pipelines.kubeflow.org"
Right = tuple[str, str]  # verb, and resource with group and subresource
Object = dict[str, Any]


def objects(process: str) -> list[Object]:
    """Service account, roles and bindings, as the manifests have them."""
    return list(yaml.safe_load_all((MANIFESTS / process / "rbac.yaml").read_text()))


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
        if group != LOOKED_UP
    }


def _named(group: str, resource: str) -> str:
    return "/".join(part for part in (group, resource) if part)


class Accounts:
    """The three accounts in a namespace of this worker's, bound for the whole cluster."""

    def __init__(self, cluster: Any, suffix: str) -> None:
        self._cluster, self._suffix = cluster, suffix
        self._system = f"trimtab-{suffix}"
        self._apis: dict[str, Any] = {}
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._system}})
        for process in PROCESSES:
            for each in objects(process):
                self._apply(self._own(each, self._system))

    def kubeconfig(self, process: str) -> Path:
        found: Path = self._cluster.kubeconfig_as(self._system, f"trimtab-{process}")
        return found

    def api(self, process: str) -> Any:
        """The API server as that process reaches it."""
        if process not in self._apis:
            self._apis[process] = self._cluster.api_as(self._system, f"trimtab-{process}")
        return self._apis[process]

    def leads_in(self, namespace: str) -> None:
        """A controller whose pod stands there holds its Lease there."""
        for each in objects("controller"):
            if each["kind"] in ("Role", "RoleBinding"):
                self._apply(self._own(each, namespace))

    def remove(self) -> None:
        names = [f"trimtab-{process}-{self._suffix}" for process in PROCESSES]
        for kind in ("clusterrolebinding", "clusterrole"):
            self._cluster.kubectl("delete", kind, *names, "--ignore-not-found", "--wait=false")
        self._cluster.kubectl("delete", "namespace", self._system, "--ignore-not-found", "--wait=false")

    def asked(self) -> dict[str, list[list[Any]]]:
        """By process: verb, resource and whether it was allowed."""
        found = {}
        for process in PROCESSES:
            each = {(one.verb, one.resource, one.allowed) for one in self._cluster.asked(f"trimtab-{process}")}
            found[process] = [list(one) for one in sorted(each)]
        return found

    def _own(self, body: Object, namespace: str) -> Object:
        """With names that are this worker's alone: roles of the cluster have no namespace."""
        meta = dict(body["metadata"])
        body = {**body, "metadata": meta}
        if body["kind"].startswith("ClusterRole"):
            meta["name"] += f"-{self._suffix}"
        else:
            meta["namespace"] = namespace
        if "roleRef" in body:
            body["subjects"] = [{**each, "namespace": self._system} for each in body["subjects"]]
            if body["roleRef"]["kind"] == "ClusterRole":
                body["roleRef"] = {**body["roleRef"], "name": f"{body['roleRef']['name']}-{self._suffix}"}
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
        used = {(verb, resource) for verb, resource, allowed in asked if allowed}
        for verb, resource in sorted(granted(process) - used):
            yield f"{process}: may {verb} {resource}, and never did"
        # An API server that has just started denies what it grants once it has read the roles.
        for verb, resource, allowed in sorted(asked):
            if not allowed and (verb, resource) not in granted(process):
                yield f"{process}: was denied {verb} {resource}"


def main() -> int:
    found = list(problems(Path(sys.argv[1])))
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        rights = ", ".join(f"{process} {len(granted(process))}" for process in PROCESSES)
        print(f"rights: every one was used and none was denied ({rights})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
