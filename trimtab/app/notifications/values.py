"""Values of a message from outside: what they must be, and what to say when they are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from trimtab.core.errors import Invalid

KNOWN = (
    "SeaweedFS's webhook (`event_type`, `key`, `message`), the `Records` of AWS S3, MinIO and Ceph, EventBridge, SNS, "
    "SQS, Argo Events and CloudEvents are understood"
)


def decoded(body: bytes | str) -> Any:
    """The JSON of a body. Raises Invalid when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"found a body of {len(body)} bytes that is not JSON ({error}); needed an event", KNOWN
        ) from error


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """The object. Raises Invalid when it is none."""
    if not isinstance(value, dict):
        raise Invalid(f"found {where} of type {kind(value)}; needed an object", KNOWN)
    return value


def text(value: object, where: str) -> str:
    """The text. Raises Invalid when it is none, or empty."""
    if not isinstance(value, str) or not value:
        raise Invalid(f"found {where} = {str(value)[:200]!r}; needed a text", KNOWN)
    return value


def urldecoded(key: str, where: str) -> str:
    """
    The key of form-urlencoded text, in which a plus is a space. Raises Invalid when it is none.

    >>> urldecoded("in/a+b%2Bc.csv", "key")
    'in/a b+c.csv'
    """
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid(f"found {where} = {key[:200]!r}, which is not urlencoded UTF-8") from error


def keys(payload: Mapping[str, Any]) -> str:
    """An object's keys, for people."""
    return "no keys" if not payload else f"the keys {', '.join(sorted(map(repr, payload))[:8])[:200]}"


def kind(value: object) -> str:
    """What JSON calls it."""
    return {"NoneType": "null", "list": "list", "str": "text", "dict": "object"}.get(type(value).__name__, "number")
