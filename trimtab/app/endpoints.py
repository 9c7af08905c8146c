"""
The HTTP door's endpoints: events of new objects, labels, runs on demand, status. They decide nothing.

The platform's token for everything but health and messages that SNS has signed; given as a bearer, or as the password
of a basic login, since some senders have nothing else. What is answered with success stands in the store already.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from trimtab.app.events import Event
from trimtab.app.exposition import CONTENT_TYPE
from trimtab.app.notifications.reading import read
from trimtab.app.notifications.sns import SNS_HEADER, Refused, Sns
from trimtab.core.errors import Invalid, NotFound, TrimtabError, Unavailable

LARGEST_BODY = 1 << 20  # bytes: a thousand records of AWS are 0.7 MB
MOST_AT_ONCE = 64  # requests with a body: what is being read stays below 72 MiB, whoever calls
MOST_STRANGERS = 8  # the same of senders without the token, whose signature is judged once the body is here
BODY_SECONDS = 20.0  # for a body to arrive: who sends slowly keeps nobody else out
EVENTS = "/v1/events"
OPEN = ("/healthz", "/readyz")
HINT_401 = "see .trimtab/env, or the Secret with TRIMTAB_TOKEN in a cluster"
STATUS_OF = {NotFound: 404, Invalid: 400, Unavailable: 503}


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


class Front(Protocol):
    """All desks of a platform."""

    def note(self, events: list[Event]) -> int:
        """As `Desk.note`, each event to whom it concerns."""

    def desk(self, name: str, namespace: str = "") -> Desk:
        """
        Of a model; without a namespace, of the only one by that name.

        Raises:
            NotFound: If there is none.
            Invalid: If several namespaces have one.
            Unavailable: If it cannot be said yet.
        """

    def metrics_text(self) -> bytes: ...

    def not_ready(self) -> str:
        """Why nothing should be sent here yet; empty once it may."""


@dataclass(frozen=True)
class OneModel:
    """The front of a platform that works for one model."""

    only: Desk

    def note(self, events: list[Event]) -> int:
        return self.only.note(events)

    def desk(self, name: str, namespace: str = "") -> Desk:
        if name != self.only.model_name:
            raise NotFound(f"found no model {name!r} here; this platform works for {self.only.model_name}")
        return self.only

    def metrics_text(self) -> bytes:
        return self.only.metrics_text()

    def not_ready(self) -> str:
        return ""


def make_app(front: Front, token: str, sns: Sns | None = None, most_at_once: int = MOST_AT_ONCE) -> FastAPI:
    """
    The endpoints over desks.

    Args:
        token: What callers need.
        sns: Judges messages that come without the token and are signed instead.
        most_at_once: Requests with a body.
    """
    rooms = {True: most_at_once, False: MOST_STRANGERS}  # who shows the token is never kept out by who does not
    guards = {known: threading.Semaphore(room) for known, room in rooms.items()}
    app = FastAPI(title="trimtab", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(TrimtabError, _tell_error)
    app.add_exception_handler(HTTPException, _tell_http_error)

    @app.middleware("http")
    async def let_in(request: Request, go_on: Callable[[Request], Awaitable[Any]]) -> Any:
        request.state.known = _allowed(request, token)
        signed = sns is not None and request.url.path == EVENTS and SNS_HEADER in request.headers
        if request.url.path not in OPEN and not request.state.known and not signed:
            return _answer(401, "needed `Authorization: Bearer TOKEN` with this platform's token", HINT_401)
        if request.method != "POST":
            return await go_on(request)
        guard = guards[request.state.known]
        if not guard.acquire(blocking=False):
            taken = f"{rooms[request.state.known]} requests are being taken already"
            return _answer(503, taken, "send it again a little later")
        try:
            return await go_on(request)
        finally:
            guard.release()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        why = front.not_ready()
        return _answer(503, why) if why else JSONResponse({"status": "ready"})

    @app.post(EVENTS)
    async def take_events(request: Request) -> JSONResponse:
        body = await _body(request)
        if body is None:
            return _answer(413, f"found a body of more than {LARGEST_BODY} bytes", "send fewer records at a time")
        return await run_in_threadpool(_take_events, front, dict(request.headers), body, request.state.known, sns)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(front.metrics_text(), media_type=CONTENT_TYPE)

    for prefix in ("/v1/models/{name}", "/v1/namespaces/{namespace}/models/{name}"):
        app.include_router(_of_one_model(front, prefix))
    return app


def _of_one_model(front: Front, prefix: str) -> APIRouter:
    router = APIRouter(prefix=prefix)

    @router.post("/runs")
    def ask_run(name: str, namespace: str = "") -> JSONResponse:
        return JSONResponse({"request": front.desk(name, namespace).ask_run()}, status_code=202)

    @router.post("/labels")
    async def take_labels(request: Request, name: str, namespace: str = "") -> JSONResponse:
        desk = await run_in_threadpool(front.desk, name, namespace)
        body = await _body(request)
        if body is None:
            return _answer(413, f"found a body of more than {LARGEST_BODY} bytes", "send fewer labels at a time")
        return JSONResponse({"labels": await run_in_threadpool(desk.add_labels, body)}, status_code=202)

    @router.post("/rollout")
    def look_at_rollout(name: str, namespace: str = "") -> JSONResponse:
        front.desk(name, namespace).wake_rollouts()
        return JSONResponse({"model": name}, status_code=202)

    @router.get("/status")
    def status(name: str, namespace: str = "") -> JSONResponse:
        return JSONResponse(front.desk(name, namespace).status_json())

    return router


def _take_events(front: Front, headers: Mapping[str, str], body: bytes, known: bool, sns: Sns | None) -> JSONResponse:
    """
    Args:
        known: Whether the sender showed the token.
    """
    if SNS_HEADER in headers and sns is not None:
        try:
            message = sns.judge(body, known)
        except Refused as error:
            return _answer(403, error.message, error.hint)
        if message is None:
            return JSONResponse({"objects": 0, "new": 0}, status_code=202)
        headers, body = {}, message
    events = read(body, headers)
    return JSONResponse({"objects": len(events), "new": front.note(events)}, status_code=202)


def _allowed(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        given = _password(given)
    elif scheme.lower() != "bearer":
        return False
    # Compared as bytes: compare_digest refuses text that is not ASCII. An empty token lets nobody in.
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


async def _body(request: Request) -> bytes | None:
    """
    The body, or None as soon as it is too large, whatever its Content-Length says.

    Raises:
        HTTPException: 408 if it does not arrive in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    return None
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    return bytes(body)


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
