"""A request that cannot be answered through no fault of the model: what was found, where, and what is needed."""

from __future__ import annotations

SHOWN = 60  # characters of a value that an answer repeats

WORDS = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "MODEL_FAILED",
    503: "NOT_READY",
}


class Refused(Exception):
    """
    The request's own fault, told to whoever sent it.

    Args:
        field: Where in the request, as a path (`data.names`) or a column's name; empty for all of it.
        found: What is wrong there, and what was needed.
        code: The HTTP status, 4xx.
    """

    def __init__(self, field: str, found: str, code: int = 400) -> None:
        super().__init__(f"{field}: {found}" if field else found)
        self.field = field
        self.code = code


def shown(value: object) -> str:
    """
    A value as an answer repeats it: short, whatever it is.

    >>> shown("x"), shown(None), shown([1, 2])
    ("'x'", 'null', 'a list')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
