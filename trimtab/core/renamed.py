"""Has a column been renamed? A declared one is missing, and an undeclared one looks just like it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

import polars as pl

from trimtab.core import cells
from trimtab.core.drift import js_distance
from trimtab.core.profile import Profile
from trimtab.core.rows import declared
from trimtab.core.spec.model import Data
from trimtab.core.validation import Columns

READABLE = 0.99  # of the cells must read as the declared type
ALIKE = 0.35  # Jensen-Shannon distance to the nearest batch of the reference; fortnights of weather reach 0.3
SIMILAR_NAME = 0.5  # difflib ratio, where no reference tells what the column looked like


@dataclass(frozen=True)
class Renamed:
    """`missing` is declared, `found` looks like it; `distance` to the reference, None without one."""

    missing: str
    found: str
    distance: float | None

    def sentence(self) -> str:
        how = (
            f"looks the same (distance {self.distance:.2f} to the reference)"
            if self.distance is not None
            else "has a name like it, and its cells read as the declared type"
        )
        return f"column {self.missing!r} is missing; {self.found!r} {how}"

    def hint(self) -> str:
        return (
            f"rename {self.found!r} to {self.missing!r} in the export and upload the file again; if the new name is to "
            "stay, change it in spec.data.schema"
        )


def find(frame: pl.DataFrame, columns: Columns, data: Data, reference: list[Profile]) -> list[Renamed]:
    """
    Pair missing columns with undeclared ones, the nearest pair first, each at most once.

    Args:
        frame: As the file has it.
        columns: How its header differs from the spec.
        reference: Batches of the past, about as long as this one; may be empty.
    """
    pairs = [
        (distance if distance is not None else 1 - name, missing, found, distance)
        for missing in columns.missing
        for found in columns.undeclared
        if (near := _alike(frame[found], missing, data, reference)) is not None
        for distance, name in [near]
    ]
    chosen: list[Renamed] = []
    for _, missing, found, distance in sorted(pairs, key=lambda pair: pair[0]):
        if all(missing != other.missing and found != other.found for other in chosen):
            chosen.append(Renamed(missing, found, distance))
    return chosen


def _alike(column: pl.Series, missing: str, data: Data, reference: list[Profile]) -> tuple[float | None, float] | None:
    """Distance and likeness of the names, or None when the column cannot be the missing one."""
    if column.dtype.is_nested() or not column.len():
        return None
    read = cells.read(column, declared(data)[missing], nullable=True)
    # Values beyond the declared range or list do not make it another column; cells of another type do.
    unread = [bad for reason, bad in read.problems.items() if not reason.startswith(("below", "above", "unseen"))]
    bad = sum(int(problem.sum()) for problem in unread)
    likeness = SequenceMatcher(None, missing.lower(), column.name.lower()).ratio()
    if bad > (1 - READABLE) * column.len() or read.values.null_count() == column.len():
        return None
    known = [part for part in reference if missing in part.bins]
    if not known:
        return (None, likeness) if likeness >= SIMILAR_NAME or _only_type(missing, data) else None
    # Files of the past were counted into the bins of their own time: these cells are counted into each of them.
    used = {id(part.bins[missing]): part.bins[missing] for part in known}
    counts = {key: bins.counts(read.values) for key, bins in used.items()}
    distance = min(float(js_distance(counts[id(part.bins[missing])], part.counts(missing))) for part in known)
    return (distance, likeness) if distance <= ALIKE else None


def _only_type(missing: str, data: Data) -> bool:
    """The event time: no other column of text reads as instants by accident."""
    return missing == data.timestamp
