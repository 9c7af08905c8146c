"""
CloudEvents 1.0: in one JSON (structured), in headers (binary) or many at once (batch).

Knative and Argo Events carry them; Ceph writes them around its `Records`, and the CNCF's adapter for S3 around a single
record. Knative's IntegrationSource for S3 sends the object's content and nowhere its name: such an event says only that
something has come.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.app.notifications.event import SOMETHING, Event
from trimtab.app.notifications.values import KNOWN, decoded, mapping, text
from trimtab.core.errors import Invalid

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
HEADER = "ce-specversion"
# com.amazonaws.s3.ObjectCreated:Put by the CNCF's adapter, com.amazonaws.ObjectCreated:Put by Ceph.
AMAZON = ("com.amazonaws.s3.", "com.amazonaws.")
CONTENT = frozenset(
    {"dev.knative.eventing.aws-s3", "dev.knative.eventing.aws.s3", "dev.knative.connector.event.aws-s3"}
)
Within = Callable[[Any], list[Event]]


def of_envelope(envelope: Mapping[str, Any], within: Within) -> list[Event]:
    """The objects of an event in one JSON."""
    kind = text(envelope.get("type"), "type")
    if kind in CONTENT:
        return [SOMETHING]
    if "data_base64" in envelope:
        return _of(kind, decoded(_bytes(text(envelope["data_base64"], "data_base64"))), within)
    data = envelope.get("data")
    # A carrier that did not know the content's type hands JSON on as text.
    return _of(kind, decoded(data) if isinstance(data, str) and data else data, within)


def of_headers(headers: Mapping[str, str], body: bytes, within: Within) -> list[Event]:
    """The objects of an event whose attributes are headers, in lower case, and whose data is the body."""
    kind = text(headers.get("ce-type"), "the header ce-type")
    return [SOMETHING] if kind in CONTENT else _of(kind, decoded(body), within)


def _of(kind: str, data: object, within: Within) -> list[Event]:
    name = next((kind.removeprefix(each) for each in AMAZON if kind.startswith(each)), None)
    if name is not None and not name.removeprefix("s3:").startswith("ObjectCreated"):
        return []
    found = mapping(data, f"the data of the event {kind[:100]!r}")
    # The CNCF's adapter makes an event of each record.
    return within({"Records": [found]} if "s3" in found and "Records" not in found else found)


def _bytes(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"found a `data_base64` that is not base64 ({error})", KNOWN) from error
