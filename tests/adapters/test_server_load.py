"""CPU and memory of model servers, read from metrics over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from trimtab.adapters.server_load import ServerLoad
from trimtab.serving.meters import Meters


@pytest.fixture
def server() -> Iterator[str]:
    """This process's own CPU and memory, as a model server shows them."""
    meters = Meters(1, {"model": "bikes", "version": "7"})
    meters.take_place(0)
    registry = CollectorRegistry()
    registry.register(meters)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(generate_latest(registry))

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_cpu_is_what_was_used_since_it_was_asked_before_and_memory_what_is_held(server: str) -> None:
    load = ServerLoad()
    first = load.look({7: server})
    end = time.process_time() + 0.3
    while time.process_time() < end:
        sum(range(1000))

    (found,) = load.look({7: server})

    assert first == ()
    assert found.version == 7
    # The process that watches the workers counts too; here it is the one that started the tests.
    assert 0.0 < found.cores < 4.0
    assert found.memory_bytes >= 0.5 * psutil.Process().memory_info().rss


def test_a_server_that_is_being_started_or_ended_is_left_out(server: str) -> None:
    load = ServerLoad()
    load.look({7: server, 8: "http://127.0.0.1:9/metrics"})

    assert [found.version for found in load.look({7: server, 8: "http://127.0.0.1:9/metrics"})] == [7]
    assert load.look({}) == ()
    assert load.look({7: server}) == ()  # it may be another process by now
