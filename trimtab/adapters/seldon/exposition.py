"""The metrics' own address: a socket that the workers share, so that any of them may show what all have counted."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest

from trimtab.serving.meters import Meters

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def listen(bind: str) -> socket.socket:
    """A listening socket, made before the workers are. Raises OSError if the address is taken."""
    host, _, port = bind.rpartition(":")
    return socket.create_server((host.strip("[]"), int(port)), backlog=16)


def show(listener: socket.socket, meters: Meters) -> None:
    """Answer on the socket from now on, in a thread of this worker."""
    registry = CollectorRegistry()
    registry.register(meters)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.partition("?")[0] in ("/", "/metrics", "/prometheus")
            body = generate_latest(registry) if known else b"found no such path; metrics are at /metrics\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: who asks every few seconds is no news."""

    server = ThreadingHTTPServer(listener.getsockname()[:2], Page, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
