"""What a request asks for, whichever protocol it came by: columns of plain values, and the form of the answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.serving.refusal import Refused

MAX_ROWS = 10_000  # of one request; more is a batch: `trimtab predict FILES`

Form = Literal["ndarray", "tensor", "jsonData", "v2"]


class Absent:
    """Stands in a column where a row named none of it."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


@dataclass(slots=True)
class Table:
    """
    A request's rows: every column has `rows` values as JSON gave them, or ABSENT.

    `unknown` counts columns that were left out already.
    """

    columns: dict[str, list[Any]]
    rows: int
    form: Form
    unknown: int = 0


def require_rows(rows: int, field: str) -> None:
    """Raises Refused for no row at all, and for more than one request may have."""
    if rows < 1:
        raise Refused(field, "found no row; a prediction needs one")
    if rows > MAX_ROWS:
        raise Refused(
            field, f"found {rows:,} rows; one request may have {MAX_ROWS:,}: split it, or use `trimtab predict`", 413
        )


def require_names(names: Any, field: str) -> list[str]:
    """Columns' names as a request gives them: a list of distinct words."""
    if not isinstance(names, list) or not all(type(name) is str for name in names):
        raise Refused(field, "it must be a list of column names, as strings")
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise Refused(field, f"found column {twice!r} twice")
    return names


def by_column(names: list[str], rows: list[Any], field: str) -> dict[str, list[Any]]:
    """Rows of equal width, turned into columns."""
    width = len(names)
    if len(rows) == 1:
        row = rows[0]
        if type(row) is list and len(row) == width:
            return {name: [value] for name, value in zip(names, row, strict=True)}
    for number, row in enumerate(rows):
        if type(row) is not list:
            raise Refused(field, f"row {number} is no list; every row must be a list of {width} values")
        if len(row) != width:
            raise Refused(
                field, f"row {number} has {len(row)} values; there are {width} columns ({', '.join(names[:20])})"
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
