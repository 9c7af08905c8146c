"""A first spec for a data file: what each column seems to hold, and settings that fit its rows and its span."""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.core.errors import Invalid
from trimtab.core.spec.data import Column

if TYPE_CHECKING:
    import polars as pl

FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}
TIME_NAMES = ("ts", "timestamp", "event_time", "eventtime", "time", "datetime", "date", "created_at", "at")
IDENTIFIER = re.compile(r"(?i:(^|_)(id|uuid|guid)$)|[a-z]Id$")
MAX_CLASSES = 50  # more different texts than this are no category but free text
MIN_COUNTED = 50  # rows, before whole numbers that only rise are taken for a running number
LEAK = 0.9  # of 1: a feature that follows the target this closely is worth a second look


@dataclass(frozen=True)
class Seen:
    """One column of the file as it seems: its entry in the schema, or why it is no feature."""

    name: str
    column: Column | None
    note: str  # what was seen, for a comment
    excluded: str = ""


@dataclass(frozen=True)
class Drafted:
    """What the columns of a file say about a model for it."""

    format: str
    rows: int
    first: datetime
    last: datetime
    timestamp: str
    target: Seen
    columns: tuple[Seen, ...]  # without timestamp and target
    leaks: tuple[str, ...]  # features that move with the target

    @property
    def span(self) -> timedelta:
        return self.last - self.first


def read(path: str) -> tuple[str, pl.DataFrame]:
    """
    Format and rows of a data file, as intake would read them.

    Raises:
        Invalid: If it is not there, or not csv, parquet or jsonl.
    """
    from trimtab.adapters.files import read_table

    file = Path(path)
    suffixes = [suffix for suffix in file.suffixes if suffix != ".gz"]
    found = FORMATS.get(suffixes[-1].lower()) if suffixes else None
    if file.is_dir():
        raise Invalid(f"{path} is a folder", "name one csv, parquet or jsonl file in it")
    if not file.is_file():
        raise Invalid(f"found no file {path}", "name a csv, parquet or jsonl file of your rows")
    if found is None:
        raise Invalid(f"{path} ends in none of {', '.join(FORMATS)}", "rename it, or export it as csv")
    with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
        link = Path(folder) / file.name  # what is unpacked beside it does not lie in the user's folder
        link.symlink_to(file.resolve())
        return found, read_table(link, found).frame


def look(frame: pl.DataFrame, format: str, target: str | None, timestamp: str | None) -> Drafted:
    """
    What each column seems to hold, and which one is the event time.

    Raises:
        Invalid: If target or timestamp are not named and cannot be guessed, or cannot be what they are named as.
    """
    seen = {name: look_at(frame[name]) for name in frame.columns}
    time = _choose_timestamp(frame, seen, timestamp)
    label = _choose_target(frame, seen, target, time)
    instants = _instants(frame[time])
    others = tuple(column for name, column in seen.items() if name not in (time, label.name))
    return Drafted(
        format=format,
        rows=frame.height,
        first=instants.min(),  # type: ignore[arg-type]  # polars knows no element type
        last=instants.max(),  # type: ignore[arg-type]
        timestamp=time,
        target=label,
        columns=others,
        leaks=_leaks(frame, label, others),
    )


