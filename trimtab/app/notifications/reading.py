"""
A message about new objects, whoever sent it and whatever carried it, read into events.

An event is a hint: it may be lost, late, doubled, or about something else. The listing is the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.app.notifications import cloud_events, records, seaweedfs
from trimtab.app.notifications.event import Event, event
from trimtab.app.notifications.values import KNOWN, decoded, keys, kind, mapping, text
from trimtab.core.errors import Invalid

DEEPEST = 4  # envelopes around a message: a CloudEvent of SQS of SNS of S3
EVENT_BRIDGE_CREATED = "Object Created"


def read(body: bytes, headers: Mapping[str, str] | None = None) -> list[Event]:
    """
    The objects that a message tells of; none when it is about something else (a folder, a deletion, a test).

    Args:
        headers: Of the request, names in lower case; none where it came otherwise.

    Raises:
        Invalid: If the message is of no kind that is known.

    >>> read(b'{"event_type": "create", "key": "/buckets/flights/in/a b.csv", "message": {"new_entry": {}}}')
    [Event(bucket='flights', key='in/a b.csv', etag=None)]
    """
    headers = headers or {}
    content = headers.get("content-type", "").partition(";")[0].strip().lower()
    enveloped = content in (cloud_events.STRUCTURED, cloud_events.BATCH)
    if cloud_events.HEADER in headers and not enveloped:
        return cloud_events.of_headers(headers, body, lambda data: _of(data, 1))
    payload = decoded(body)
    if isinstance(payload, list) and (content == cloud_events.BATCH or _all_cloud_events(payload)):
        return [found for each in payload for found in _of(each, 1)]
    return _of(payload, 0)


def _all_cloud_events(payload: list[Any]) -> bool:
    return bool(payload) and all(isinstance(each, dict) and "specversion" in each for each in payload)


def _of(payload: object, depth: int) -> list[Event]:
    """The objects of one JSON value, by its shape."""
    if not isinstance(payload, dict):
        raise Invalid(f"found JSON of type {kind(payload)}; needed an object", KNOWN)
    if depth > DEEPEST:
        raise Invalid(f"found a message within more than {DEEPEST} others; needed an event", KNOWN)

    def within(message: object) -> list[Event]:
        return _of(message, depth + 1)

    if "Records" in payload:
        return records.events(payload["Records"], "Records", within)
    if "event_type" in payload:
        return seaweedfs.events(payload)
    if "specversion" in payload:
        return cloud_events.of_envelope(payload, within)
    if "detail-type" in payload and "detail" in payload:
        return _of_event_bridge(payload)
    if "TopicArn" in payload and "Message" in payload:
        return _of_sns(payload, within)
    if "notification" in payload:  # Argo Events' source for MinIO
        return records.events(payload["notification"], "notification", within)
    if "context" in payload and "data" in payload:  # an event of Argo Events as a whole
        return within(payload["data"])
    if "EventName" in payload and "Key" in payload:
        return _of_minio(payload)
    if payload.get("Event") == "s3:TestEvent":
        return []  # AWS sends it once, when notifications are set up
    raise Invalid(f"found an object with {keys(payload)}; needed `Records` or `event_type`", KNOWN)


def _of_event_bridge(payload: Mapping[str, Any]) -> list[Event]:
    """EventBridge: the key as it is, not urlencoded."""
    if payload["detail-type"] != EVENT_BRIDGE_CREATED:
        return []
    detail = mapping(payload["detail"], "detail")
    bucket = text(mapping(detail.get("bucket"), "detail.bucket").get("name"), "detail.bucket.name")
    found = mapping(detail.get("object"), "detail.object")
    key = text(found.get("key"), "detail.object.key")
    return [] if key.endswith("/") else [event(bucket, key, found.get("etag"))]


def _of_sns(envelope: Mapping[str, Any], within: Any) -> list[Event]:
    """A notification of SNS in a queue, or from a sender who is known."""
    if envelope.get("Type", "Notification") != "Notification":
        return []
    found: list[Event] = within(decoded(text(envelope["Message"], "Message")))
    return found


def _of_minio(payload: Mapping[str, Any]) -> list[Event]:
    """MinIO's own short form, without records: `Key` is BUCKET/KEY, as it is."""
    if not text(payload["EventName"], "EventName").removeprefix("s3:").startswith(records.CREATED):
        return []
    bucket, _, key = text(payload["Key"], "Key").partition("/")
    return [] if not key or key.endswith("/") else [event(bucket, key)]
