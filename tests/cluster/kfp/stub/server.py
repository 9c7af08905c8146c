"""The wire: routes, bodies, errors, and a mini Kubernetes for looking at Workflows where there is no real one."""

from __future__ import annotations

import email
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import admission
from messages import FIELDS, Json, accepted
from refusals import Lost, Plain, Refused, Text, UploadRefused
from world import World

BASE = "/apis/v2beta1"
ID = r"([^/:]+)"
ARGO = re.compile(r"/apis/argoproj\.io/v1alpha1/namespaces/([^/]+)/workflows(?:/([^/]+))?")


class Request:
    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        parts = urlsplit(target)
        self.method, self.path = method, parts.path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers, self.raw = headers, body

    def json(self) -> Any:
        if not self.raw:
            return {}
        try:
            return json.loads(self.raw)
        except ValueError:
            raise Plain(3, "unexpected EOF") from None

    def message(self, kind: str) -> Json:
        return accepted(self.json(), FIELDS[kind], self.raw.decode())

    def upload(self) -> Any:
        """The pipeline in the multipart field `uploadfile`."""
        import yaml

        content = self.headers.get("content-type", "")
        form = email.message_from_bytes(f"Content-Type: {content}\r\n\r\n".encode() + self.raw)
        parts = form.get_payload() if form.is_multipart() else []
        for part in parts:
            if 'name="uploadfile"' in part.get("Content-Disposition", ""):
                try:
                    documents = [each for each in yaml.safe_load_all(part.get_payload(decode=True)) if each]
                except yaml.YAMLError as error:
                    raise UploadRefused(400, "unknown template format", str(error)) from error
                if len(documents) == 2:
                    return {"pipeline_spec": documents[0], "platform_spec": documents[1]}
                return documents[0] if documents else {}
        raise UploadRefused(400, "Failed to read the uploaded pipeline", "http: no such file")


Handle = Callable[..., Any]


class Routes:
    """Method and path to what answers; a known path with another method is 501, an unknown one 404."""

    def __init__(self, world: World) -> None:
        self._table: list[tuple[str, re.Pattern[str], Handle]] = []
        w = world
        who = w.access.user_of
        add = self._add
        add("GET", "/healthz", lambda r: self._health(w))
        for name, thing, kind in (
            ("experiments", w.experiments, "experiment"),
            ("recurringruns", w.recurring, "recurring"),
            ("pipelines", w.pipelines, "pipeline"),
        ):
            add("GET", f"/{name}", lambda r, t=thing: t.list(r.query, who(r.headers)))
            add("POST", f"/{name}", lambda r, t=thing, k=kind: t.create(r.message(k), who(r.headers)))
        add("GET", "/runs", lambda r: w.runs.list(r.query, who(r.headers)))
        add("POST", "/runs", lambda r: w.create_run(r.message("run"), who(r.headers)))
        for name, thing in (("experiments", w.experiments), ("recurringruns", w.recurring), ("runs", w.runs)):
            add("GET", f"/{name}/{ID}", lambda r, i, t=thing: t.get(i, who(r.headers)))
            add("DELETE", f"/{name}/{ID}", lambda r, i, t=thing: t.delete(i, who(r.headers)))
        for name, thing, actions in (
            ("experiments", w.experiments, "archive|unarchive"),
            ("recurringruns", w.recurring, "enable|disable"),
            ("runs", w.runs, "archive|unarchive|terminate|retry"),
        ):
            add("POST", f"/{name}/{ID}:({actions})", lambda r, i, a, t=thing: t.act(i, a, who(r.headers)))
        add("POST", "/pipelines/upload", lambda r: w.pipelines.upload(r.query, r.upload(), who(r.headers)))
        add(
            "POST",
            "/pipelines/upload_version",
            lambda r: w.pipelines.upload_version(r.query, r.upload(), who(r.headers)),
        )
        add("GET", f"/pipelines/names/{ID}", lambda r, n: w.pipelines.by_name(n, r.query))
        add("GET", f"/pipelines/{ID}/versions", lambda r, i: w.pipelines.list_versions(i, r.query))
        add("GET", f"/pipelines/{ID}/versions/{ID}", lambda r, i, v: w.pipelines.get_version(i, v))
        add("GET", f"/pipelines/{ID}", lambda r, i: _shown(w.pipelines.held(i)))
        add("DELETE", f"/pipelines/{ID}", lambda r, i: w.pipelines.delete(i, r.query, who(r.headers)))
        add("POST", "/workflows", lambda r: w.reports.raw(r.raw.decode()))

    def _add(self, method: str, path: str, handle: Handle) -> None:
        self._table.append((method, re.compile(BASE + path), handle))

    def answer(self, request: Request) -> Any:
        known = False
        # Longer patterns with fixed words stand before `{id}` ones only where both fit: fixed words win.
        for method, pattern, handle in sorted(self._table, key=lambda row: row[1].pattern.count(ID)):
            if found := pattern.fullmatch(request.path):
                known = True
                if method == request.method:
                    return handle(request, *(unquote(each) for each in found.groups()))
        if known:
            raise Plain(12, "Method Not Allowed")
        raise Plain(5, "Not Found")

    def _health(self, world: World) -> Json:
        store = "kubernetes" if world.store_kubernetes else "database"
        return {"commit_sha": "0" * 40, "tag_name": "2.17.0", "multi_user": world.multi_user, "pipeline_store": store}


