"""The validating webhook over HTTPS, and its registration with the API server; the switches for tests beside it."""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from seldon.refusals import refusals, status
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import Kind

PATH = "/validate-machinelearning-seldon-io-v1-seldondeployment"
REGISTRATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
Switch = Callable[[dict[str, Any]], dict[str, Any]]


def review(body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one AdmissionReview; an update is judged by the new object alone."""
    request = body["request"]
    causes = refusals(request["object"]) if request.get("object") else []
    answer: dict[str, Any] = {"uid": request["uid"], "allowed": not causes}
    if causes:
        answer["status"] = status(causes)
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}


def serve(address: str, port: int, folder: Path, switch: Switch) -> ThreadingHTTPServer:
    """
    A server that answers once its `serve_forever` runs.

    Args:
        folder: With tls.crt and tls.key.
        switch: What a POST to /switch does.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            self._answer(switch({}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self._answer(switch(body) if self.path == "/switch" else review(body))

        def _answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: every write of a SeldonDeployment comes by."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            # In the request's own thread, so that a slow handshake holds nobody up.
            request.settimeout(60)
            super().finish_request(context.wrap_socket(request, server_side=True), client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Connections that the API server gives up are no news."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return Server((address, port), Handler)


def register(api: Api, client: dict[str, Any], certificate: bytes, namespaces: dict[str, str], suffix: str) -> None:
    """
    Have the API server ask before it takes a SeldonDeployment in, and refuse it while nobody answers.

    Args:
        client: `url` or `service`, as in a WebhookClientConfig.
        certificate: That the server must be signed by.
        namespaces: Labels of those it is asked for; empty: all.
        suffix: Of the registration's name.
    """
    unmanaged = {"key": "seldon.io/controller-id", "operator": "DoesNotExist"}
    body: Object = {
        "apiVersion": REGISTRATION.api_version,
        "kind": REGISTRATION.name,
        "metadata": {"name": f"seldon-validating-webhook-configuration-{suffix}"},
        "webhooks": [
            {
                "name": "v1.vseldondeployment.kb.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "timeoutSeconds": 10,
                "clientConfig": {**client, "caBundle": base64.b64encode(certificate).decode()},
                "namespaceSelector": {"matchExpressions": [unmanaged], "matchLabels": namespaces},
                "objectSelector": {"matchExpressions": [unmanaged]},
                "rules": [
                    {
                        "apiGroups": ["machinelearning.seldon.io"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["seldondeployments"],
                    }
                ],
            }
        ],
    }
    api.apply(REGISTRATION, body, "seldon", force=True)


def make_certificate(folder: Path, names: list[str]) -> None:
    """tls.crt and tls.key, signed by itself, for those names and addresses; those that stand there stay."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if (folder / "tls.crt").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seldon-webhook")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(*pem))
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _general(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
