"""A real API server for every test here: KUBECONFIG's, or one started for this worker; a fresh namespace a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from accounts import FOLDER, Accounts
from control_plane import Asked, ControlPlane, asked, audit, free_ports, kubeconfig
from kubelet import Kubelet
from programs import programs
from seldon.webhook import REGISTRATION
from seldon_process import SeldonOperator

from trimtab.adapters.kubernetes.kinds import SELDON_DEPLOYMENT, Kind
from trimtab.core.errors import Conflict, Invalid, NotFound, TrimtabError, Unavailable

if TYPE_CHECKING:
    from trimtab.adapters.kubernetes.api import Api

ROOT = Path(__file__).parents[2]
ENABLED = "TRIMTAB_TEST_CLUSTER"  # set by `make test-cluster`
RUN = uuid.uuid4().hex[:6]  # of this worker
OURS = "trimtab.dev"  # the group of trimtab's kinds
LABEL = "trimtab.dev/tests"  # on its namespaces
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")


# `make test` leaves these out: they need a control plane, which takes minutes to build.
collect_ignore_glob = [] if ENABLED in os.environ else ["*"]


@dataclass
class Cluster:
    """A cluster as its administrator sees it."""

    kubeconfig: Path
    api: Api
    plane: ControlPlane | None  # None: the cluster is somebody else's
    folder: Path
    refused: dict[str, str] = field(default_factory=dict)  # definitions of custom resources, with the server's reason

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
        """A kubeconfig with a token of the service account, valid as long as any test run."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 6 * 3600},
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

    def asked(self, service_account: str) -> set[Asked]:
        """What service accounts of that name asked for so far."""
        return asked(self.audit(), service_account, self.plane.starts if self.plane else ())

    def restart_api_server(self) -> None:
        """kill -9, and start again."""
        assert self.plane is not None, "the cluster is somebody else's"
        self.plane.stop_api_server()
        self.plane.start_api_server()

    def install(self, *folders: Path) -> None:
        """Have the definitions of custom resources in those folders served; `refused` says which are not, and why."""
        from trimtab.adapters.kubernetes.kinds import CRD

        wanted = []
        for file in sorted(file for folder in folders for file in folder.glob("*.*")):
            for body in definitions(file):
                name = body["metadata"]["name"]
                try:
                    self._define(body)
                    wanted.append(name)
                except Invalid as error:
                    self.refused[name] = error.message
        until(lambda: all(self._served(self.api.get(CRD, "", name)) for name in wanted))

    def _served(self, definition: dict[str, Any]) -> bool:
        """Whether objects of it can be listed: just after it is established the API server still asks for patience."""
        if not _established(definition):
            return False
        spec = definition["spec"]
        version = next(each["name"] for each in spec["versions"] if each["served"])
        try:
            self.api.raw("GET", f"/apis/{spec['group']}/{version}/{spec['names']['plural']}?limit=1")
        except (NotFound, Unavailable):
            return False
        return True

    def _define(self, body: dict[str, Any]) -> None:
        from trimtab.adapters.kubernetes.kinds import CRD

        try:
            self.api.create(CRD, body)  # of the large ones a good deal cheaper than server-side apply
        except Conflict:
            # What others have there for their own systems stays as it is.
            if body["spec"]["group"] == OURS:
                self.api.apply(CRD, body, "tests", force=True)


def definitions(file: Path) -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of a file of YAML, or of JSON in gzip."""
    import gzip

    if file.name.endswith(".json.gz"):
        found = [json.loads(gzip.decompress(file.read_bytes()))]
    elif file.suffix == ".yaml":
        found = list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
    else:
        found = []
    found = [body for body in found if body and body["kind"] == "CustomResourceDefinition"]
    return [{key: value for key, value in body.items() if key != "status"} for body in found]


def _established(found: dict[str, Any]) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def until(found: Any, seconds: float = 60.0, what: str = "") -> Any:
    """What the function returns, once that is true; a busy machine may need long."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, what or f"not within {seconds:.0f} s"
        time.sleep(0.1)


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
    try:
        found = Cluster(file, connect(file), plane, folder)
        found.install(ROOT / "manifests" / "crds", Path(__file__).parent / "crds-of-others")
        yield found
    finally:
        if plane is not None:
            plane.stop()


@pytest.fixture(scope="session")
def accounts(cluster: Cluster) -> Iterator[Accounts]:
    """The manifests' service accounts; what they asked for is kept for when all workers have ended."""
    found = Accounts(cluster, RUN)
    yield found
    if cluster.plane is None:
        found.remove()
    elif folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{RUN}.json").write_text(json.dumps(found.asked()))


