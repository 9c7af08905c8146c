"""
Requests of which each variant tells by itself, in its own time: compared in blocks.

A router's log holds requests as they were drawn, so each is a draw of a known share. What variants log or count
themselves comes apart: for some seconds one variant's requests are there and the other's are not. Read one by one, that
looks as if only the one were drawn, at odds of millions to one, and would roll back a challenger of which nobody has
heard yet. So requests wait until all who tell have told of later ones, and enter as one block, whose share is what
came: nothing hangs on who told first, nor on the split that was asked for.

A counter says only between which scrapes a request came, and two pods are not scraped at once. A burst of failures that
hits both could count for the challenger in one block and for the champion in the next. So every failure of the
champion's that may have come while the challenger's did counts against it, in each block where that is so; and blocks
are long against the scrapes, and longer the older the step is, up to twelve of them, so that this costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import floor
from typing import NamedTuple

from pydantic import Field

from trimtab.core.records import Record
from trimtab.core.rollout.live import Counts, Traffic

SILENT_SECONDS = 15.0  # who tells nothing for so long, or for two scrapes, had no requests
LATE_SCRAPES = 20  # a variant that tells nothing for longer is not late
LEAST_SCRAPES, MOST_SCRAPES = 2, 12  # of a block: harm that begins late in a step is found as soon
GROWTH = 0.25  # of a block against the time since its epoch's first
EXACT_SECONDS = 1.0  # what is known to the second


class Tally(NamedTuple):
    """Requests of one variant: how many, how many failed, for how many latency counts, how many of those were slow."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0

    def plus(self, other: Tally) -> Tally:
        return Tally(*map(sum, zip(self, other, strict=True)))


class Heap(NamedTuple):
    """What one variant answered between two times, under one weight epoch; as a row of JSON it names no fields."""

    since: float  # seconds since 1970
    until: float
    epoch: int
    challenger: bool
    tally: Tally


class Block(NamedTuple):
    """
    Requests of one weight epoch that are compared: some of each variant.

    `charged` is the champion's tally with all that may have failed, or been slow, while the challenger's came.
    """

    epoch: int
    champion: Tally
    challenger: Tally
    charged: Tally


class Blocks(Record):
    """
    What waits to be compared; JSON of some kB.

    Attributes:
        behind: Of the champion's, compared already: what may have come at the same time as requests still to come.
        newest: The time of the newest request that each teller told of, of a silent variant its last.
        edges: By epoch: when its first block began, and when its last one ended.
        scrape: Seconds between which the newest requests are known to have come.
    """

    waiting: tuple[Heap, ...] = ()
    behind: tuple[Heap, ...] = ()
    newest: dict[str, float] = Field(default_factory=dict)
    edges: dict[int, tuple[float, float]] = Field(default_factory=dict)
    scrape: float = 0.0


def take(blocks: Blocks, seen: Traffic) -> tuple[Blocks, list[Block]]:
    """
    What waits after these requests, and the blocks that are complete: at most one an epoch, in order.

    Times of which one variant alone has told go on waiting: they are compared with what the other brings.
    """
    new = _heaps(seen)
    scrape = max((heap.until - heap.since for heap in new), default=blocks.scrape)
    grown = Blocks(
        waiting=tuple(_merged([*blocks.waiting, *new])),
        behind=blocks.behind,
        newest=_newest(blocks.newest, seen, scrape),
        edges=blocks.edges,
        scrape=scrape,
    )
    return _cut(grown, at_once=False)


def rest(blocks: Blocks) -> tuple[Blocks, list[Block]]:
    """The same of what waits already, with blocks of whatever length: before a step that cannot wait for them."""
    return _cut(blocks, at_once=True)


def counted(counts: Sequence[Counts], complete: Iterable[Block]) -> tuple[Counts, ...]:
    """The counts by epoch with these blocks in them."""
    grown = list(counts)
    for block in complete:
        here = grown[block.epoch]
        added = {}
        for name, tally in (("champion", block.champion), ("challenger", block.challenger)):
            added[name] = getattr(here, name) + tally.requests
            added[f"{name}_failed"] = getattr(here, f"{name}_failed") + tally.failed
            added[f"{name}_slow"] = getattr(here, f"{name}_slow") + tally.slow
        grown[block.epoch] = Counts(**added)
    return tuple(grown)


def _cut(blocks: Blocks, at_once: bool) -> tuple[Blocks, list[Block]]:
    scrape, told = blocks.scrape, _told(blocks)
    waiting, behind, edges, complete = [], blocks.behind, dict(blocks.edges), []
    epochs = sorted({heap.epoch for heap in blocks.waiting})
    for epoch in epochs:
        some = [heap for heap in blocks.waiting if heap.epoch == epoch]
        due, later = [h for h in some if h.until <= told], [h for h in some if h.until > told]
        first, last = edges.get(epoch, (min(heap.since for heap in some),) * 2)
        arms = {heap.challenger for heap in due}
        if len(arms) < 2:
            waiting += [*_as_one(due), *later]
        elif epoch == epochs[-1] and not (at_once or _is_long(told - last, told - first, scrape)):
            edges[epoch] = (first, last)
            waiting += [*_fewer(due, told - 2 * scrape), *later]
        else:
            complete.append(_block(epoch, due, [*behind, *later]))
            edges[epoch] = (first, told)
            waiting += later
            if scrape > EXACT_SECONDS:
                known = [heap for heap in (*behind, *due) if not heap.challenger]
                behind = tuple(heap for heap in known if heap.until > told - 2 * scrape)
    return blocks.model_copy(update={"waiting": tuple(waiting), "behind": behind, "edges": edges}), complete


