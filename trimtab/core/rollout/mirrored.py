"""
Mirrored requests: champion and challenger on the same request, of which only failures count.

Nobody waits for a mirrored answer, and it is measured elsewhere than the champion's: its latency is not comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from trimtab.core.ports import Answer
from trimtab.core.records import Record
from trimtab.core.sequential import betting
from trimtab.core.sequential.betting import Bets

WAITING_AT_MOST = 2000  # requests of each side whose other half has not come: 50 kB of JSON


class Mirrored(Record):
    """The paired e-process over failures, and the requests whose other half may still come (1: failed)."""

    bets: Bets
    requests: int = 0  # mirrored requests that the challenger answered
    champion_failed: int = 0  # in pairs
    challenger_failed: int = 0
    champion_waits: dict[str, int] = Field(default_factory=dict)
    challenger_waits: dict[str, int] = Field(default_factory=dict)


def update(seen: Mirrored, challenger: Sequence[Answer], champion: Sequence[Answer]) -> tuple[Mirrored, int]:
    """The evidence with these answers, and how many of them found no other half and were given up."""
    waits = seen.champion_waits | _by_request(champion)
    lone = seen.challenger_waits | _by_request(challenger)
    pairs = [(waits.pop(name), lone.pop(name)) for name in list(lone) if name in waits]
    kept = [dict(list(side.items())[-WAITING_AT_MOST:]) for side in (waits, lone)]
    failures = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    after = Mirrored(
        bets=betting.update(seen.bets, failures[:, 1] - failures[:, 0]),
        requests=seen.requests + len(challenger),
        champion_failed=seen.champion_failed + int(failures[:, 0].sum()),
        challenger_failed=seen.challenger_failed + int(failures[:, 1].sum()),
        champion_waits=kept[0],
        challenger_waits=kept[1],
    )
    return after, len(waits) + len(lone) - len(kept[0]) - len(kept[1])


def _by_request(answers: Sequence[Answer]) -> dict[str, int]:
    """Whether each failed, by a short hash of the request's id, which clients may choose as long as they like."""
    return {_short(answer.request_id): int(answer.failed) for answer in answers if answer.request_id}


def _short(request_id: str) -> str:
    return hashlib.blake2b(request_id.encode(), digest_size=9).hexdigest()
