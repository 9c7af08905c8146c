"""Answers that refuse, in the two shapes that the real server has."""

from __future__ import annotations

from typing import Any

HTTP = {3: 400, 5: 404, 6: 409, 7: 403, 10: 409, 12: 501, 13: 500, 16: 401}


class Refused(Exception):
    """A gRPC status: `message` is the chain of contexts, `short` the stable text at its end."""

    def __init__(self, code: int, message: str, short: str = "") -> None:
        super().__init__(message)
        self.status = HTTP[code]
        # Of an internal error the details tell nothing.
        detail = "Internal Server Error" if code == 13 else short or message
        kind = "type.googleapis.com/google.rpc.Status"
        self.body: Any = {
            "code": code,
            "message": message,
            "details": [{"@type": kind, "code": code, "message": detail}],
        }


class Plain(Refused):
    """A gRPC status without details, as the gateway itself answers."""

    def __init__(self, code: int, message: str, status: int = 0) -> None:
        super().__init__(code, message)
        self.status = status or self.status
        self.body = {"code": code, "message": message}


class UploadRefused(Refused):
    """The other shape: uploads answer with a text and a stack trace."""

    def __init__(self, status: int, message: str, details: str = "") -> None:
        super().__init__(3, message)
        self.status = status
        self.body = {"error_message": message, "error_details": f"{details or message}\ngoroutine 1 [running]:"}


class Text(Refused):
    """Length errors of uploads are plain text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(3, message)
        self.status = status
        self.body = message


class Lost(Exception):
    """The connection breaks before an answer."""
