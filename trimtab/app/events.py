"""
What object stores say when an object has come, read into (bucket, key, etag).

An event is a hint: it may be lost, late, doubled, or about something else. The listing is the truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from trimtab.core.errors import Invalid

LONGEST_KEY = 1024  # bytes of UTF-8, S3's own limit
KNOWN = (
    "SeaweedFS's webhook (`event_type`, `key`, `message`) and the `Records` of AWS S3, MinIO and Ceph are understood"
)
SEAWEED_CREATES = frozenset({"create", "update", "rename"})


@dataclass(frozen=True, slots=True)
class Event:
    """An object version that may have come; `etag` is None where the event does not tell it."""

    bucket: str
    key: str
    etag: str | None = None


def parse(body: bytes) -> list[Event]:
    """
    The objects that a notification tells of; none when it is about something else (a folder, a deletion, a test).

    Raises:
        Invalid: If the body is no notification of a kind that is known.

    >>> parse(b'{"event_type": "create", "key": "/buckets/flights/in/a b.csv", "message": {"new_entry": {}}}')
    [Event(bucket='flights', key='in/a b.csv', etag=None)]
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"found a body of {len(body)} bytes that is not JSON ({error}); needed an event", KNOWN
        ) from error
    if not isinstance(payload, dict):
        raise Invalid(f"found JSON of type {_kind(payload)}; needed an object", KNOWN)
    if "Records" in payload:
        return _records(payload["Records"])
    if "event_type" in payload:
        return _seaweedfs(payload)
    if payload.get("Event") == "s3:TestEvent":
        return []  # AWS sends it once, when notifications are set up
    raise Invalid(f"found an object with {_keys(payload)}; needed `Records` or `event_type`", KNOWN)


def _seaweedfs(payload: Mapping[str, Any]) -> list[Event]:
    if _text(payload["event_type"], "event_type") not in SEAWEED_CREATES:
        return []
    path = _text(payload.get("key"), "key")
    message = _mapping(payload.get("message", {}), "message")
    entry = message.get("new_entry")
    if entry is None:
        return []
    if _mapping(entry, "message.new_entry").get("is_directory"):
        return []
    root, buckets, bucket, key = (*path.split("/", 3), "", "", "")[:4]
    if root or buckets != "buckets" or not bucket:
        raise Invalid(f"found the key {path[:200]!r}; needed /buckets/BUCKET/KEY", KNOWN)
    # Parts of an upload that goes on; the object's own event comes when it is complete.
    if not key or key.startswith(".uploads/"):
        return []
    return [_event(bucket, key, None)]


def _records(records: object) -> list[Event]:
    if not isinstance(records, list):
        raise Invalid(f"found `Records` of type {_kind(records)}; needed a list", KNOWN)
    events = []
    for number, record in enumerate(records):
        where = f"Records[{number}]"
        name = _text(_mapping(record, where).get("eventName"), f"{where}.eventName")
        # AWS writes ObjectCreated:Put, MinIO and Ceph s3:ObjectCreated:Put.
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            continue
        s3 = _mapping(record.get("s3"), f"{where}.s3")
        bucket = _text(_mapping(s3.get("bucket"), f"{where}.s3.bucket").get("name"), f"{where}.s3.bucket.name")
        found = _mapping(s3.get("object"), f"{where}.s3.object")
        key = _decode(_text(found.get("key"), f"{where}.s3.object.key"), f"{where}.s3.object.key")
        etag = found.get("eTag")
        # MinIO's console tells of a folder as an object whose key ends with a slash.
        if not key.endswith("/"):
            events.append(_event(bucket, key, etag.strip('"') if isinstance(etag, str) and etag else None))
    return events


def _event(bucket: str, key: str, etag: str | None) -> Event:
    try:
        length = len(key.encode())
        bucket.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"found a key that is not UTF-8: {key[:200]!r}") from error
    if length > LONGEST_KEY:
        raise Invalid(f"found a key of {length} bytes; S3 allows {LONGEST_KEY}")
    return Event(bucket, key, etag)


def _decode(key: str, where: str) -> str:
    """Keys in `Records` are form-urlencoded: a plus is a space."""
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid(f"found {where} = {key[:200]!r}, which is not urlencoded UTF-8") from error


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"found {where} of type {_kind(value)}; needed an object", KNOWN)
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise Invalid(f"found {where} = {str(value)[:200]!r}; needed a text", KNOWN)
    return value


def _keys(payload: Mapping[str, Any]) -> str:
    return "no keys" if not payload else f"the keys {', '.join(sorted(map(repr, payload))[:8])[:200]}"


def _kind(value: object) -> str:
    return {"NoneType": "null", "list": "list", "str": "text", "dict": "object"}.get(type(value).__name__, "number")
