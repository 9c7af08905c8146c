"""
Sticky users as units: each gives one bounded value a weight step.

A hash on the user settles the variant of all their requests at once, so requests of one user are no independent draws:
counted one by one they roll back harmless challengers (two to four times as often as alpha allows, measured). What is
drawn is the user's place among the buckets. So a user is one unit: the share of failed requests in the window that
opens with their first request. It closes after a fixed time, with the weight step, or when `MOST_OPEN` others have
come: none of which hangs on the user's variant or its answers (a step ends by requests of all users, among which one
user weighs little). Units enter in the order of their first requests, so each is a draw given all units before it, and
the two-stream test is as valid as for requests.

Raising the weight draws anew, but only for users whom the lower weight left with the champion: one who stayed with it
at w moves at w' with chance (w' - w) / (1 - w). Who is with the challenger stays there, is certain, and tells no more.
A request that names no user is drawn by itself, and is a unit of its own.

Memory stays bounded: of each user 6 bytes of a hash and one byte are kept. When `MOST_KNOWN` are, every second user
(by a further bit of the hash, which knows nothing of the variant) is forgotten and no longer counted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trimtab.core.records import Record
from trimtab.core.sequential.mixing import Floats
from trimtab.core.sequential.two_streams import Flags
from trimtab.core.spec.rollout import Rollout

MOST_KNOWN = 8192  # users: 76 kB of JSON
MOST_OPEN = 500  # windows: 40 kB of JSON
CERTAIN = 100  # stands for a user whom the challenger answers from now on
TAG_BYTES = 6  # of a user's hash
SHORTEST_SECONDS, LONGEST_SECONDS = 10.0, 600.0  # of a window: some requests, and a session


class Window(NamedTuple):
    """A user whose window is open, or just closed; as a row of JSON it names no fields."""

    tag: int
    first: float
    epoch: int
    weight_percent: int
    share: float  # chance with which the challenger was to answer this user
    challenger: bool
    requests: int = 0
    failed: float = 0.0
    timed: int = 0  # requests whose latency counts
    slow: int = 0

    def with_request(self, request: Request) -> Window:
        timed = request.slow is not None
        return self._replace(
            requests=self.requests + 1,
            failed=self.failed + request.failed,
            timed=self.timed + timed,
            slow=self.slow + bool(request.slow),
        )


class Users(Record):
    """The open windows in order of their first request, and what is known of the others."""

    open: tuple[Window, ...] = ()
    known: str = ""  # base64: by user 6 bytes of hash, 1 byte: the highest weight that left them with the champion
    halvings: int = 0
    clock: float = 0.0  # the latest request seen


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a user, as `epochs.place` placed it."""

    user: str  # empty where the request names none
    at: float
    epoch: int
    weight_percent: int
    challenger: bool
    failed: float  # 1 or 0; for losses the request's own, in [0, 1]
    slow: bool | None  # None: its latency does not count


@dataclass(frozen=True)
class Units:
    """Users whose windows closed, in order. `slow` is nan for users none of whose requests count for latency."""

    challenger: Flags
    share: Floats
    failed: Floats
    slow: Floats


def window_seconds(policy: Rollout) -> float:
    """How long a user's window stays open: a session, and short against the rollout."""
    return min(max(policy.max_duration.total_seconds() / 100, SHORTEST_SECONDS), LONGEST_SECONDS)


def update(users: Users, requests: Iterable[Request], length: float) -> tuple[Users, Units, int]:
    """
    Args:
        users: What is known so far.
        requests: Oldest first.
        length: Seconds for which a user's window stays open.

    Returns:
        What is known now, the units that closed, and how many requests belong to no window: of users that are
        certain of their variant or forgotten, or beyond the window.
    """
    book = _Book(users, length)
    for request in requests:
        book.take(request)
    return book.users(), _units(book.closed), book.outside


class _Book:
    """`Users` while it changes."""

    def __init__(self, users: Users, length: float) -> None:
        self.length = length
        self.known = _unpack(users.known)
        self.halvings, self.clock = users.halvings, users.clock
        self.open = {window.tag: window for window in users.open}
        self.closed: list[Window] = []
        self.outside = 0

    def take(self, request: Request) -> None:
        self.clock = max(self.clock, request.at)
        self._close(request.epoch)
        if not request.user:
            share = request.weight_percent / 100
            alone = Window(0, request.at, request.epoch, request.weight_percent, share, request.challenger)
            self.closed.append(alone.with_request(request))
            return
        tag = _tag(request.user)
        window = self.open.get(tag) or self._opened(tag, request)
        if window is None or request.at > window.first + self.length or window.challenger != request.challenger:
            self.outside += 1
        else:
            self.open[tag] = window.with_request(request)

    def users(self) -> Users:
        windows = tuple(self.open.values())
        return Users(open=windows, known=_pack(self.known), halvings=self.halvings, clock=self.clock)

    def _opened(self, tag: int, request: Request) -> Window | None:
        level, weight = self.known.get(tag, 0), request.weight_percent
        if self._forgotten(tag) or not level < weight < CERTAIN:
            return None
        share = (weight - level) / (100 - level)
        self.open[tag] = Window(tag, request.at, request.epoch, weight, share, request.challenger)
        return self.open[tag]

    def _close(self, epoch: int) -> None:
        # The first to open is the first to close: the order of units must not hang on their answers.
        while self.open:
            tag, window = next(iter(self.open.items()))
            over = window.epoch != epoch or window.first + self.length < self.clock
            if not over and len(self.open) <= MOST_OPEN:
                return
            del self.open[tag]
            self.closed.append(window)
            self.known[tag] = CERTAIN if window.challenger else window.weight_percent
            while len(self.known) > MOST_KNOWN:
                self.halvings += 1
                self.known = {tag: level for tag, level in self.known.items() if not self._forgotten(tag)}

    def _forgotten(self, tag: int) -> bool:
        # By the hash, so blind to variant and answers.
        return bool(tag & ((1 << self.halvings) - 1))


def _tag(user: str) -> int:
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=TAG_BYTES, person=b"trimtab-user").digest())


def _pack(known: dict[int, int]) -> str:
    body = b"".join(tag.to_bytes(TAG_BYTES) + bytes([level]) for tag, level in known.items())
    return base64.b64encode(body).decode()


def _unpack(text: str) -> dict[int, int]:
    body, size = base64.b64decode(text), TAG_BYTES + 1
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return {int.from_bytes(part[:TAG_BYTES]): part[TAG_BYTES] for part in parts}


def _units(closed: list[Window]) -> Units:
    counted = np.array([(w.requests, w.failed, w.timed, w.slow) for w in closed], dtype=np.float64)
    requests, failed, timed, slow = counted.reshape(-1, 4).T
    return Units(
        challenger=np.array([window.challenger for window in closed], dtype=np.bool_),
        share=np.array([window.share for window in closed], dtype=np.float64),
        failed=failed / requests,
        slow=np.divide(slow, timed, out=np.full(len(closed), np.nan), where=timed > 0),
    )
