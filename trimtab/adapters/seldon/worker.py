"""
A gunicorn worker that gives each connection a thread of its own, for as long as it lasts.

The router holds a few connections and asks on them again and again. gunicorn's own threaded worker passes each request
through its main thread and a pool, two changes of thread a request; its plain one closes the connection each time.
Here a request is read, answered and written in one place, with one write. Bodies that do not come are given up, and
what cannot be parsed is told in JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from typing import Any

from gunicorn import util
from gunicorn.http import RequestParser
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, NoMoreData, ParseException
from gunicorn.http.wsgi import Response, create
from gunicorn.workers.base import Worker

from trimtab.adapters.seldon.application import STATUS, UNREAD
from trimtab.serving.seldon_payload import failure

# Envoy keeps an idle connection for an hour: who asks must be the one that closes, or a request meets the closing.
IDLE_SECONDS = 3700.0
TRANSFER_SECONDS = 10.0  # without a byte of a request that has begun, or of room for the answer
LINGER_SECONDS = 1.0  # the rest of a refused body is read for so long, or the answer would be lost with it
DRAIN_SECONDS = 8.0  # requests in flight are finished at the end


class OneWrite(Response):  # type: ignore[misc]
    """gunicorn's response, its headers and body sent together."""

    response_length: int | None

    def finish(self, body: bytes) -> None:
        self.chunked = False
        if self.response_length is None:
            self.response_length = len(body)
            self.headers.append(("Content-Length", str(len(body))))
        headers = self.default_headers()
        headers.extend(f"{name}: {value}\r\n" for name, value in self.headers)
        self.headers_sent = True
        head = ("".join(headers) + "\r\n").encode("latin-1")
        self.sock.sendall(head if self.req.method == "HEAD" else head + body)


class ConnectionThreads(Worker):  # type: ignore[misc]
    """Up to `cfg.threads` connections at once; further ones wait in the kernel's queue."""

    alive: bool

    def init_process(self) -> None:
        self._slots = threading.BoundedSemaphore(self.cfg.threads)
        self._idle: set[socket.socket] = set()
        self._open = 0
        self._lock = threading.Lock()
        super().init_process()

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        for listener in self.sockets:
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ, listener)
        selector.register(self.PIPE[0], selectors.EVENT_READ, None)  # a signal came
        while self.alive and self.ppid == os.getppid():
            self.notify()
            for key, _ in selector.select(1.0):
                if key.data is not None:
                    self._accept(key.data)
        self.alive = False
        # What waits in the kernel's queue has been promised an answer by the connection itself.
        for listener in self.sockets:
            while self._accept(listener):
                pass
            listener.close()
        self._drain()

    def _accept(self, listener: Any) -> bool:
        if not self._slots.acquire(timeout=0.5):
            return False
        try:
            client, address = listener.accept()
        except OSError:
            self._slots.release()
            return False
        with self._lock:
            self._open += 1
        threading.Thread(target=self._hold, args=(client, address, listener.getsockname()), daemon=True).start()
        return True

    def _drain(self) -> None:
        """End idle connections, and wait for those at work."""
        deadline = time.monotonic() + min(DRAIN_SECONDS, self.cfg.graceful_timeout)
        with self._lock:
            for client in self._idle:
                # What has come already is still read after this, so no request is dropped.
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RD)
        while self._open and time.monotonic() < deadline:
            self.notify()
            time.sleep(0.01)

    def _hold(self, client: socket.socket, address: Any, server: Any) -> None:
        """One connection, until either side ends it."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            parser = RequestParser(self.cfg, client, address)
            while self._one(parser, client, address, server):
                pass
        except (OSError, StopIteration):
            pass
        except ParseException as error:
            with contextlib.suppress(OSError):
                self._tell(client, 431 if isinstance(error, LimitRequestHeaders | LimitRequestLine) else 400, error)
        except Exception as error:
            self.log.exception("a request ended with an error of the server's own")
            with contextlib.suppress(OSError):
                self._tell(client, 500, error)
        finally:
            with contextlib.suppress(OSError):
                client.close()
            with self._lock:
                self._open -= 1
            self._slots.release()

    def _one(self, parser: Any, client: socket.socket, address: Any, server: Any) -> bool:
        """One request with its answer; False where the connection ends with it."""
        if not parser.unreader.buf.tell() and not self._asked(client, bool(parser.req_count)):
            return False
        client.settimeout(TRANSFER_SECONDS)
        try:
            request = next(parser)
        except NoMoreData:
            return False
        _, environ = create(request, client, address, server, self.cfg)
        environ["wsgi.multithread"] = True
        answer = OneWrite(request, client, self.cfg)
        body = b"".join(self.wsgi(environ, answer.start_response))
        if environ.get(UNREAD) or not self.alive:
            answer.force_close()
        answer.finish(body)
        if environ.get(UNREAD):
            _linger(client)
        return not answer.should_close()

    def _asked(self, client: socket.socket, before: bool) -> bool:
        """Wait for a request's first byte; False where the connection ends instead."""
        with self._lock:
            if not self.alive and before:
                return False
            self._idle.add(client)
        try:
            client.settimeout(IDLE_SECONDS if self.alive else LINGER_SECONDS)
            return bool(client.recv(1, socket.MSG_PEEK))
        finally:
            with self._lock:
                self._idle.discard(client)

    def _tell(self, client: socket.socket, code: int, error: Exception) -> None:
        """What never reached the application gets its reason in JSON all the same."""
        text = (
            f"the server failed on it: {error}" if code == 500 else f"the request is no HTTP that can be read: {error}"
        )
        body = json.dumps(failure(code, text)).encode()
        head = (
            f"HTTP/1.1 {STATUS[code]}\r\nDate: {util.http_date()}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.settimeout(TRANSFER_SECONDS)
        client.sendall(head.encode() + body)
        _linger(client)


def _linger(client: socket.socket) -> None:
    """Read on for a moment: closing on unread bytes resets the connection, and the answer may be lost with it."""
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        client.settimeout(LINGER_SECONDS)
        deadline = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < deadline and client.recv(1 << 16):
            pass
