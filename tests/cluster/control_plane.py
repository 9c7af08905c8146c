"""A real Kubernetes control plane on 127.0.0.1: etcd, API server, controller manager; no node, so no pod ever runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from programs import programs

READY_SECONDS = 240.0
CERTIFICATE = Path("certs", "apiserver.crt")  # the server makes it at its first start
TOKEN = "for-tests-on-the-loopback"
# Who asked for what and got which answer: what permissions are proved by. A review asks whether somebody else may do
# something: that, and the answer, stand in its bodies.
REVIEWS = "subjectaccessreviews"
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "RequestResponse", "resources": [{"group": "authorization.k8s.io", "resources": [REVIEWS]}]},
        {"level": "Metadata"},
    ],
}
Span = tuple[float, float]  # from, until; seconds since 1970


class ControlPlane:
    """
    Runs from `start` to `stop`, everything under one folder.

    Attributes:
        kubeconfig: Of an administrator.
        audit_log: JSON lines, one an answered request.
        starts: When API servers were on their way to be ready: they answer before they have read the roles.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.jsonl"
        self._programs = programs()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port = 0
        self.starts: list[Span] = []

    def start(self) -> None:
        (self.folder / "certs").mkdir(parents=True)
        self._etcd, peer, self.port = free_ports(3)
        self._write_files()
        data = ["--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync"]
        at, among = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{peer}"
        clients = ["--listen-client-urls", at, "--advertise-client-urls", at]
        peers = ["--listen-peer-urls", among, "--initial-advertise-peer-urls", among]
        named = ["--name", "test", "--initial-cluster", f"test={among}", "--logger", "zap", "--log-level", "error"]
        self._run("etcd", self._programs.etcd, *data, *clients, *peers, *named)
        self.start_api_server()
        self._run(
            "kube-controller-manager",
            self._programs.controller_manager,
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_ports(1)[0]}",
            f"--cert-dir={self.folder / 'certs'}",
        )

    def start_api_server(self) -> None:
        """Start it, or start it again at its address, and wait until it is ready."""
        key, began = self.folder / "service-accounts.key", time.time()
        self._run(
            "kube-apiserver",
            self._programs.api_server,
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certs'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={self.folder / 'audit.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
        )
        self._wait_until_ready()
        self.starts.append((began, time.time()))

    def stop_api_server(self) -> None:
        """kill -9, as a node that is lost."""
        self._end("kube-apiserver", signal.SIGKILL)

    def stop(self) -> None:
        # Nothing is kept, so nobody needs to end in peace; that takes the controller manager twenty seconds.
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)

    def ask(self, path: str) -> tuple[int, bytes]:
        """As administrator, past every client."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        context = ssl.create_default_context(cafile=self.folder / CERTIFICATE)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=5) as answer:
            return answer.status, answer.read()

    def _write_files(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        (self.folder / "service-accounts.key").write_bytes(key.private_bytes(*pem, serialization.NoEncryption()))
        (self.folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT))
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig(self.port, TOKEN, self.folder / CERTIFICATE)))

    def _wait_until_ready(self) -> None:
        deadline, said = time.monotonic() + READY_SECONDS, ""
        while time.monotonic() < deadline:
            self._must_live()
            try:
                if self.ask("/readyz")[0] == 200:
                    return
            except OSError as error:
                said = str(error)
            time.sleep(0.1)
        raise TimeoutError(f"the API server was not ready within {READY_SECONDS:.0f} s: {said}")

    def _must_live(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
                raise RuntimeError("\n".join([f"{name} ended with {process.returncode}", *lines]))

    def _run(self, name: str, program: Path, *arguments: str) -> None:
        # The one-node cluster's programs are one binary that goes by the name it is called with.
        log = (self.folder / f"{name}.log").open("ab")
        env = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
        with log:
            self._processes[name] = subprocess.Popen(
                [str(program), *arguments], stdout=log, stderr=log, env=env, cwd=self.folder, start_new_session=True
            )

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kubeconfig(port: int, token: str, certificate: Path) -> dict[str, Any]:
    """For whoever has that token."""
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


def free_ports(number: int) -> list[int]:
    """Ports that nobody has: below those of embedded stores and of connections, and none of the other worker's."""
    import random

    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(5000 + worker % 2, 12000, 2)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def audit(log: Path) -> list[dict[str, Any]]:
    """Every answered request so far."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines() if line]


@dataclass(frozen=True)
class Asked:
    """
    One kind of request.

    Attributes:
        resource: With group and subresource: `apps/deployments`, `pods/status`; a path where it is no resource.
        namespace: Empty for what belongs to no namespace, and for requests about all.
        allowed: By RBAC; a namespace that is being deleted refuses with the same code, and is no matter of permission.
    """

    verb: str
    resource: str
    namespace: str
    allowed: bool


def asked(requests: list[dict[str, Any]], service_account: str, starts: Sequence[Span] = ()) -> set[Asked]:
    """
    What service accounts of that name, of whatever namespace, asked for, and what others asked whether they may.

    Args:
        starts: Spans in which the API server had not read its roles yet: what it denied then says nothing.
    """
    found = set()
    for each in requests:
        one = _review(each) if (each.get("objectRef") or {}).get("resource") == REVIEWS else _request(each)
        if one is None or not _is(one[0], service_account):
            continue
        at = datetime.fromisoformat(each["requestReceivedTimestamp"]).timestamp()
        if one[1].allowed or not any(begin <= at <= end for begin, end in starts):
            found.add(one[1])
    return found


def _is(user: str, service_account: str) -> bool:
    who = user.split(":")
    return who[:2] == ["system", "serviceaccount"] and who[-1] == service_account


def _request(each: dict[str, Any]) -> tuple[str, Asked]:
    """Who asked for something himself."""
    at = each.get("objectRef") or {}
    parts = (at.get("apiGroup", ""), at.get("resource", ""), at.get("subresource", ""))
    resource = "/".join(part for part in parts if part) or each["requestURI"].split("?")[0]
    allowed = (each.get("annotations") or {}).get("authorization.k8s.io/decision") != "forbid"
    return each["user"].get("username", ""), Asked(each["verb"], resource, at.get("namespace", ""), allowed)


def _review(each: dict[str, Any]) -> tuple[str, Asked] | None:
    """Who was asked about; None where the question was refused, or is not about a resource."""
    spec = (each.get("requestObject") or {}).get("spec")
    status = (each.get("responseObject") or {}).get("status")
    about = (spec or {}).get("resourceAttributes")
    if not spec or not about or not status:
        return None
    resource = "/".join(about[name] for name in ("group", "resource", "subresource") if about.get(name))
    return str(spec.get("user", "")), Asked(about["verb"], resource, about.get("namespace", ""), status["allowed"])
