"""The prediction log, which variants write, and the labels, which come through the API and in files."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.segments import Segment, Segments
from trimtab.core.errors import Conflict, TrimtabError
from trimtab.core.ports import Bucket
from trimtab.core.predictions import Label, Position, PredictionLine

Line = PredictionLine | Label
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
LINES: TypeAdapter[list[Line]] = TypeAdapter(list[Annotated[Line, Field(discriminator="kind")]])
LABELS_A_SEGMENT = 10_000


class PredictionLog:
    """
    What the variants answered, and the feedback they were given.

    Attributes:
        segments: The objects behind it, for whoever writes or compacts them.
        broken: Lines that could not be read so far: torn by a kill in the middle of a write, or damaged.
    """

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self.segments = Segments(bucket, layout.predictions())
        self.broken = 0

    def writers(self) -> list[str]:
        """Names of all that ever wrote."""
        return self.segments.writers()

    def read(
        self, position: Position, since: datetime | None = None, limit_bytes: int | None = None
    ) -> tuple[list[Line], Position]:
        """
        The lines after `position` (empty: from the beginning), each exactly once, and the position behind them.

        A writer's lines are in their order; other writers' stand before or after them. As `Segments.read`.
        """
        segments, reached = self.segments.read(position, since, limit_bytes)
        lines, broken = read_lines(segments)
        self.broken += broken
        return lines, reached


class LabelLog:
    """
    Labels by API and by file. Each process appends to segments of its own.

    Attributes:
        segments: As of the prediction log.
    """

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self.segments = Segments(bucket, layout.labels())
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._writer, self._next = f"{int(time.time() * 1e6):020d}-{uuid.uuid4().hex[:8]}", 0

    def add(self, labels: Sequence[Label]) -> int:
        """
        Keep labels; once this returns they are in the store. Returns how many there were.

        Raises:
            Unavailable: If the store did not answer: send all of them again, what was kept twice counts once.
        """
        with self._lock:
            for start in range(0, len(labels), LABELS_A_SEGMENT):
                part = labels[start : start + LABELS_A_SEGMENT]
                body = b"".join(label.to_json() + b"\n" for label in part)
                try:
                    self.segments.bucket.create(self.segments.key(self._writer, self._next), body)
                except TrimtabError as error:
                    # Whether it was put is not known, and by now it may be compacted: the number is never used again.
                    self._begin()
                    if not isinstance(error, Conflict):
                        raise
                    self.segments.bucket.create(self.segments.key(self._writer, self._next), body)
                self._next += 1
        return len(labels)

    def read(
        self, position: Position, since: datetime | None = None, limit_bytes: int | None = None
    ) -> tuple[list[Label], Position]:
        """The labels after `position`, each exactly once, and the position behind them. As `Segments.read`."""
        segments, reached = self.segments.read(position, since, limit_bytes)
        return [line for line in read_lines(segments)[0] if isinstance(line, Label)], reached


def read_lines(segments: Sequence[Segment]) -> tuple[list[Line], int]:
    """The lines of segments, and how many could not be read."""
    lines: list[Line] = []
    broken = 0
    for segment in segments:
        raw = [line for line in segment.body.split(b"\n") if line.strip()]
        try:
            # A segment at once takes half the time; where one line is torn, each is tried.
            lines += LINES.validate_json(b"[" + b",".join(raw) + b"]")
        except ValidationError:
            whole = [line for line in map(_line_or_none, raw) if line is not None]
            lines += whole
            broken += len(raw) - len(whole)
    return lines, broken


def _line_or_none(raw: bytes) -> Line | None:
    try:
        return LINE.validate_json(raw)
    except ValidationError:
        return None
