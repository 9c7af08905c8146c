"""Which rows of a file are what the spec declares, and why the others are not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from trimtab.core import cells
from trimtab.core.errors import Invalid
from trimtab.core.rows import DTYPES, Table, declared
from trimtab.core.spec.model import Column, Data

EXAMPLES = 3  # first examples of a reason that a report shows
EXAMPLE_LENGTH = 80  # characters of a cell that a report shows


class Refused(Invalid):
    """A whole file that cannot be taken in; `kind` is the class of the finding, as in IntakeOutcome."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


@dataclass(frozen=True)
class Reason:
    """One rule that rows broke: how many, and the first of them as (row number, value)."""

    column: str
    reason: str
    rows: int
    examples: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class ValidationReport:
    """
    What validation found in one file.

    `valid + invalid == rows`; a row with two reasons counts once in `invalid` and in both reasons.
    """

    rows: int
    valid: int
    invalid: int
    labelled: int  # valid rows with a target
    reasons: tuple[Reason, ...] = ()
    columns: tuple[str, ...] = ()  # as the file has them
    max_invalid_row_ratio: float = 0.0

    @property
    def invalid_ratio(self) -> float:
        return self.invalid / self.rows if self.rows else 0.0

    @property
    def acceptable(self) -> bool:
        return self.invalid_ratio <= self.max_invalid_row_ratio

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = asdict(self)
        plain["columns"] = list(self.columns)
        plain["reasons"] = [
            {"column": r.column, "reason": r.reason, "rows": r.rows, "examples": [list(e) for e in r.examples]}
            for r in self.reasons
        ]
        return plain

    def sentence(self) -> str:
        """The most frequent reasons in one line."""
        worst = sorted(self.reasons, key=lambda r: -r.rows)[:3]
        named = "; ".join(f"{r.column}: {r.reason} ({r.rows} rows, first {_shown(r)})" for r in worst)
        return f"{self.invalid} of {self.rows} rows are invalid" + (f": {named}" if named else "")


@dataclass(frozen=True)
class Checked:
    """
    A file's rows, judged.

    Attributes:
        valid: Typed rows in the file's order, columns as `rows.declared` gives them.
        quarantined: `_row`, `_reasons`, `_raw` and the file's own columns as text, in the file's order.
        measured: All rows that could be split into columns, typed before quarantine, with null where a cell could
            not be read: what is profiled, so that quarantined tails cannot hide a drift.
        report: The counts.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    measured: pl.DataFrame
    report: ValidationReport


@dataclass(frozen=True)
class Columns:
    """How a file's header differs from the spec."""

    missing: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)  # declared columns of a type that cells cannot have


def compare_columns(frame: pl.DataFrame, data: Data) -> Columns:
    """What a file lacks and what it has beyond the spec; excluded columns may be there or not."""
    wanted = declared(data)
    optional = {name for name in data.exclude if name not in (data.timestamp, *data.key)}
    return Columns(
        missing=tuple(name for name in wanted if name not in frame.columns and name not in optional),
        undeclared=tuple(name for name in frame.columns if name not in wanted and name not in optional),
        unusable={
            name: str(dtype)
            for name, dtype in frame.schema.items()
            if name in wanted and (dtype.is_nested() or dtype == pl.Binary)
        },
    )


def refuse_columns(columns: Columns) -> None:
    """
    Stop at a header that is not the spec's.

    Raises:
        Refused: kind `columns`.
    """
    if columns.missing or columns.undeclared:
        parts = []
        if columns.missing:
            parts.append(f"missing {_names(columns.missing)}")
        if columns.undeclared:
            parts.append(f"undeclared {_names(columns.undeclared)}")
        raise Refused(
            "columns",
            f"the file's columns are not those of spec.data: {', '.join(parts)}",
            "mend the export, or declare the columns in spec.data.schema, or list them in spec.data.exclude",
        )
    if columns.unusable:
        named = ", ".join(f"{name!r} is {dtype}" for name, dtype in columns.unusable.items())
        raise Refused(
            "columns",
            f"a cell must hold one value, but column {named}",
            "flatten the column in the export, or list it in spec.data.exclude",
        )


