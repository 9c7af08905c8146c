"""
The WSGI application: predictions and feedback are answered here, health and metadata by Seldon's own Flask app.

Flask and its CORS handling cost a third of a millisecond a request, which the paths that count do not pay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any

from trimtab.serving import seldon_payload, v2_payload
from trimtab.serving.answering import MAX_BODY_BYTES, Answering, Asked, Protocol, Reply, is_shadow, parse, request_id
from trimtab.serving.refusal import Refused

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]

PREDICT = ("/api/v1.0/predictions", "/api/v0.1/predictions", "/predict")
FEEDBACK = ("/api/v1.0/feedback", "/api/v0.1/feedback", "/send-feedback")
SELDON = (
    "/health/ping",
    "/health/status",
    "/api/v1.0/health/status",
    "/metadata",
    "/api/v1.0/metadata",
    "/seldon.json",
)
UNREAD = "trimtab.unread"  # in the environ: the body was left alone, so the connection cannot go on
STATUS = {code: f"{code} {text}" for code, text in responses.items()}


class Application:
    """
    Args:
        answering: The loaded version.
        seldon: Seldon's own app over the same model.
    """

    def __init__(self, answering: Answering, seldon: Wsgi) -> None:
        self._answering = answering
        self._seldon = seldon
        served = answering.served
        self._own = [("x-model-version", str(served.version)), ("x-model-variant", served.variant)]
        here = f"/v2/models/{served.name}"
        versioned = f"{here}/versions/{served.version}"
        self._infer = {f"{here}/infer", f"{versioned}/infer"}
        schema = served.schema
        described = v2_payload.metadata(
            served.name,
            served.version,
            [(name, kind) for name, kind, _ in schema.columns],
            (schema.target, schema.target_type),
            len(schema.classes),
        )
        self._told: dict[str, dict[str, Any]] = {
            "/v2": {"name": "trimtab", "version": "1", "extensions": []},
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            **{f"{path}/ready": {"name": served.name, "ready": True} for path in (here, versioned)},
            **dict.fromkeys((here, versioned), described),
        }

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in PREDICT:
            return self._asked(environ, start_response, "seldon", self._answering.predict)
        if path in self._infer:
            return self._asked(environ, start_response, "v2", self._answering.predict)
        if path in FEEDBACK:
            feedback = self._answering.feedback
            return self._asked(environ, start_response, "seldon", lambda message, asked, _: feedback(message, asked))
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            environ[UNREAD] = True
        if path in SELDON and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._seldon(environ, start_response)
        if path in self._told or path in SELDON:
            return self._tell(environ, start_response, path)
        text = f"{path}: found no such path; predictions are asked for by POST {PREDICT[0]} or {min(self._infer)}"
        return self._send(start_response, 404, _failure(path, 404, text))

    def _asked(
        self,
        environ: Environ,
        start_response: Start,
        protocol: Protocol,
        answer: Callable[[Callable[[], Any], Asked, Protocol], Reply],
    ) -> Iterable[bytes]:
        asked = Asked("", is_shadow(environ.get("HTTP_HOST")))
        try:
            asked.id = request_id(environ.get("HTTP_SELDON_PUID"), environ.get("HTTP_X_REQUEST_ID"))
            if environ["REQUEST_METHOD"] != "POST":
                raise Refused("", f"found {environ['REQUEST_METHOD']}; it must be POST", 405)
        except Refused as refused:
            environ[UNREAD] = True
            reply = self._answering.refuse(refused, asked, protocol)
        else:
            reply = answer(lambda: parse(read_body(environ)), asked, protocol)
        return self._send(start_response, reply.code, reply.body, asked.id)

    def _tell(self, environ: Environ, start_response: Start, path: str) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._send(start_response, 200, json.dumps(self._told[path]).encode())
        text = f"{path}: found {environ['REQUEST_METHOD']}; it must be GET"
        return self._send(start_response, 405, _failure(path, 405, text))

    def _send(self, start_response: Start, code: int, body: bytes, request: str = "") -> list[bytes]:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *self._own]
        if request:
            headers.append(("Seldon-Puid", request))
        start_response(STATUS[code], headers)
        return [body]


def _failure(path: str, code: int, text: str) -> bytes:
    told = {"error": text} if path.startswith("/v2") else seldon_payload.failure(code, text)
    return json.dumps(told).encode()


def read_body(environ: Environ) -> bytes:
    """
    The request's body, whole.

    Raises:
        Refused: If it is no JSON by its headers, too large, or ends too early.
    """
    environ[UNREAD] = True
    form = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if form not in ("application/json", "") and not form.endswith("+json"):
        raise Refused("Content-Type", f"found {form[:60]}; it must be application/json", 415)
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in ("identity", ""):
        raise Refused("Content-Encoding", "a body must come as it is, not compressed", 415)
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise Refused("", f"the body has {int(length):,} bytes; at most {MAX_BODY_BYTES:,} are read", 413)
    try:
        body: bytes = environ["wsgi.input"].read(int(length) if length.isdecimal() else MAX_BODY_BYTES + 1)
    except TimeoutError:
        raise Refused("", "the rest of the body did not come in time", 408) from None
    except OSError as error:
        raise Refused("", f"the body cannot be read: {error}") from None
    if len(body) > MAX_BODY_BYTES:
        raise Refused("", f"the body has more than {MAX_BODY_BYTES:,} bytes", 413)
    if length.isdecimal() and len(body) < int(length):
        raise Refused("", f"the body ends after {len(body):,} of {int(length):,} bytes")
    environ[UNREAD] = False
    return body
