"""Answers of an API server that break off on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubernetes import client

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import LEASE
from trimtab.core.errors import Unavailable


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
