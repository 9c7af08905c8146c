"""Local files as the batches in which they would have been uploaded, in order of event time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.core.errors import Invalid, NotFound
from trimtab.core.validation import Refused

if TYPE_CHECKING:
    import polars as pl

    from trimtab.core.rows import Table
    from trimtab.core.spec.model import ContinuousModel, Data

HISTORY_SHARE = 4  # of one file, the first quarter is the history when the window has no size


@dataclass(frozen=True)
class Batch:
    """
    One upload: its name, its bytes, and the event times of its oldest and newest row.

    The times are None where the file could not be read: intake will say why.
    """

    name: str
    body: bytes
    first: datetime | None
    last: datetime | None


def read_batches(files: Sequence[Path], model: ContinuousModel, every: timedelta | None = None) -> list[Batch]:
    """
    The files, oldest first, each a batch; with `every`, dealt out in stretches of event time.

    With `every` the first of several files stays whole: it is the history that a first model learns from. Of a single
    file the first stretch is as long as the window, or a quarter of the file where the window has no size.

    Raises:
        NotFound: If a file does not exist.
        Invalid: If there are fewer than two batches, or one is to be cut and cannot be read.
    """
    data = model.spec.data
    read = _in_order([_whole(path, data) for path in files])
    if every is None:
        batches = read
    elif len(read) == 1:
        table = _table(files[0], data)
        times = _times(table, data)
        start, end = _span(times, files[0])
        history = model.spec.window.size or (end - start) / HISTORY_SHARE
        batches = _cut(files[0], table, times, data, every, start, start + history)
    else:
        by_name = {path.name: path for path in files}
        batches = read[:1]
        for batch in read[1:]:
            batches += _dealt(by_name[batch.name], batch, data, every)
    if len(batches) < 2:
        raise Invalid(
            f"found {len(batches)} batch; a backtest needs one to learn from and at least one to be judged on",
            "give more files, or deal one file out: `--every 2w`",
        )
    return batches


def deal(path: Path, data: Data, every: timedelta) -> list[Batch]:
    """One file, dealt out in stretches of event time; the last may be shorter."""
    table = _table(path, data)
    times = _times(table, data)
    start, _ = _span(times, path)
    return _cut(path, table, times, data, every, start, start + every)


def _whole(path: Path, data: Data) -> Batch:
    if not path.is_file():
        raise NotFound(f"found no file {path}", "name csv, parquet or jsonl files, as spec.data.format says")
    try:
        times = _times(_table(path, data), data).drop_nulls()
    except Refused:
        return Batch(path.name, path.read_bytes(), None, None)
    first, last = (times.min(), times.max()) if times.len() else (None, None)
    return Batch(path.name, path.read_bytes(), first, last)  # type: ignore[arg-type]


def _in_order(batches: list[Batch]) -> list[Batch]:
    """By the oldest row; a file without a readable time follows the one it was named after."""
    names = [batch.name for batch in batches]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"found two files named {twice[0]}: a batch is known by its name", "rename one of them")
    placed, before = [], datetime.min.replace(tzinfo=UTC)
    for batch in batches:
        before = batch.first or before
        placed.append((before, batch))
    return [batch for _, batch in sorted(placed, key=lambda each: each[0])]


def _dealt(path: Path, batch: Batch, data: Data, every: timedelta) -> list[Batch]:
    return [batch] if batch.first is None else deal(path, data, every)


def _table(path: Path, data: Data) -> Table:
    from trimtab.adapters.files import read_table

    return read_table(path, data.format)


def _times(table: Table, data: Data) -> pl.Series:
    """Event time by row, null where it cannot be read."""
    import polars as pl

    from trimtab.core import cells
    from trimtab.core.rows import INSTANT
    from trimtab.core.spec.model import Column

    if data.timestamp not in table.frame.columns:
        return pl.Series([None] * table.frame.height, dtype=INSTANT)
    return cells.read(table.frame[data.timestamp], Column(type="timestamp")).values


def _span(times: pl.Series, path: Path) -> tuple[datetime, datetime]:
    known = times.drop_nulls()
    if not known.len():
        raise Invalid(f"found no row in {path} whose timestamp can be read", "leave --every away, or mend the file")
    return known.min(), known.max()  # type: ignore[return-value]


def _cut(
    path: Path, table: Table, times: pl.Series, data: Data, every: timedelta, start: datetime, first_end: datetime
) -> list[Batch]:
    """Stretches [start, first_end), [first_end, first_end + every), …; those without a row are left out."""
    import polars as pl

    known = times.fill_null(strategy="forward").fill_null(start)
    offset = (known - first_end).dt.total_microseconds() // int(every / timedelta(microseconds=1)) + 1
    number = offset.clip(lower_bound=0)
    broken = _stretch_of_broken(table, number)
    batches = []
    for stretch in number.unique().sort():
        rows, when = table.frame.filter(number == stretch), times.filter(number == stretch).drop_nulls()
        raw = table.broken.filter(pl.Series(broken, dtype=pl.Int64) == stretch)["_raw"].to_list()
        first, last = (when.min(), when.max()) if when.len() else (None, None)
        begins = start if stretch == 0 else first_end + (stretch - 1) * every
        name = f"{path.name.split('.')[0]}-{begins:%Y-%m-%dT%H%M}.{data.format}"
        batches.append(Batch(name, _write(rows, raw, data.format), first, last))  # type: ignore[arg-type]
    return batches


def _stretch_of_broken(table: Table, number: pl.Series) -> list[int]:
    """A row that could not be split into columns stays with the row before it."""
    places = table.numbers.search_sorted(table.broken["_row"])
    return [int(number[max(0, int(place) - 1)]) for place in places]


def _write(rows: pl.DataFrame, raw: list[str], format: str) -> bytes:
    """The rows as a file of the spec's format again; text stays as it stood."""
    if format == "parquet":
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        return buffer.getvalue()
    text = rows.write_csv() if format == "csv" else rows.write_ndjson()
    return (text + "".join(f"{line}\n" for line in raw)).encode()
