"""
A log in segments: writers append numbered, create-only objects; readers follow each writer by how many they have read.

`FOLDER/WRITER/{number:020d}.jsonl` is a segment, `…/{first:020d}-{last:020d}.jsonl` stands for a run of them that was
compacted: a line that says how many bytes each of them had, and then their bytes as they were. So a reader's position
means the same before, during and after a compaction, and whoever finds a segment twice reads it once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise

from trimtab.adapters.state.objects import THREADS
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Bucket
from trimtab.core.predictions import Position

NAME = re.compile(r"(?P<writer>[^/]+)/(?P<first>\d{20})(?:-(?P<last>\d{20}))?\.jsonl")
ATTEMPTS = 5  # each means that a compaction took away what the listing still showed


@dataclass(frozen=True, slots=True)
class Piece:
    """One object of a log: segments `first` to `last` of a writer, both included."""

    key: str
    writer: str
    first: int
    last: int
    size: int  # bytes
    modified: datetime

    @property
    def compacted(self) -> bool:
        return "-" in self.key.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes of one segment, as its writer put them."""

    writer: str
    number: int
    body: bytes


class Segments:
    """The segments under one prefix, which ends with a slash. Safe in many threads."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix

    def key(self, writer: str, first: int, last: int | None = None) -> str:
        numbers = f"{first:020d}" if last is None else f"{first:020d}-{last:020d}"
        return f"{self.prefix}{writer}/{numbers}.jsonl"

    def writers(self) -> list[str]:
        """Names of all that ever put a segment."""
        return sorted(self.pieces())

    def pieces(self) -> dict[str, list[Piece]]:
        """What the store holds now, by writer, in order of the segments."""
        found: dict[str, list[Piece]] = {}
        for info in self.bucket.list(self.prefix):
            name = NAME.fullmatch(info.key.removeprefix(self.prefix))
            if name is None:
                continue  # something that a person left there
            first = int(name["first"])
            last = first if name["last"] is None else int(name["last"])
            found.setdefault(name["writer"], []).append(
                Piece(info.key, name["writer"], first, last, info.size, info.modified)
            )
        return {writer: sorted(pieces, key=lambda piece: (piece.first, piece.last)) for writer, pieces in found.items()}

    def read(
        self, position: Position, since: datetime | None = None, limit_bytes: int | None = None
    ) -> tuple[list[Segment], Position]:
        """
        Segments after the position, each once, a writer's in order; and the position behind them.

        A writer is read up to the first number that is missing: what follows comes once that one is there.

        Args:
            since: Objects that were put before are passed over unread, so that a long past costs nothing.
            limit_bytes: About how much to read at once; the position says where to go on, and is the same at the end.

        Raises:
            Unavailable: If the store does not answer.
            Invalid: If a compacted object was damaged.
        """
        found: list[Segment] = []
        reached = dict(position)
        pieces = self.pieces()
        for _ in range(ATTEMPTS):
            wanted = [piece for writer, held in pieces.items() for piece in chain(held, reached.get(writer, 0))]
            if limit_bytes is not None:
                sizes = accumulate(piece.size for piece in wanted)
                wanted = [piece for piece, size in zip(wanted, sizes, strict=True) if size - piece.size < limit_bytes]
            again = False
            for piece, body in zip(wanted, self._bodies(wanted, since), strict=True):
                begin = reached.get(piece.writer, 0)
                if body is None:
                    again = True
                elif piece.first <= begin <= piece.last:  # else an earlier piece of this writer was taken away
                    found += [s for s in _segments(piece, body) if s.number >= begin] if body else []
                    reached[piece.writer] = piece.last + 1
            if not again:
                return found, reached
            pieces = self.pieces()
        raise Unavailable(f"{self.prefix} in {self.bucket} changed {ATTEMPTS} times while it was read")

    def _bodies(self, pieces: Sequence[Piece], since: datetime | None) -> list[bytes | None]:
        """Each piece's bytes: None where it is gone, empty where it is older than `since`."""

        def body(piece: Piece) -> bytes | None:
            if since is not None and piece.modified < since:
                return b""
            stored = self.bucket.find(piece.key)
            return None if stored is None else stored.body

        if len(pieces) < 2:
            return [body(piece) for piece in pieces]
        with ThreadPoolExecutor(min(THREADS, len(pieces))) as pool:
            return list(pool.map(body, pieces))


def chain(pieces: Iterable[Piece], begin: int) -> Iterator[Piece]:
    """
    The fewest pieces of one writer that cover the segments from `begin` on, without a gap and in order.

    >>> from datetime import UTC
    >>> def piece(first, last):
    ...     return Piece(f"{first}-{last}", "w", first, last, 1, datetime(2020, 1, 1, tzinfo=UTC))
    >>> [p.key for p in chain([piece(0, 0), piece(0, 3), piece(1, 1), piece(4, 4), piece(6, 6)], 1)]
    ['0-3', '4-4']
    """
    held = list(pieces)
    while True:
        covering = [piece for piece in held if piece.first <= begin <= piece.last]
        if not covering:
            return
        widest = max(covering, key=lambda piece: (piece.last, -piece.first))
        yield widest
        begin = widest.last + 1
        held = [piece for piece in held if piece.last >= begin]


def pack(bodies: Sequence[bytes]) -> bytes:
    """
    One object for a run of segments: how many bytes each has, and then their bytes.

    >>> unpack(pack([b"a\\n", b"", b"torn"]))
    [b'a\\n', b'', b'torn']
    """
    return (
        json.dumps({"kind": "compacted", "bytes": [len(body) for body in bodies]}).encode() + b"\n" + b"".join(bodies)
    )


def unpack(body: bytes) -> list[bytes]:
    """The segments of a compacted object. Raises ValueError if it is none."""
    head, _, rest = body.partition(b"\n")
    ends = list(accumulate(json.loads(head)["bytes"], initial=0))
    if ends[-1] != len(rest):
        raise ValueError(f"found {len(rest)} bytes of segments, {ends[-1]} were packed")
    return [rest[start:end] for start, end in pairwise(ends)]


def _segments(piece: Piece, body: bytes) -> list[Segment]:
    try:
        bodies = unpack(body) if piece.compacted else [body]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"{piece.key} is no run of segments: {error}", "it was damaged or exchanged in the store: put its copy back"
        ) from error
    return [Segment(piece.writer, piece.first + place, each) for place, each in enumerate(bodies)]
