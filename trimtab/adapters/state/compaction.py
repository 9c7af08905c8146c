"""
Compaction: runs of small segments of a writer become one object, and what it replaces is deleted.

The object is put first and says the same bytes under the same numbers, so a reader that sees both reads one of them,
and one that finds a listed segment gone finds it in the object. Dying in between leaves both; the next pass deletes
what is covered. Two that do it at once put equal or overlapping objects, which a reader takes for the same segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.adapters.state.lease import Lease
from trimtab.adapters.state.objects import THREADS
from trimtab.adapters.state.segments import Piece, Segments, chain, pack, unpack
from trimtab.core.errors import Fenced

FEWEST = 32  # neighbours that become one
LARGEST_BYTES = 16 << 20  # of a compacted object
SILENT = timedelta(hours=1)  # after which a writer is taken for ended, and two neighbours are enough
LEASE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one pass did."""

    objects: int  # that were put
    deleted: int  # that they, or earlier ones, stand for


def compact_leased(logs: Iterable[Segments], lease: Lease, owner: str, now: Callable[[], datetime]) -> Compacted | None:
    """
    One pass over these logs, by one process at a time; None while another one is at it.

    Args:
        lease: Of the compaction, apart from the model's.
        owner: Unique to the process.
        now: The wall clock.

    Raises:
        Unavailable: If the store does not answer; nothing is lost, the next pass goes on.
    """
    epoch = lease.acquire(owner, LEASE_SECONDS)
    if epoch is None:
        return None
    objects = deleted = 0
    renewed = now()
    try:
        for log in logs:
            for pieces in log.pieces().values():
                if now() - renewed > timedelta(seconds=LEASE_SECONDS / 4):
                    lease.renew(owner, epoch, LEASE_SECONDS)
                    renewed = now()
                done = compact(log, pieces, now())
                objects, deleted = objects + done.objects, deleted + done.deleted
    except Fenced:
        pass  # the other one goes on
    finally:
        lease.release(owner, epoch)
    return Compacted(objects, deleted)


def compact(log: Segments, pieces: list[Piece], now: datetime) -> Compacted:
    """One writer's pieces, as a listing showed them."""
    kept = list(chain(pieces, pieces[0].first)) if pieces else []
    covered = [piece for piece in pieces if piece not in kept and _within(piece, kept)]
    fewest = 2 if pieces and max(piece.modified for piece in pieces) < now - SILENT else FEWEST
    put = 0
    for run in runs(kept, fewest):
        bodies = _bodies(log, run)
        if bodies is None:
            break  # another one was quicker
        log.bucket.create(log.key(run[0].writer, run[0].first, run[-1].last), pack(bodies))
        put += 1
        covered += run
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(log.bucket.delete, [piece.key for piece in covered]))
    return Compacted(put, len(covered))


def runs(pieces: Iterable[Piece], fewest: int) -> Iterator[list[Piece]]:
    """
    Neighbours that belong together: at least `fewest`, together at most LARGEST_BYTES.

    >>> from datetime import UTC
    >>> day = datetime(2020, 1, 1, tzinfo=UTC)
    >>> sizes = [10, 10, 10, 10, 500, 10, 10, 10, 10]
    >>> held = [Piece(str(n), "w", n, n, size, day) for n, size in enumerate(sizes)]
    >>> [[piece.first for piece in run] for run in runs(held[:4], 3)]
    [[0, 1, 2, 3]]
    >>> [[piece.first for piece in run] for run in runs(held[4:], 3)]
    [[5, 6, 7, 8]]
    >>> list(runs(held[:4], 5))
    []
    """
    run: list[Piece] = []
    size = 0
    for piece in pieces:
        if run and size + piece.size > LARGEST_BYTES:
            yield from _worth(run, 2)  # full, so that nothing will be added to it
            run, size = [], 0
        run.append(piece)
        size += piece.size
    yield from _worth(run, fewest)


def _worth(run: list[Piece], fewest: int) -> Iterator[list[Piece]]:
    """The run without what is large beside all that follows it: a byte is then written again log2 times at most."""
    rest = sum(piece.size for piece in run)
    for place, piece in enumerate(run):
        rest -= piece.size
        if piece.size <= rest:
            if len(run) - place >= fewest:
                yield run[place:]
            return


def _within(piece: Piece, kept: Iterable[Piece]) -> bool:
    return any(other.first <= piece.first and piece.last <= other.last for other in kept)


def _bodies(log: Segments, run: list[Piece]) -> list[bytes] | None:
    """The bytes of each segment of a run, None where an object is gone."""
    with ThreadPoolExecutor(min(THREADS, len(run))) as pool:
        found = list(pool.map(lambda piece: log.bucket.find(piece.key), run))
    bodies: list[bytes] = []
    for piece, stored in zip(run, found, strict=True):
        if stored is None:
            return None
        bodies += unpack(stored.body) if piece.compacted else [stored.body]
    return bodies
