"""Requests of live traffic as arrays: which of them count, for what, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.core.ports import Answer
from trimtab.core.records import Record
from trimtab.core.rollout.epochs import Placed, place
from trimtab.core.rollout.users import Request, Units
from trimtab.core.rollout.values import RolloutSpec, WeightEpoch
from trimtab.core.sequential.mixing import Floats
from trimtab.core.sequential.two_streams import Flags

WARM_UP = 5  # requests in which a fresh process still fills its caches


class Counts(Record):
    """Requests in one weight epoch, by who answered."""

    champion: int = 0
    champion_failed: int = 0
    champion_slow: int = 0
    challenger: int = 0
    challenger_failed: int = 0
    challenger_slow: int = 0


@dataclass(frozen=True)
class Traffic:
    """
    The requests that count, in order, shape (requests,). `slow` is nan where latency does not count; `since` and
    `until` are the times between which each came, the same where its time is known.

    `warm` and `left_out` say how many requests warmed the two up by now, and how many do not count, by reason.
    """

    at: Floats
    epoch: NDArray[np.intp]
    weight_percent: NDArray[np.intp]
    share: Floats
    challenger: Flags
    failed: Floats
    slow: Floats
    since: Floats
    until: Floats
    user: list[str]
    teller: list[str]
    warm: tuple[int, int]
    left_out: Counter[str]

    @property
    def shared(self) -> Flags:
        """Whether either of the two could have answered."""
        return (self.share > 0) & (self.share < 1)

    @property
    def units(self) -> Units:
        """Each request as a unit of its own, of those that the two shared."""
        shared = self.shared
        return Units(self.challenger[shared], self.share[shared], self.failed[shared], self.slow[shared])

    def requests(self) -> list[Request]:
        """As `users.update` takes them."""
        columns = (self.user, self.at, self.epoch, self.weight_percent, self.challenger, self.failed, self.slow)
        rows = zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True)
        return [
            Request(user, at, epoch, weight, arm, failed, None if slow != slow else bool(slow))
            for user, at, epoch, weight, arm, failed, slow in rows
            if 0 < weight < 100
        ]


def traffic(
    spec: RolloutSpec, answers: Sequence[Answer], epochs: Sequence[WeightEpoch], warm: tuple[int, int]
) -> Traffic:
    """
    Args:
        spec: Says who champion and challenger are, and what is slow.
        answers: As the router logged them.
        epochs: The splits of the traffic, in order.
        warm: How many requests champion and challenger had answered before these.
    """
    at = np.array([answer.at for answer in answers], dtype=np.float64)
    version = np.array([answer.version for answer in answers], dtype=np.int64)
    placed, since, until = place(at, epochs), at, at
    if any(answer.within for answer in answers):
        ends = np.array([answer.within or (answer.at, answer.at) for answer in answers], dtype=np.float64)
        since, until = ends.T
        # Wholly under one split, or nobody knows under which.
        same = (place(since, epochs).epoch == placed.epoch) & (place(until, epochs).epoch == placed.epoch)
        placed = Placed(np.where(same, placed.epoch, -1), np.where(same, placed.share, 0.0))
    ours = (version == spec.version) | (version == spec.champion)
    challenger = version == spec.version
    # Without weight the challenger answers only whom a header sent to it: chosen, not drawn.
    forced = placed.counts & challenger & (placed.share == 0)
    counts = placed.counts & ours & ~forced
    now_warm, both_warm = _warmed(challenger, ours & ~challenger, warm)
    slow = np.full(len(answers), np.nan)
    if spec.max_latency_milliseconds is not None:
        seconds = np.array([answer.seconds for answer in answers], dtype=np.float64)
        slow = np.where(both_warm, (seconds * 1000 > spec.max_latency_milliseconds).astype(np.float64), np.nan)
    left_out = Counter(
        change=int((~placed.counts & ours).sum()),
        otherVersion=int((~ours).sum()),
        forced=int((forced & ours).sum()),
        warmUp=int((counts & ~both_warm).sum()) if spec.max_latency_milliseconds is not None else 0,
    )
    failed = np.array([answer.failed for answer in answers], dtype=np.float64)
    weights = np.array([epoch.weight_percent for epoch in epochs] or [0], dtype=np.intp)
    return Traffic(
        at=at[counts],
        epoch=placed.epoch[counts],
        weight_percent=weights[placed.epoch[counts]],
        share=placed.share[counts],
        challenger=challenger[counts],
        failed=failed[counts],
        slow=slow[counts],
        since=since[counts],
        until=until[counts],
        user=[answers[index].user for index in np.flatnonzero(counts).tolist()],
        teller=[answers[index].teller for index in np.flatnonzero(counts).tolist()],
        warm=now_warm,
        left_out=left_out,
    )


def counted(counts: tuple[Counts, ...], seen: Traffic, among: Flags, epochs: int) -> tuple[Counts, ...]:
    """The counts by epoch with these requests in them, or those among them."""
    grown = [*counts, *(Counts() for _ in range(epochs - len(counts)))]
    for index in np.unique(seen.epoch):
        before = grown[index]
        added = {}
        for name, arm in (("champion", ~seen.challenger), ("challenger", seen.challenger)):
            here = (seen.epoch == index) & arm & among
            added[name] = getattr(before, name) + int(here.sum())
            added[f"{name}_failed"] = getattr(before, f"{name}_failed") + int(seen.failed[here].sum())
            added[f"{name}_slow"] = getattr(before, f"{name}_slow") + int(np.nansum(seen.slow[here]))
        grown[index] = Counts(**added)
    return tuple(grown)


def _warmed(challenger: Flags, champion: Flags, warm: tuple[int, int]) -> tuple[tuple[int, int], Flags]:
    """
    Who is warm before each request.

    Until both are, neither's latency counts: leaving out the challenger's alone would spoil the share.
    """
    ready = np.ones(len(challenger), dtype=np.bool_)
    after = []
    for before, arm in ((warm[0], champion), (warm[1], challenger)):
        answered = before + np.cumsum(arm)
        ready &= answered - arm >= WARM_UP
        after.append(min(int(answered[-1]) if len(arm) else before, WARM_UP))
    return (after[0], after[1]), ready