def _silence(scrape: float) -> float:
    return max(SILENT_SECONDS, 2 * scrape)


def _newest(before: Mapping[str, float], seen: Traffic, scrape: float) -> dict[str, float]:
    """The newest time by teller, of those that are not silent, and of a variant that may be late."""
    newest = dict(before)
    for teller, arm, until in zip(seen.teller, seen.challenger.tolist(), seen.until.tolist(), strict=True):
        name = f"{'challenger' if arm else 'champion'} {teller}"
        newest[name] = max(newest.get(name, 0.0), until)
    now = max(newest.values(), default=0.0)
    late = {max(times) for times in _by_arm(newest) if times and max(times) > now - LATE_SCRAPES * scrape}
    return {name: at for name, at in newest.items() if at > now - _silence(scrape) or at in late}


def _told(blocks: Blocks) -> float:
    """
    The time of which all have told who are not silent.

    What one variant told of waits for some minutes where the other is silent as a whole: its counters may come late.
    """
    silent = max(blocks.newest.values(), default=0.0) - _silence(blocks.scrape)
    told = []
    for times in _by_arm(blocks.newest):
        speak = [at for at in times if at > silent]
        told.append(min(speak) if speak else max(times, default=silent - EXACT_SECONDS) + EXACT_SECONDS)
    return min(told)


def _by_arm(newest: Mapping[str, float]) -> list[list[float]]:
    return [[at for name, at in newest.items() if name.startswith(arm)] for arm in ("champion", "challenger")]


def _heaps(seen: Traffic) -> list[Heap]:
    """Only of requests that the two shared; where their time is known, by the second."""
    shared = seen.shared
    columns = (seen.since, seen.until, seen.epoch, seen.challenger, seen.failed, seen.slow)
    found: dict[tuple[float, float, int, bool], list[int]] = {}
    for since, until, epoch, arm, failed, slow in zip(*(column[shared].tolist() for column in columns), strict=True):
        ends = (since, until) if until > since else (floor(since), floor(since) + EXACT_SECONDS)
        tally = found.setdefault((*ends, epoch, arm), [0, 0, 0, 0])
        tally[0] += 1
        tally[1] += failed > 0
        tally[2] += slow == slow  # nan: its latency does not count
        tally[3] += slow == 1
    return [Heap(*key, Tally(*tally)) for key, tally in found.items()]


def _merged(heaps: Iterable[Heap]) -> list[Heap]:
    found: dict[tuple[float, float, int, bool], Tally] = {}
    for since, until, epoch, arm, tally in heaps:
        key = (since, until, epoch, arm)
        found[key] = found.get(key, Tally()).plus(tally)
    return [Heap(*key, tally) for key, tally in sorted(found.items())]


def _as_one(due: Sequence[Heap]) -> list[Heap]:
    """Of one variant and one epoch: that it bounds what is kept while the other is silent."""
    if len(due) < 2:
        return list(due)
    ends = (min(heap.since for heap in due), max(heap.until for heap in due))
    return [Heap(*ends, due[0].epoch, due[0].challenger, _sum(heap.tally for heap in due))]


def _fewer(due: Sequence[Heap], old: float) -> list[Heap]:
    """With what is too old for the edge of a block as one heap a variant: that a long block stays small."""
    apart = [heap for heap in due if heap.until > old]
    for arm in (False, True):
        apart += _as_one([heap for heap in due if heap.challenger is arm and heap.until <= old])
    return apart


def _is_long(seconds: float, age: float, scrape: float) -> bool:
    """Whether a block is long enough for its blurred ends to matter little."""
    return scrape <= EXACT_SECONDS or seconds >= min(max(LEAST_SCRAPES * scrape, GROWTH * age), MOST_SCRAPES * scrape)


def _block(epoch: int, due: Sequence[Heap], others: Sequence[Heap]) -> Block:
    champion, challenger = (_sum(heap.tally for heap in due if heap.challenger is arm) for arm in (False, True))
    begin = min(heap.since for heap in due if heap.challenger)
    end = max(heap.until for heap in due if heap.challenger)
    beside = _sum(heap.tally for heap in others if not heap.challenger and heap.since < end and heap.until > begin)
    charged = Tally(
        champion.requests,
        min(champion.failed + beside.failed, champion.requests),
        champion.timed,
        min(champion.slow + beside.slow, champion.timed),
    )
    return Block(epoch, champion, challenger, charged)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total = total.plus(tally)
    return total
