"""
A small server in place of a model server, told by the same variables; a test steers it by files in STAND_IN_FOLDER.

`v7.ready` makes version 7 ready, `v7.broken` ends it at its start with the file's text. A request may ask version 7
for a status by `x-status-v7`, for a pause by `x-seconds-v7`, and for its death by `x-die-v7`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "v" + os.environ["TRIMTAB_VERSION"]
FOLDER = Path(os.environ["STAND_IN_FOLDER"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    timeout = 60

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/health/"):
            self.tell(200 if (FOLDER / f"{NAME}.ready").exists() else 503, {"health": NAME})
        else:
            self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get(f"x-die-{NAME}"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(self.headers.get(f"x-seconds-{NAME}") or 0))
        with (FOLDER / f"{NAME}.requests").open("a") as file:
            asked = {name.lower(): value for name, value in self.headers.items()}
            file.write(json.dumps({**asked, "path": self.path, "bytes": len(body)}) + "\n")
        self.tell(int(self.headers.get(f"x-status-{NAME}") or 200), {"version": NAME, "bytes": len(body)})

    def tell(self, status: int, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-model-variant", NAME)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


if (FOLDER / f"{NAME}.broken").exists():
    sys.exit((FOLDER / f"{NAME}.broken").read_text())
host, _, port = os.environ["TRIMTAB_BIND"].partition(":")
signal.signal(signal.SIGTERM, lambda number, frame: (print("flushed", flush=True), os._exit(0)))
Server((host, int(port)), Handler).serve_forever()
