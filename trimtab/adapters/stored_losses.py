"""
A rollout's losses, kept in the state by who scores the versions, for who decides and never loads a model.

One object a rollout, compare-and-swapped: a line of JSON, then the numbers as compressed little-endian float64, since
a hundred thousand pairs as JSON would be megabytes.
"""

from __future__ import annotations

import json
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.core.errors import Conflict, Invalid
from trimtab.core.rollout.evidence import LiveLosses, LossPairs

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Stored

Losses = LossPairs | LiveLosses
AGAIN_SECONDS = 30.0  # after which what stands there is given once more
COUNTS = ("mature", "waiting", "left_out")


def losses_key(state: State, rollout: int) -> str:
    """Where the losses of a rollout, by its number, stand in the state bucket."""
    return state.layout.current(f"losses-{rollout}")


def read_losses(state: State, rollout: int) -> Losses | None:
    """
    All labelled pairs of a rollout so far, or all losses on weighted traffic; None before anything was scored.

    Needs neither the models nor what trains them.

    Raises:
        Unavailable: If the store does not answer.
        Invalid: If the object is damaged.
    """
    stored = state.bucket.find(losses_key(state, rollout))
    return None if stored is None else parse(stored.body, losses_key(state, rollout))


class NewLosses:
    """
    The losses of rollouts as they come: each state of them is given once, and again after a while.

    Who acted upon them may have failed to keep what he made of them. Belongs to one thread.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, state: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._read: dict[int, tuple[str, float]] = {}  # by rollout, the etag that was given, and when

    def of(self, rollout: int) -> Losses | None:
        """
        What stands there now; None where there is nothing, or nothing that was not given a moment ago.

        An unchanged object costs one HEAD.

        Raises:
            Unavailable, Invalid: As `read_losses`.
        """
        key = losses_key(self._state, rollout)
        info = self._state.bucket.head(key)
        given, at = self._read.get(rollout, ("", 0.0))
        if info is None or (info.etag == given and self._clock() < at + AGAIN_SECONDS):
            return None
        stored = self._state.bucket.find(key)
        if stored is None:
            return None
        found = parse(stored.body, key)
        self._read[rollout] = (stored.etag, self._clock())
        return found

    def forget(self) -> None:
        """Give everything once more."""
        self._read.clear()


class LossWriter:
    """Keeps what was scored; what stands there already is not written again. Belongs to one thread."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._stands: dict[int, tuple[str, bytes]] = {}  # by rollout: etag, and the numbers

    def write(self, rollout: int, losses: Losses) -> bool:
        """
        Keep the losses; returns whether they say anything new.

        Raises:
            Unavailable: If the store does not answer.
            Conflict: If another process writes losses of the same rollout.
        """
        key, body = losses_key(self._state, rollout), render(losses)
        before = self._stands.get(rollout) or _standing(self._state.bucket.find(key))
        if before is not None and before[1] == body:
            self._stands[rollout] = before
            return False
        # A nonce in front: a lost answer is settled by reading back, and two writers may have found the same.
        whole = uuid.uuid4().hex.encode() + b"\n" + body
        try:
            bucket = self._state.bucket
            etag = bucket.create(key, whole) if before is None else bucket.replace(key, whole, before[0])
        except Conflict:
            self._stands.pop(rollout, None)
            raise
        self._stands[rollout] = (etag, body)
        return True


def _standing(stored: Stored | None) -> tuple[str, bytes] | None:
    return None if stored is None else (stored.etag, stored.body.partition(b"\n")[2])


def render(losses: Losses) -> bytes:
    """The same bytes for the same losses."""
    if isinstance(losses, LossPairs):
        kind = "pairs"
        arrays = {"champion": losses.champion, "challenger": losses.challenger}
    else:
        kind = "live"
        arrays = {"at": losses.at, "challenger": losses.challenger.astype(np.float64), "loss": losses.loss}
    head: dict[str, Any] = {"kind": kind, "columns": list(arrays), "rows": len(next(iter(arrays.values())))}
    head |= {name: getattr(losses, name) for name in COUNTS}
    packed = b"".join(np.ascontiguousarray(column, dtype="<f8").tobytes() for column in arrays.values())
    if isinstance(losses, LiveLosses) and any(losses.user):
        head["user"] = list(losses.user)
    return json.dumps(head, sort_keys=True).encode() + b"\n" + zlib.compress(packed, 1)


def parse(body: bytes, where: str) -> Losses:
    """
    The losses of an object's bytes.

    Raises:
        Invalid: If they are damaged.
    """
    try:
        _, line, packed = body.split(b"\n", 2)
        head: Mapping[str, Any] = json.loads(line)
        names, rows = head["columns"], int(head["rows"])
        table = np.frombuffer(zlib.decompress(packed), dtype="<f8").astype(np.float64).reshape(len(names), rows)
        columns = dict(zip(names, table, strict=True))
        counts = {name: int(head[name]) for name in COUNTS}
        if head["kind"] == "pairs":
            return LossPairs(columns["champion"], columns["challenger"], **counts)
        flags, users = columns["challenger"] > 0, head.get("user") or [""] * rows
        return LiveLosses(columns["at"], flags, columns["loss"], users, **counts)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise Invalid(
            f"found damaged losses in {where}: {error}", "delete the object: they are scored again"
        ) from error
