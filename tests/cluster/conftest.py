"""A real API server for every test here: KUBECONFIG's, or one started for this worker; a fresh namespace a test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from control_plane import ControlPlane, audit, kubeconfig
from programs import programs

if TYPE_CHECKING:
    from trimtab.adapters.kubernetes.api import Api

ROOT = Path(__file__).parents[2]
ENABLED = "TRIMTAB_TEST_CLUSTER"  # set by `make test-cluster`


# `make test` leaves these out: they need a control plane, which takes minutes to build.
collect_ignore_glob = [] if ENABLED in os.environ else ["*"]


@dataclass
class Cluster:
    """A cluster as its administrator sees it."""

    kubeconfig: Path
    api: Api
    plane: ControlPlane | None  # None: the cluster is somebody else's
    folder: Path

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        command = [str(programs().kubectl), *arguments]
        return subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=120, check=check)

    def api_as(self, namespace: str, service_account: str) -> Api:
        """The API server as that service account reaches it."""
        return connect(self.kubeconfig_as(namespace, service_account))

    def kubeconfig_as(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a token of the service account, valid for an hour."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        token = self.api.raw("POST", path, request)["status"]["token"]
        given = yaml.safe_load(self.kubeconfig.read_text())
        found = {**given, "users": [{"name": user["name"], "user": {"token": token}} for user in given["users"]]}
        file = self.folder / f"{namespace}-{service_account}.kubeconfig"
        file.write_text(yaml.safe_dump(found))
        return file

    def audit(self) -> list[dict[str, Any]]:
        """Every answered request so far; on somebody else's cluster none is known."""
        return audit(self.plane.audit_log) if self.plane else []

    def restart_api_server(self) -> None:
        """kill -9, and start again."""
        assert self.plane is not None, "the cluster is somebody else's"
        self.plane.stop_api_server()
        self.plane.start_api_server()

    def install(self, *folders: Path) -> None:
        """Apply the definitions of custom resources that stand in those folders, and wait until they are served."""
        import gzip

        from trimtab.adapters.kubernetes.kinds import CRD

        wanted = []
        for file in sorted(file for folder in folders for file in folder.glob("*.yaml*")):
            text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
            for body in yaml.load_all(text, yaml.CSafeLoader):
                if body and body["kind"] == "CustomResourceDefinition":
                    body.pop("status", None)
                    wanted.append(self.api.apply(CRD, body, "tests", force=True)["metadata"]["name"])
        until(lambda: all(_established(self.api.get(CRD, "", name)) for name in wanted))


def _established(found: dict[str, Any]) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def until(found: Any, seconds: float = 60.0, what: str = "") -> Any:
    """What the function returns, once that is true; a busy machine may need long."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, what or f"not within {seconds:.0f} s"
        time.sleep(0.05)


def connect(file: Path) -> Api:
    from kubernetes import client, config

    from trimtab.adapters.kubernetes.api import Api

    configuration = client.Configuration()
    config.load_kube_config(str(file), client_configuration=configuration)
    configuration.retries = False
    return Api(client.ApiClient(configuration))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The API server of this worker, with trimtab's own kinds and those of others that the tests use."""
    folder = tmp_path_factory.mktemp("cluster")
    plane = None
    if given := os.environ.get("KUBECONFIG"):
        file = Path(given.split(os.pathsep)[0])
    else:
        plane = ControlPlane(folder / "plane")
        try:
            plane.start()
        except BaseException:
            plane.stop()
            raise
        file = plane.kubeconfig
    found = Cluster(file, connect(file), plane, folder)
    try:
        found.install(ROOT / "manifests" / "crds", Path(__file__).parent / "crds-of-others")
        yield found
    finally:
        if plane is not None:
            plane.stop()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, with its default service account; deleted afterwards."""
    from trimtab.adapters.kubernetes.kinds import Kind

    kind = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
    accounts = Kind("", "v1", "ServiceAccount", "serviceaccounts")
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.api.create(kind, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    until(lambda: cluster.api.find(accounts, name, "default"))
    yield name
    cluster.api.delete(kind, "", name)


__all__ = ["Cluster", "cluster", "connect", "kubeconfig", "namespace", "until"]
