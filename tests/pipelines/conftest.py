"""A server that answers as the Kubeflow Pipelines API of 2.17 does, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

BASE = "/apis/v2beta1"
NEVER = "1970-01-01T00:00:00Z"  # what the real server answers for times that are not set
NOW = "2026-01-31T12:00:00Z"
RUN_FIELDS = {
    *("display_name", "description", "experiment_id", "run_id", "service_account"),
    *("pipeline_spec", "pipeline_version_reference", "runtime_config"),
}
VALUES = {"STRING": str, "NUMBER_INTEGER": (int, float), "BOOLEAN": bool, "LIST": list, "STRUCT": dict}


class Refused(Exception):
    """An answer in the server's error shape: HTTP status, gRPC code, text."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "details": [{"code": code, "message": message}]}


@dataclass
class PipelinesApi:
    """The server's address, and what it has recorded."""

    url: str = ""
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, target: str, body: dict[str, Any] | None) -> dict[str, Any]:
        parts = urlsplit(target)
        self.requests.append((method, parts.path))
        route = (method, parts.path.removeprefix(BASE))
        if route == ("GET", "/healthz"):
            return {"commit_sha": "0", "tag_name": "2.17.0", "multi_user": False, "pipeline_store": "database"}
        if route == ("GET", "/experiments"):
            found = self._matching(parse_qs(parts.query).get("filter", [""])[0])
            return {"experiments": found, "total_size": len(found)} if found else {}
        if route == ("POST", "/experiments"):
            return self._create_experiment(body or {})
        if route == ("POST", "/runs"):
            return self._create_run(body or {})
        if method == "GET" and (run := self.runs.get(parts.path.rpartition("/")[2])):
            return run
        raise Refused(404, 5, "Not Found")

    def _matching(self, filtered: str) -> list[dict[str, Any]]:
        # The real server decodes the filter a second time.
        predicates = json.loads(unquote(filtered))["predicates"] if filtered else []
        names = {p.get("string_value", p.get("stringValue", "")).lower() for p in predicates}
        return [e for e in self.experiments.values() if not names or e["display_name"].lower() in names]

    def _create_experiment(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(e["display_name"] == body["display_name"] for e in self.experiments.values()):
            raise Refused(409, 6, f"The name {body['display_name']} already exists. Please specify a new name")
        experiment = {
            "experiment_id": str(uuid.uuid4()),
            "display_name": body["display_name"],
            "created_at": NOW,
            "last_run_created_at": NEVER,
            "storage_state": "AVAILABLE",
        }
        self.experiments[experiment["experiment_id"]] = experiment
        return experiment

    def _create_run(self, body: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(body) - RUN_FIELDS:
            raise Refused(400, 3, f'proto: (line 1:1): unknown field "{min(unknown)}"')
        spec = body.get("pipeline_spec", {})
        if spec.get("schemaVersion") != "2.1.0":
            raise Refused(500, 13, "InvalidInputError: unknown template format: pipeline spec is invalid")
        if body.get("experiment_id") not in self.experiments:
            raise Refused(404, 5, f"Experiment {body.get('experiment_id')} not found")
        inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in body.get("runtime_config", {}).get("parameters", {}).items():
            if name not in inputs:
                raise Refused(400, 3, f"parameter(s) provided are not required by pipeline: {name}")
            if not isinstance(value, VALUES[inputs[name]["parameterType"]]):
                raise Refused(400, 3, f"input parameter {name} requires type {inputs[name]['parameterType']}")
        run = {
            **body,
            "run_id": body.get("run_id") or str(uuid.uuid4()),
            "storage_state": "AVAILABLE",
            "service_account": body.get("service_account") or "pipeline-runner",
            "created_at": NOW,
            "scheduled_at": NOW,
            "finished_at": NEVER,
            "state": "PENDING",
            "state_history": [{"update_time": NOW, "state": "PENDING"}],
        }
        if run["run_id"] in self.runs:
            raise Refused(500, 13, "Error 1062: Duplicate entry")
        self.runs[run["run_id"]] = run
        return run


@pytest.fixture
def pipelines_api() -> Iterator[PipelinesApi]:
    """A running server, new for this test."""
    api = PipelinesApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                self._send(200, api.answer(self.command, self.path, body))
            except Refused as refused:
                self._send(refused.status, refused.body)

        do_POST = do_GET  # noqa: N815 - http.server finds its methods by these names

        def _send(self, status: int, value: dict[str, Any]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_: object) -> None:
            """Silent: what was asked stands in `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    yield api
    server.shutdown()
    thread.join()
    server.server_close()
