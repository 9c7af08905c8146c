"""Which API server is asked, and answers that break off on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.config import incluster_config, kube_config

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import LEASE
from trimtab.core.errors import Invalid, Unavailable


class CutShort(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"kind": "Lease", ')
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with ThreadingHTTPServer(("127.0.0.1", 0), CutShort) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        to = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
        to.retries = False
        yield Api(client.ApiClient(to))
        server.shutdown()
        thread.join()


def test_an_answer_that_is_cut_short_is_none(api: Api) -> None:
    with pytest.raises(Unavailable, match="does not answer GET"):
        api.get(LEASE, "trimtab", "controller")
    with pytest.raises(Unavailable, match="does not answer GET"):
        api.raw("GET", "/version")


CONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: one, user: me}}]
clusters: [{name: one, cluster: {server: "http://127.0.0.1:1234"}}]
users: [{name: me, user: {token: t}}]
"""


@pytest.fixture
def in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod with a service account, and the place of its kubeconfig."""
    account = {"SERVICE_TOKEN_FILENAME": "token", "SERVICE_CERT_FILENAME": "ca.crt"}
    for name, file in account.items():
        (tmp_path / file).write_text("x")
        monkeypatch.setattr(incluster_config, name, str(tmp_path / file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "4321")
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    return tmp_path / "config"


def host(api: Api) -> str:
    return str(api._client.configuration.host)


def test_a_kubeconfig_goes_before_the_pods_own_account(in_a_pod: Path) -> None:
    assert host(Api.connect()) == "https://127.0.0.1:4321"
    in_a_pod.write_text(CONFIG)
    assert host(Api.connect()) == "http://127.0.0.1:1234"


def test_a_context_is_never_looked_for_in_the_pods_own_account(in_a_pod: Path) -> None:
    with pytest.raises(Invalid, match="found no Kubernetes cluster"):
        Api.connect("staging")
    in_a_pod.write_text(CONFIG)
    with pytest.raises(Invalid, match="staging"):
        Api.connect("staging")


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n", b"\xff\xfe\x00", b"just words"])
def test_a_kubeconfig_that_cannot_be_read_is_told(in_a_pod: Path, content: bytes) -> None:
    in_a_pod.write_bytes(content)
    with pytest.raises(Invalid, match="found no Kubernetes cluster") as told:
        Api.connect()
    assert "\n" not in told.value.message
