"""
Who may send a run to KFP: a mark in the state, taken before the request and compare-and-swapped.

KFP refuses a second run of one id only after it has made a second Workflow, which executes. So no two requests for one
id may be on their way at once, from whichever process, and one whose answer was lost keeps the others waiting for
longer than it can still take effect.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trimtab.adapters.state.layout import Layout
from trimtab.core.errors import Conflict, Unavailable
from trimtab.core.ports import Bucket, Buckets, RunRequest
from trimtab.core.records import canonical
from trimtab.core.spec.units import split_s3


@dataclass(frozen=True, slots=True)
class Posting:
    """The mark that a request was sent under."""

    bucket: Bucket
    key: str
    etag: str
    body: dict[str, Any]

    def refused(self) -> None:
        """The request had no effect and never will: the next may be sent at once."""
        try:
            self.bucket.replace(self.key, canonical({**self.body, "refused": True}), self.etag)
        except Conflict:
            return  # another has waited long enough, and sends its own


@dataclass(frozen=True, slots=True)
class Postings:
    """
    The marks of all models' runs.

    Attributes:
        patience: How long a request may still take effect after it was sent.
    """

    buckets: Buckets
    wall: Callable[[], datetime]
    patience: timedelta

    def take(self, request: RunRequest) -> Posting:
        """
        The right to send this run's request now.

        Raises:
            Unavailable: If another request for it may be on its way.
        """
        name, namespace = split_s3(request.state)
        bucket = self.buckets.bucket(name)
        key = Layout(namespace, request.model).step(request.run_key, f"posting-{request.run_id}")
        body = {"at": self.wall().isoformat(), "nonce": uuid.uuid4().hex}
        found = bucket.find(key)
        try:
            if found is None:
                return Posting(bucket, key, bucket.create(key, canonical(body)), body)
            free = _free_from(json.loads(found.body), self.patience)
            if self.wall() >= free:
                return Posting(bucket, key, bucket.replace(key, canonical(body), found.etag), body)
        except Conflict:
            free = self.wall() + self.patience
        raise Unavailable(
            f"run {request.run_id} was sent to KFP, which does not show it yet; "
            f"it is sent again at {free:%H:%M:%S} UTC at the earliest",
            "when this goes on, look at KFP's API server",
        )


def _free_from(held: dict[str, Any], patience: timedelta) -> datetime:
    """From when another request may be sent."""
    at = datetime.fromisoformat(held["at"])
    return at if held.get("refused") else at + patience
