"""The HTTP door as a thread: a port, and the endpoints behind it."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

import uvicorn

from trimtab.app.endpoints import MOST_AT_ONCE, Front, make_app
from trimtab.app.notifications.sns import Sns
from trimtab.core.errors import Unavailable

STOP_SECONDS = 10.0


@dataclass
class Listener:
    """The endpoints in a thread of this process, from `start` to `stop`."""

    front: Front
    token: str
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    sns: Sns | None = None
    most_at_once: int = MOST_AT_ONCE

    def start(self) -> int:
        """
        Serve; returns the port once connections are accepted.

        Raises:
            Unavailable: If the port is taken.
        """
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.host, self.port))
        except OSError as error:
            sock.close()
            raise Unavailable(f"cannot listen on {self.host}:{self.port}: {error.strerror}") from error
        sock.listen(128)
        self.port = sock.getsockname()[1]
        app = make_app(self.front, self.token, self.sns, self.most_at_once)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        config.timeout_graceful_shutdown = 2
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [sock]}, name="trimtab-listener", daemon=True
        )
        self._thread.start()
        return self.port

    def stop(self) -> None:
        """Finish what is being answered (at most 2 s) and close the port."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