def _shown(pipeline: Json) -> Json:
    from messages import shown

    return shown(pipeline)


class Server:
    def __init__(self, world: World, host: str, port: int, steering: bool) -> None:
        self.world, self._routes = world, Routes(world)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            timeout = 60

            def log_message(self, *words: object) -> None:
                pass

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                try:
                    status, body = server.answer(request, steering)
                except Lost:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._send(status, body)

            def _send(self, status: int, body: Any) -> None:
                text = isinstance(body, str)
                data = body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if text else "application/json")
                if not text:
                    self.send_header("Grpc-Metadata-Content-Type", "application/grpc")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

            do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _handle  # noqa: N815

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *words: object) -> None:
                pass  # a client that hung up

        self._http = Threads((host, port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def secure(self, certificate: str, key: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def start(self) -> None:
        self._thread.start()

    def answer(self, request: Request, steering: bool) -> tuple[int, Any]:
        if steering and request.path == "/_stub/reset":  # what is still on its way belongs to the world before
            self.world = self.world.fresh()
            self._routes = Routes(self.world)
            return 200, {}
        return answer(self.world, self._routes, request, steering)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def answer(world: World, routes: Routes, request: Request, steering: bool) -> tuple[int, Any]:
    try:
        if steering and request.path.startswith("/_stub/"):
            found = world.steer(request.path.removeprefix("/_stub/"), request.json())
            return (404, {"message": "no such thing to do"}) if found is None else (200, found)
        if request.path == "/webhooks/validate-pipelineversion":
            return 200, admission.validate(world, request.json())
        if request.path == "/webhooks/mutate-pipelineversion":
            return 200, admission.mutate(world, request.json())
        if found_path := ARGO.fullmatch(request.path):
            return _kubernetes(world, request, *found_path.groups())
        return 200, routes.answer(request)
    except Text as refused:
        return refused.status, refused.body
    except Refused as refused:
        return refused.status, refused.body


def _kubernetes(world: World, request: Request, namespace: str, name: str | None) -> tuple[int, Any]:
    """List and merge-patch Workflows, as an API server does; enough for whoever only looks for them."""
    if name is None:
        label, _, value = request.query.get("labelSelector", "").partition("=")
        found = world.workflows.all(namespace)
        items = [each for each in found if not label or each["metadata"].get("labels", {}).get(label) == value]
        return 200, {"kind": "WorkflowList", "metadata": {"resourceVersion": "1"}, "items": items}
    workflow = world.workflows.find(namespace, name)
    if workflow is None:
        return 404, {"kind": "Status", "code": 404, "message": f'workflows.argoproj.io "{name}" not found'}
    if request.method == "PATCH":
        world.workflows.change(workflow, **request.json())
    return 200, workflow
