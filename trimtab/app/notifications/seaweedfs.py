"""SeaweedFS's webhook: one event of the filer a request, keys raw and with the bucket's folder before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.app.notifications.event import Event, event
from trimtab.app.notifications.values import KNOWN, mapping, text
from trimtab.core.errors import Invalid

CREATES = frozenset({"create", "update", "rename"})


def events(payload: Mapping[str, Any]) -> list[Event]:
    """The object, unless it is a folder, a deletion, or a part of an upload that goes on."""
    if text(payload["event_type"], "event_type") not in CREATES:
        return []
    path = text(payload.get("key"), "key")
    message = mapping(payload.get("message", {}), "message")
    entry = message.get("new_entry")
    if entry is None:
        return []
    if mapping(entry, "message.new_entry").get("is_directory"):
        return []
    root, buckets, bucket, key = (*path.split("/", 3), "", "", "")[:4]
    if root or buckets != "buckets" or not bucket:
        raise Invalid(f"found the key {path[:200]!r}; needed /buckets/BUCKET/KEY", KNOWN)
    # Parts of an upload that goes on; the object's own event comes when it is complete.
    if not key or key.startswith(".uploads/"):
        return []
    return [event(bucket, key)]
