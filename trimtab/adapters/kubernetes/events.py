"""Kubernetes Events: what `kubectl describe` and `kubectl events` show of an object's history, each told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import EVENT
from trimtab.core.errors import Conflict, Invalid, NotFound, Unavailable

REPORTER = "trimtab.dev/controller"
MOST_NOTE = 1024  # bytes; the API server refuses longer ones
log = logging.getLogger("trimtab.events")


class Events:
    """
    Tells Events about objects. What cannot be told is logged and left: the journal in the state says the same.

    Args:
        instance: Which process tells them, such as its pod's name.
    """

    def __init__(self, api: Api, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._api = api
        self._instance = instance[:128] or "trimtab"
        self._now = now

    def tell(
        self,
        regarding: Object,
        id: str,
        reason: str,
        note: str,
        kind: Literal["Normal", "Warning"] = "Normal",
        action: str = "",
    ) -> None:
        """
        Tell it, unless it was told before.

        Args:
            regarding: The object, with its uid.
            id: Names what it tells of, such as `decision/5`: told once an object.
            reason: One word in CamelCase.
            note: A sentence; what is too long is cut.
            action: What was done, one word in CamelCase; without it the reason.
        """
        meta = regarding["metadata"]
        name = f"{meta['name'][:200]}.{sha256('/'.join((meta['uid'], id)).encode()).hexdigest()[:16]}"
        body: Object = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "eventTime": self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": REPORTER,
            "reportingInstance": self._instance,
            "action": action or reason,
            "reason": reason,
            "type": kind,
            "note": cut(note),
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        }
        try:
            self._api.create(EVENT, body, meta["namespace"])
        except Conflict:
            return  # told before
        except (Unavailable, NotFound, Invalid) as error:
            log.info("the event %s of %s was not told: %s", reason, meta["name"], error.message)


def cut(note: str, most: int = MOST_NOTE) -> str:
    """
    Text of at most so many bytes.

    >>> cut("a sentence", 6)
    'a s…'
    """
    body = note.encode()
    return note if len(body) <= most else body[: most - 3].decode(errors="ignore") + "…"
