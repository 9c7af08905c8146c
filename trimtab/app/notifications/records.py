"""The `Records` of AWS S3, which MinIO and Ceph write too, and what SQS and SNS put around them for functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trimtab.app.notifications.event import Event, event
from trimtab.app.notifications.values import KNOWN, decoded, kind, mapping, text, urldecoded
from trimtab.core.errors import Invalid

CREATED = "ObjectCreated:"
Within = Callable[[Any], list[Event]]


def events(records: object, where: str, within: Within) -> list[Event]:
    """
    The objects of a list of records.

    Args:
        where: What the list is called, for errors.
        within: Reads the message that a record wraps.
    """
    if not isinstance(records, list):
        raise Invalid(f"found `{where}` of type {kind(records)}; needed a list", KNOWN)
    return [found for number, each in enumerate(records) for found in _of(each, f"{where}[{number}]", within)]


def _of(record: object, where: str, within: Within) -> Iterator[Event]:
    found = mapping(record, where)
    if "s3" not in found and isinstance(found.get("Sns"), dict):
        yield from within(decoded(text(found["Sns"].get("Message"), f"{where}.Sns.Message")))
    elif "s3" not in found and isinstance(found.get("body"), str):
        yield from within(decoded(found["body"]))
    else:
        yield from created(found, where)


def created(record: Mapping[str, Any], where: str) -> Iterator[Event]:
    """The object of one record, if it was created."""
    name = text(record.get("eventName"), f"{where}.eventName")
    # AWS and Ceph write ObjectCreated:Put, MinIO and older Ceph s3:ObjectCreated:Put.
    if not name.removeprefix("s3:").startswith(CREATED):
        return
    s3 = mapping(record.get("s3"), f"{where}.s3")
    bucket = text(mapping(s3.get("bucket"), f"{where}.s3.bucket").get("name"), f"{where}.s3.bucket.name")
    found = mapping(s3.get("object"), f"{where}.s3.object")
    key = urldecoded(text(found.get("key"), f"{where}.s3.object.key"), f"{where}.s3.object.key")
    # MinIO's console tells of a folder as an object whose key ends with a slash.
    if not key.endswith("/"):
        yield event(bucket, key, found.get("eTag") or found.get("etag"))
