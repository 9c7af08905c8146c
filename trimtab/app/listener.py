"""
The HTTP door: events of new objects, labels, runs on demand, status. It decides nothing.

Loopback only; a bearer token for everything but `/healthz`. What is answered with success stands in the store already.
"""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from trimtab.app.events import Event, parse
from trimtab.app.exposition import CONTENT_TYPE
from trimtab.core.errors import Invalid, NotFound, TrimtabError, Unavailable

LARGEST_BODY = 1 << 20  # bytes: a thousand records of AWS are 0.7 MB
STOP_SECONDS = 10.0
STATUS_OF = {NotFound: 404, Invalid: 400, Unavailable: 503}
log = logging.getLogger("trimtab.listener")


class Desk(Protocol):
    """What the listener hands its callers' wishes to."""

    @property
    def model_name(self) -> str: ...

    def note(self, events: list[Event]) -> int:
        """Write the objects down; returns how many were new. Raises Unavailable when the store does not answer."""

    def ask_run(self) -> str:
        """Ask for a run on demand; returns the request's id."""

    def add_labels(self, body: bytes) -> int:
        """Keep the labels of a request; returns how many. Raises Invalid when one of them is wrong, Unavailable."""

    def wake_rollouts(self) -> None:
        """Something was asked of a rollout, or of who is champion: look now."""

    def status_json(self) -> dict[str, Any]: ...

    def metrics_text(self) -> bytes:
        """What is known, as Prometheus reads it."""


def make_app(desk: Desk, token: str) -> FastAPI:
    """The endpoints over a desk; `token` is the bearer token that callers need."""
    app = FastAPI(title="trimtab", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(TrimtabError, _tell_error)
    app.add_exception_handler(HTTPException, _tell_http_error)

    @app.middleware("http")
    async def require_token(request: Request, go_on: Callable[[Request], Awaitable[Any]]) -> Any:
        if request.url.path != "/healthz" and not _allowed(request, token):
            return _answer(401, "needed `Authorization: Bearer TOKEN` with this platform's token", "see .trimtab/env")
        return await go_on(request)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/events")
    async def take_events(request: Request) -> JSONResponse:
        body = await _body(request)
        if body is None:
            return _answer(413, f"found a body of more than {LARGEST_BODY} bytes", "send fewer records at a time")
        events = parse(body)
        new = await run_in_threadpool(desk.note, events)
        return JSONResponse({"objects": len(events), "new": new}, status_code=202)

    @app.post("/v1/models/{name}/runs")
    def ask_run(name: str) -> JSONResponse:
        _require_model(desk, name)
        return JSONResponse({"request": desk.ask_run()}, status_code=202)

    @app.post("/v1/models/{name}/labels")
    async def take_labels(name: str, request: Request) -> JSONResponse:
        _require_model(desk, name)
        body = await _body(request)
        if body is None:
            return _answer(413, f"found a body of more than {LARGEST_BODY} bytes", "send fewer labels at a time")
        return JSONResponse({"labels": await run_in_threadpool(desk.add_labels, body)}, status_code=202)

    @app.post("/v1/models/{name}/rollout")
    def look_at_rollout(name: str) -> JSONResponse:
        _require_model(desk, name)
        desk.wake_rollouts()
        return JSONResponse({"model": name}, status_code=202)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(desk.metrics_text(), media_type=CONTENT_TYPE)

    @app.get("/v1/models/{name}/status")
    def status(name: str) -> JSONResponse:
        _require_model(desk, name)
        return JSONResponse(desk.status_json())

    return app


def _allowed(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared as bytes: compare_digest refuses text that is not ASCII. An empty token lets nobody in.
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is too large, whatever its Content-Length says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


def _require_model(desk: Desk, name: str) -> None:
    if name != desk.model_name:
        raise NotFound(f"found no model {name!r} here; this platform works for {desk.model_name}")


def _answer(status: int, error: str, hint: str = "") -> JSONResponse:
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    return JSONResponse({"error": error, "hint": hint} if hint else {"error": error}, status, headers)


def _tell_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TrimtabError)
    status = next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 500)
    return _answer(status, error.message, error.hint)


def _tell_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


@dataclass
class Listener:
    """The endpoints in a thread of this process, from `start` to `stop`."""

    desk: Desk
    token: str
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one

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
        config = uvicorn.Config(make_app(self.desk, self.token), log_config=None, access_log=False, lifespan="off")
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