@pytest.fixture
def make_namespace(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes namespaces of the test's own, each with its default service account; deleted afterwards."""
    made: list[str] = []

    def make() -> str:
        name = f"test-{RUN}-{uuid.uuid4().hex[:6]}"
        meta = {"name": name, "labels": {LABEL: RUN}}
        cluster.api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        made.append(name)
        until(lambda: cluster.api.find(SERVICE_ACCOUNT, name, "default"))
        return name

    yield make
    for name in made:
        cluster.api.delete(NAMESPACE, "", name)


@pytest.fixture
def namespace(make_namespace: Callable[[], str]) -> str:
    """A namespace of the test's own."""
    return make_namespace()


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Iterator[SeldonOperator]:
    """The stand-in for Seldon's operator, its webhook asked by the API server. After each test it is up again."""
    own = cluster.plane is not None
    system = f"seldon-{RUN}"
    _allow_operator(cluster, system)
    found = SeldonOperator(
        cluster.kubeconfig_as(system, "manager"),
        cluster.folder / system,
        free_ports(1)[0],
        "" if own else f"test-{RUN}-",
        "" if own else f"{LABEL}={RUN}",
        os.environ.get("TRIMTAB_TEST_HOST", "127.0.0.1"),
    )
    try:
        found.up()
        _wait_for_webhook(cluster)
        yield found
    finally:
        found.down()
        cluster.api.delete(REGISTRATION, "", f"seldon-validating-webhook-configuration-{system}")
        cluster.api.delete(CLUSTER_ROLE_BINDING, "", system)
        cluster.api.delete(NAMESPACE, "", system)


def _allow_operator(cluster: Cluster, system: str) -> None:
    """A service account of its own, with the permissions that its manifest grants."""
    role = yaml.safe_load((Path(__file__).parent / "seldon" / "role.yaml").read_text())
    cluster.api.apply(CLUSTER_ROLE, role, "tests", force=True)
    meta = {"name": system, "labels": {LABEL: RUN}}
    cluster.api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    account = {"kind": "ServiceAccount", "name": "manager", "namespace": system}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "manager", "namespace": system}}
    cluster.api.create(SERVICE_ACCOUNT, body)
    granted = {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": role["metadata"]["name"]}
    binding = {"apiVersion": CLUSTER_ROLE.api_version, "kind": "ClusterRoleBinding", "metadata": {"name": system}}
    cluster.api.create(CLUSTER_ROLE_BINDING, {**binding, "roleRef": granted, "subjects": [account]})


def _wait_for_webhook(cluster: Cluster) -> None:
    """The API server learns of a webhook within a second; one that is somewhere else may never reach this machine."""
    name = f"test-{RUN}-webhook"
    meta = {"name": name, "labels": {LABEL: RUN}}
    cluster.api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    graph = {"name": "nobody", "implementation": "SIMPLE_MODEL"}
    body = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "metadata": {"name": "asked", "namespace": name},
        "spec": {"predictors": [{"name": "main", "graph": graph, "traffic": 50, "replicas": 0}]},
    }

    def asked() -> bool:
        try:
            cluster.api.create(SELDON_DEPLOYMENT, body)
        except Invalid:
            return True
        except TrimtabError as error:
            if cluster.plane is None and "failed calling webhook" in error.message:
                pytest.skip(f"the API server does not reach this machine (TRIMTAB_TEST_HOST): {error.message}")
            return False
        cluster.api.delete(SELDON_DEPLOYMENT, name, "asked")
        return False

    try:
        until(asked, what="the API server does not ask the webhook")
    finally:
        cluster.api.delete(NAMESPACE, "", name)


@pytest.fixture(autouse=True)
def _operator_as_found(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "operator" in request.fixturenames:
        request.getfixturevalue("operator").restore()


@pytest.fixture(scope="session")
def pods(cluster: Cluster) -> Iterator[Kubelet]:
    """Plays the kubelet: pods become ready unless a test says otherwise."""
    nodes, _ = cluster.api.list(Kind("", "v1", "Node", "nodes", namespaced=False))
    if nodes:
        pytest.skip(f"{nodes[0]['metadata']['name']} runs pods itself: nothing can be played there")
    found = Kubelet(connect(cluster.kubeconfig), "" if cluster.plane else f"test-{RUN}-")
    found.start()
    yield found
    found.stop()


__all__ = ["Cluster", "cluster", "connect", "kubeconfig", "namespace", "until"]