def look_at(cells: pl.Series) -> Seen:
    """
    What one column seems to hold: the first type that reads every cell.

    >>> import polars as pl
    >>> look_at(pl.Series("wind", ["3", "12", "40"])).column.type
    'int'
    """
    from trimtab.core import cells as reading

    name = cells.name
    if cells.dtype.is_nested() or str(cells.dtype) in ("Binary", "Object", "Time", "Duration"):
        return Seen(name, None, "", f"{str(cells.dtype).partition('(')[0].lower()} values")
    text = reading.read(cells, Column(type="category")).values
    known = text.drop_nulls()
    missing = len(cells) - len(known)
    if not len(known):
        return Seen(name, None, "", "empty")
    if known.n_unique() == 1:
        return Seen(name, None, "", f"always {str(known[0])[:40]}")
    gaps = f", {missing / len(cells):.1%} missing" if missing else ""
    for kind in _types(cells, known):
        read = reading.read(cells, Column(type=kind))  # type: ignore[arg-type]  # the names of types stand in _types
        if not read.problems:
            return _described(name, kind, read.values, missing, gaps)
    values = sorted(known.unique().to_list())
    if len(values) > MAX_CLASSES or 2 * len(values) > len(known) or max(map(len, values)) > 100:
        column = Column(type="string", nullable=missing > 0)
        return Seen(name, column, f"{len(values):,} different texts{gaps}", "free text or an identifier")
    return Seen(name, Column(type="category", values=tuple(values), nullable=missing > 0), gaps[2:])


def _types(cells: pl.Series, known: pl.Series) -> tuple[str, ...]:
    """The types that a column may have, the narrowest first; text with leading zeros is a code, not a number."""
    import polars as pl

    if cells.dtype == pl.Boolean:
        return ("boolean",)
    if cells.dtype.is_integer():
        return ("int",)
    if cells.dtype.is_numeric():
        return ("float",)
    if cells.dtype.is_temporal():
        return ("timestamp",)
    words = set(known.str.to_lowercase().unique().to_list()) if known.n_unique() <= 4 else set()
    if words <= {"true", "false", "t", "f"} and words:
        return ("boolean",)
    if known.str.contains(r"^[+-]?0\d").any():
        return ("timestamp",)
    # 81.0 is a measurement that happens to be whole so far.
    return ("float", "timestamp") if known.str.contains(".", literal=True).any() else ("int", "float", "timestamp")


def _described(name: str, kind: str, values: pl.Series, missing: int, gaps: str) -> Seen:
    if kind in ("int", "float"):
        low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]  # polars knows no element type
        least, most = bounds(low, high)
        column = Column(type=kind, min=least, max=most, nullable=missing > 0)  # type: ignore[arg-type]
        excluded = "an identifier" if IDENTIFIER.search(name) else ""
        if not excluded and kind == "int" and _only_rises(values):
            excluded = "it only rises from row to row, as a running number does"
        return Seen(name, column, f"{low:g} to {high:g}{gaps}", excluded)
    column = Column(type=kind, nullable=missing > 0)  # type: ignore[arg-type]
    return Seen(name, column, gaps[2:], "another time" if kind == "timestamp" else "")


def _only_rises(values: pl.Series) -> bool:
    """Whether each row has more than the row before it: the next file's rows would all be out of range."""
    return len(values) >= MIN_COUNTED and not values.null_count() and bool((values.diff().drop_nulls() > 0).all())


def bounds(low: float, high: float) -> tuple[float, float]:
    """
    Round limits with half the range of slack on both sides; what comes down to 0 and never below it stays so.

    >>> bounds(10.94, 64.4), bounds(1, 651), bounds(0, 1)
    ((-16.0, 92.0), (0.0, 1000.0), (0.0, 1.5))
    """
    slack = (high - low) / 2 or max(abs(high), 1.0) / 2
    step = 10.0 ** (math.floor(math.log10(2 * slack)) - (0 if 2 * slack >= 10 and high - low >= 10 else 1))
    step = min(step, 1.0) if high - low < 100 else step
    least, most = math.floor((low - slack) / step) * step, math.ceil((high + slack) / step) * step
    return (0.0 if 0 <= low <= high / 20 else float(f"{least:.12g}")), float(f"{most:.12g}")


