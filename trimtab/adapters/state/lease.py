"""
Who works for a model just now: a compare-and-swapped lease with an epoch.

Its time alone protects nothing (a process may be stopped longer than it holds): what matters is written create-only or
with an epoch. The lease keeps two processes from doing the same work twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from trimtab.core.errors import Conflict, Fenced
from trimtab.core.ports import Bucket, Stored
from trimtab.core.records import Record


class Held(Record):
    """The lease as it stands in `lease.json`; free once `until` has passed."""

    owner: str
    epoch: int
    until: datetime
    nonce: str


class Lease:
    def __init__(self, bucket: Bucket, key: str, now: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._key = key
        self._now = now

    def who(self) -> Held | None:
        """Who holds it, None when it is free."""
        held, _ = self._read()
        return held if held is not None and held.until > self._now() else None

    def acquire(self, owner: str, ttl_seconds: float, succeed: bool = False) -> int | None:
        """
        Take the lease if it is free, has run out, or is one's own already.

        Args:
            owner: Unique to the process; or shared by processes of which something else lets only one lead.
            succeed: Whether one's own was another process's: it is taken over, and that process fenced.

        Returns:
            The epoch, higher than any before it (one's own stays, unless it is taken over), or None when another
            holds it.
        """
        now = self._now()
        held, stored = self._read()
        mine = held is not None and held.owner == owner and held.until > now
        if held is not None and held.until > now and not mine:
            return None
        epoch = (held.epoch if held else 0) + (0 if mine and not succeed else 1)
        body = self._body(owner, epoch, now + timedelta(seconds=ttl_seconds))
        try:
            if stored is None:
                self._bucket.create(self._key, body)
            else:
                self._bucket.replace(self._key, body, stored.etag)
        except Conflict:
            return None
        return epoch

    def renew(self, owner: str, epoch: int, ttl_seconds: float) -> None:
        """
        Hold it for longer.

        Raises:
            Fenced: If another has taken it.
        """
        self._swap(owner, epoch, self._now() + timedelta(seconds=ttl_seconds))

    def release(self, owner: str, epoch: int) -> None:
        """Give it back; nothing happens when another has taken it."""
        try:
            self._swap(owner, epoch, self._now())
        except Fenced:
            return

    def _swap(self, owner: str, epoch: int, until: datetime) -> None:
        held, stored = self._read()
        if held is None or stored is None or (held.owner, held.epoch) != (owner, epoch):
            taken = f"by {held.owner} (epoch {held.epoch})" if held else "away"
            raise Fenced(f"the lease {self._key} of {owner} (epoch {epoch}) was taken {taken}")
        try:
            self._bucket.replace(self._key, self._body(owner, epoch, until), stored.etag)
        except Conflict as conflict:
            raise Fenced(f"the lease {self._key} of {owner} (epoch {epoch}) is being taken over") from conflict

    def _read(self) -> tuple[Held | None, Stored | None]:
        stored = self._bucket.find(self._key)
        return (None if stored is None else Held.from_json(stored.body, self._key)), stored

    @staticmethod
    def _body(owner: str, epoch: int, until: datetime) -> bytes:
        return Held(owner=owner, epoch=epoch, until=until, nonce=uuid.uuid4().hex).to_json()
