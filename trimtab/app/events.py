"""What object stores say when an object has come, read into (bucket, key, etag)."""

from __future__ import annotations

from trimtab.app.notifications.event import Event as Event
from trimtab.app.notifications.reading import read as parse

__all__ = ["Event", "parse"]