def _choose_timestamp(frame: pl.DataFrame, seen: dict[str, Seen], asked: str | None) -> str:
    times = [name for name, column in seen.items() if column.column and column.column.type == "timestamp"]
    if asked is not None:
        _need_column(asked, frame, "--timestamp")
        if asked not in times:
            example = frame[asked].drop_nulls().head(1).to_list()
            found = f"such as {example[0]!r}" if example else "and is empty"
            raise Invalid(
                f"--timestamp: {asked} does not read as a time, {found}",
                "event times are ISO 8601, such as 2024-01-31T06:00:00Z" + (f"; try {times[0]}" if times else ""),
            )
        return asked
    named = [name for wanted in TIME_NAMES for name in times if name.lower() == wanted]
    if named or len(times) == 1:
        return (named or times)[0]
    what = f"found {len(times)} columns of times: {', '.join(times)}" if times else "found no column of times"
    hint = f"say which: --timestamp {times[0]}" if times else "add a column with the event time of each row"
    raise Invalid(f"{what}; a model needs the event time of its rows", hint)


def _choose_target(frame: pl.DataFrame, seen: dict[str, Seen], asked: str | None, time: str) -> Seen:
    if asked is None:
        able = [name for name, column in seen.items() if name != time and column.column and not column.excluded]
        shown = [f"{name} ({seen[name].column.type})" for name in able]  # type: ignore[union-attr]  # able have one
        raise Invalid(
            f"found no --target; the file's columns are: {', '.join(shown)}",
            f"name the column to predict: --target {able[-1] if able else 'COLUMN'}",
        )
    _need_column(asked, frame, "--target")
    column = seen[asked].column
    if asked == time or column is None or column.type in ("string", "timestamp"):
        kind = "the event time" if asked == time else seen[asked].excluded or (column and column.type) or "nothing"
        raise Invalid(f"--target: {asked} is {kind}", "a target is a number, a boolean or one of a few classes")
    if column.type == "int" and (column.min, seen[asked].note.partition(",")[0]) == (0.0, "0 to 1"):
        return Seen(asked, Column(type="boolean"), "0 or 1" + seen[asked].note[len("0 to 1") :])
    return Seen(asked, column.model_copy(update={"nullable": True}), seen[asked].note)


def _need_column(name: str, frame: pl.DataFrame, option: str) -> None:
    if name not in frame.columns:
        close = get_close_matches(name, frame.columns, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(frame.columns[:20])}"
        raise Invalid(f"{option}: the file has no column {name}", hint)


def _instants(cells: pl.Series) -> pl.Series:
    from trimtab.core import cells as reading

    return reading.read(cells, Column(type="timestamp")).values


def _leaks(frame: pl.DataFrame, target: Seen, others: tuple[Seen, ...]) -> tuple[str, ...]:
    """Numeric features that follow the target so closely that they may be known only after it."""
    import polars as pl

    from trimtab.core import cells as reading

    def number(seen: Seen) -> pl.Series:
        assert seen.column is not None
        return reading.read(frame[seen.name], seen.column).values.cast(pl.Float64)

    numeric = ("int", "float", "boolean")
    if target.column is None or target.column.type not in numeric:
        return ()
    label = number(target)
    features = [seen for seen in others if seen.column and seen.column.type in numeric and not seen.excluded]
    found = []
    for seen in features:
        pair = pl.DataFrame({"x": number(seen), "y": label}).drop_nulls()
        together = _separation(pair) if target.column.type == "boolean" else pair.select(pl.corr("x", "y")).item()
        if together is not None and abs(together) > LEAK:
            found.append(seen.name)
    return tuple(found)


def _separation(pair: pl.DataFrame) -> float | None:
    """How well `x` alone ranks the classes of `y`, -1 to 1: twice the area under the ROC curve, less one."""
    ranks = pair.select(pair["x"].rank("average"), "y")
    positive = ranks.filter(ranks["y"] == 1)["x"]
    ones, zeros = len(positive), len(ranks) - len(positive)
    if not ones or not zeros:
        return None
    return 2 * (float(positive.sum()) - ones * (ones + 1) / 2) / (ones * zeros) - 1