def validate(table: Table, data: Data) -> Checked:
    """
    Judge every row by every rule.

    Returns:
        Each row of the table exactly once, in `valid` or in `quarantined`.

    Raises:
        Refused: kind `columns`, if the header is not the spec's.
    """
    refuse_columns(compare_columns(table.frame, data))
    wanted = {name: column for name, column in declared(data).items() if name in table.frame.columns}
    read = {name: _read(table.frame[name], name, column, data) for name, column in wanted.items()}
    measured = pl.DataFrame({name: found.values for name, found in read.items()}).select(
        # Every partition has the same columns, also where a file leaves out an excluded one.
        pl.col(name) if name in read else pl.lit(None, dtype=DTYPES[column.type]).alias(name)
        for name, column in declared(data).items()
    )
    problems = [(name, reason, broken) for name, found in read.items() for reason, broken in found.problems.items()]
    if problems:
        bad = pl.DataFrame([broken.alias(str(i)) for i, (_, _, broken) in enumerate(problems)])
        invalid = bad.select(pl.any_horizontal(pl.all())).to_series()
    else:
        invalid = pl.repeat(value=False, n=table.frame.height, eager=True)
    valid = measured.filter(~invalid) if problems else measured
    reasons = [_counted(table, name, reason, broken) for name, reason, broken in problems]
    report = ValidationReport(
        rows=table.height,
        valid=valid.height,
        invalid=table.height - valid.height,
        labelled=valid.height - valid[data.target].null_count(),
        reasons=(*reasons, *_broken_reasons(table)),
        columns=tuple(table.frame.columns),
        max_invalid_row_ratio=data.quality.max_invalid_row_ratio,
    )
    return Checked(valid, _set_aside(table, invalid, problems), measured, report)


def _read(column: pl.Series, name: str, declared_as: Column, data: Data) -> cells.Cells:
    return cells.read(column, declared_as, nullable=True if name == data.target else None)


def _counted(table: Table, name: str, reason: str, broken: pl.Series) -> Reason:
    first = broken.arg_true().head(EXAMPLES)
    values = cells.as_text(table.frame[name].gather(first))
    shown = tuple(
        (int(row), (value or "")[:EXAMPLE_LENGTH])
        for row, value in zip(table.numbers.gather(first), values, strict=True)
    )
    return Reason(name, reason, int(broken.sum()), shown)


def _broken_reasons(table: Table) -> list[Reason]:
    found = []
    for (reason,), rows in table.broken.group_by("_reason", maintain_order=True):
        head = rows.head(EXAMPLES)
        shown = tuple((int(n), raw[:EXAMPLE_LENGTH]) for n, raw in zip(head["_row"], head["_raw"], strict=True))
        found.append(Reason("(row)", str(reason), rows.height, shown))
    return found


def _set_aside(table: Table, invalid: pl.Series, problems: list[tuple[str, str, pl.Series]]) -> pl.DataFrame:
    """The invalid rows as they stood in the file, each with all of its reasons."""
    positions = invalid.arg_true()
    raw = table.frame[positions]
    lists: list[list[str]] = [[] for _ in range(len(positions))]
    for name, reason, broken in problems:
        for place in broken.gather(positions).arg_true():
            lists[place].append(f"{name}: {reason}")
    columns = {
        f"_{name}" if name in ("_row", "_reasons", "_raw") else name: cells.as_text(raw[name]) for name in raw.columns
    }
    split = pl.DataFrame(
        {
            "_row": table.numbers.gather(positions).cast(pl.Int64),
            "_reasons": pl.Series(lists, dtype=pl.List(pl.String)),
            "_raw": pl.Series([None] * len(positions), dtype=pl.String),
            **columns,
        }
    )
    unsplit = table.broken.select("_row", pl.concat_list("_reason").alias("_reasons"), "_raw")
    return pl.concat([split, unsplit], how="diagonal").sort("_row", maintain_order=True)


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return f"column{'s' if len(names) > 1 else ''} {shown}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _shown(reason: Reason) -> str:
    row, value = reason.examples[0]
    return f"row {row}: {value!r}"
