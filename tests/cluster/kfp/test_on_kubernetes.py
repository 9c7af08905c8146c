"""On a real API server: manifests applied, KFP's webhooks, Workflows found by their label, tokens with an audience."""

from __future__ import annotations

import base64
import ipaddress
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.adapters.kfp_api import KfpLauncher
from trimtab.adapters.kfp_package import compile_package
from trimtab.adapters.kfp_workflows import WORKFLOW
from trimtab.adapters.kubernetes.kinds import Kind
from trimtab.core.errors import Invalid
from trimtab.core.ports import RunPhase, RunRequest, RunStatus

PIPELINE = "trimtab.pipelines.continuous_training:continuous_training"
VERSION = Kind("pipelines.kubeflow.org", "v2beta1", "PipelineVersion", "pipelineversions")
ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
GROUP = "admissionregistration.k8s.io"
WEBHOOKS = {
    "validate": Kind(GROUP, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
    "mutate": Kind(GROUP, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
}
LABEL = "pipelines.kubeflow.org"


@pytest.fixture(scope="module", autouse=True)
def kinds(cluster) -> None:
    """Workflows too, as KFP needs them."""
    cluster.install(Path(__file__).parent / "crds")


@pytest.fixture
def start(cluster, start_stub):
    """Starts a stub that stands in the cluster."""

    def begin(*arguments: str, namespace: str) -> Any:
        env = {"KUBECONFIG": str(cluster.kubeconfig)}
        return start_stub("--kubernetes", "--namespace", namespace, *arguments, env=env)

    return begin


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `trimtab compile --kubernetes` writes; the namespace is still to be put in."""
    file = tmp_path_factory.mktemp("compiled") / "m.yaml"
    return compile_package(PIPELINE, file, namespace="NAMESPACE", secret="trimtab-s3").path.read_text()


def request_for(run_id: str = "") -> RunRequest:
    run_id = run_id or str(uuid.uuid4())
    return RunRequest(run_id, "bikes", "s3://state/shop/x.yaml", "s3://state/shop", (), "upload", "k1")


# Manifests


def apply(cluster, text: str) -> subprocess.CompletedProcess[str]:
    return cluster.kubectl("apply", "--validate=strict", "-f", "-", stdin=text)


def test_the_compiled_objects_are_applied_strictly_and_again_unchanged(cluster, namespace, compiled):
    text = compiled.replace("NAMESPACE", namespace)
    first = apply(cluster, text)
    assert first.returncode == 0, first.stderr
    again = apply(cluster, text)
    assert [line.rpartition(" ")[2] for line in again.stdout.splitlines()] == ["unchanged", "unchanged"]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub")])
    now, here = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "tls.crt", folder / "tls.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return public, private


@pytest.fixture
def webhooks(cluster, namespace, start, tmp_path) -> Iterator[None]:
    """KFP's two webhooks for this namespace, called by the API server itself."""
    if cluster.plane is None:
        pytest.skip("somebody else's API server does not reach this process")
    public, private = certificate(tmp_path)
    stub = start("--tls-cert", str(public), "--tls-key", str(private), namespace=namespace)
    address = stub.url.replace("http://", "https://")
    rule = {
        "apiGroups": [LABEL],
        "apiVersions": ["v2beta1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pipelineversions"],
    }
    name = f"pipelineversions-{namespace}"
    for verb, kind in WEBHOOKS.items():
        hook = {
            "name": f"pipelineversions.{LABEL}",
            "clientConfig": {
                "url": f"{address}/webhooks/{verb}-pipelineversion",
                "caBundle": base64.b64encode(public.read_bytes()).decode(),
            },
            "rules": [rule if verb == "validate" else {**rule, "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
        }
        body = {"apiVersion": f"{GROUP}/v1", "kind": kind.name, "metadata": {"name": name}, "webhooks": [hook]}
        cluster.api.create(kind, body)
    yield
    for kind in WEBHOOKS.values():
        cluster.api.delete(kind, "", name)


def until_called(cluster, namespace: str, until) -> None:
    """Webhooks count a moment after they are registered."""
    probe = {
        "apiVersion": f"{LABEL}/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"pipelineName": "nowhere", "pipelineSpec": {}},
    }

    def refused() -> bool:
        try:
            cluster.api.create(VERSION, probe)
        except Invalid as error:
            return "doesn't map to an existing Pipeline object" in error.message
        cluster.api.delete(VERSION, namespace, "probe")
        return False

    until(refused)


def waiting(found, seconds: float = 60.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


@pytest.mark.usefixtures("webhooks")
def test_kfps_webhooks_take_the_compiled_version_and_refuse_what_it_is_not(cluster, namespace, compiled):
    until_called(cluster, namespace, waiting)
    text = compiled.replace("NAMESPACE", namespace)
    for _ in range(2):
        applied = apply(cluster, text)
        assert applied.returncode == 0, applied.stderr
    (version,), _ = cluster.api.list(VERSION, namespace)
    assert version["metadata"]["labels"][f"{LABEL}/pipeline"] == "continuous-training"
    assert version["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is True

    def refused(**spec: Any) -> str:
        body = {**version, "spec": {**version["spec"], **spec}}
        body["metadata"] = {"name": f"other-{uuid.uuid4().hex[:6]}", "namespace": namespace}
        with pytest.raises(Invalid) as error:
            cluster.api.create(VERSION, body)
        return error.value.message

    assert "resource name may not be empty" in refused(pipelineName="")
    assert "no pipeline spec is provided" in refused(pipelineSpec={"a": 1})
    old = {**version["spec"]["pipelineSpec"], "schemaVersion": "2.0.0"}
    assert "KFP only supports schema version 2.1.0" in refused(pipelineSpec=old)
    with pytest.raises(Invalid, match="Pipeline spec is immutable"):
        cluster.api.merge(VERSION, namespace, version["metadata"]["name"], {"spec": {"description": "new"}})
    cluster.api.merge(VERSION, namespace, version["metadata"]["name"], {"spec": {"displayName": "new"}})


@pytest.mark.usefixtures("webhooks")
def test_an_applied_version_is_what_runs_refer_to(cluster, accounts, namespace, compiled, start, make_kfp):
    until_called(cluster, namespace, waiting)
    assert apply(cluster, compiled.replace("NAMESPACE", namespace)).returncode == 0
    (version,), _ = cluster.api.list(VERSION, namespace)
    stub = start("--pipelines-store-kubernetes", namespace=namespace)
    name = version["metadata"]["name"]
    kfp = make_kfp(stub, namespace=namespace, package=None, version=name)
    kfp.api, request = accounts.api("controller"), request_for()
    KfpLauncher(kfp, "shop", "bikes").launch(request)
    _, run = stub("GET", f"/runs/{request.run_id}")
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["metadata"]["uid"]


def test_a_version_that_no_webhook_saw_belongs_to_no_pipeline(cluster, namespace, compiled, start):
    assert apply(cluster, compiled.replace("NAMESPACE", namespace)).returncode == 0
    stub = start("--pipelines-store-kubernetes", namespace=namespace)
    pipeline = stub("GET", "/pipelines/names/continuous-training", namespace=namespace)[1]["pipeline_id"]
    assert stub("GET", f"/pipelines/{pipeline}/versions") == (200, {})
    body = {"display_name": "r", "pipeline_version_reference": {"pipeline_id": pipeline}}
    status, error = stub("POST", "/runs", body)
    assert (status, "PipelineVersion Latest not found" in error["message"]) == (500, True)
    assert stub("GET", "/healthz")[1]["pipeline_store"] == "kubernetes"


# Workflows


def test_a_workflow_without_a_run_is_found_in_the_cluster_by_its_label(cluster, accounts, namespace, start, make_kfp):
    stub = start(namespace=namespace)
    kfp = make_kfp(stub, namespace=namespace, patience=0)
    kfp.api, request = accounts.api("controller"), request_for()
    launcher = KfpLauncher(kfp, "shop", "bikes")
    stub.steer("faults", faults=[{"kind": "500-after"}])
    assert launcher.launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    assert launcher.launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    (workflow,), _ = cluster.api.list(WORKFLOW, namespace)
    assert workflow["metadata"]["labels"]["pipeline/runid"] == request.run_id
    assert workflow["spec"]["serviceAccountName"] == "trimtab-model"
    name = workflow["metadata"]["name"]
    cluster.api.merge(WORKFLOW, namespace, name, {"status": {"phase": "Failed", "message": "child failed\nmore"}})
    assert launcher.look_up(request.run_id) == RunStatus(request.run_id, RunPhase.FAILED, "child failed")


def test_the_agent_reports_what_the_workflow_came_to(cluster, accounts, namespace, start, make_kfp):
    stub = start("--agent-seconds", "0.1", namespace=namespace)
    kfp = make_kfp(stub, namespace=namespace)
    kfp.api, request = accounts.api("controller"), request_for()
    launcher = KfpLauncher(kfp, "shop", "bikes")
    launcher.launch(request)
    (workflow,), _ = cluster.api.list(WORKFLOW, namespace)
    name = workflow["metadata"]["name"]
    cluster.api.merge(WORKFLOW, namespace, name, {"status": {"phase": "Succeeded"}})
    waiting(lambda: launcher.look_up(request.run_id).phase is RunPhase.SUCCEEDED)


# Tokens


def test_the_manifests_account_starts_and_ends_runs_in_its_models_namespace_by_a_token_with_the_audience(
    cluster, accounts, namespace, start, make_kfp, tmp_path
):
    api = cluster.api
    meta = {"name": "nobody", "namespace": namespace}
    api.create(ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    stub = start("--multi-user", namespace="elsewhere")
    token, request = tmp_path / "token", request_for()
    kfp = make_kfp(stub, token_file=token)
    kfp.api = accounts.api("controller")
    launcher = KfpLauncher(kfp, namespace, "bikes")
    mine = (accounts.system, "trimtab-controller")
    token.write_text(token_of(cluster, *mine, "https://kubernetes.default.svc.cluster.local"))
    with pytest.raises(Invalid, match="User identity is empty"):
        launcher.launch(request)
    token.write_text(token_of(cluster, namespace, "nobody", LABEL))
    with pytest.raises(Invalid, match="is not authorized"):
        launcher.launch(request)
    token.write_text(token_of(cluster, *mine, LABEL))
    assert launcher.launch(request).phase is RunPhase.PENDING
    assert len(api.list(WORKFLOW, namespace)[0]) == 1
    assert launcher.look_up(request.run_id).phase is RunPhase.PENDING
    launcher.stop(request.run_id)
    assert launcher.look_up(request.run_id).phase is not RunPhase.PENDING


def token_of(cluster, namespace: str, account: str, audience: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    spec = {"audiences": [audience], "expirationSeconds": 600}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(cluster.api.raw("POST", path, body)["status"]["token"])


def test_what_is_compiled_is_plain_yaml(compiled):
    pipeline, version = yaml.safe_load_all(compiled)
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
