"""Rows out of the bytes of a csv, jsonl or parquet file; each row that has no columns is kept as it stands."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.core.validation import Refused

if TYPE_CHECKING:
    import polars as pl

    from trimtab.core.rows import Table

MAX_CELLS = 100_000_000  # rows x columns of one file: intake works beside a model that serves
MAX_COLUMNS = 2_000
CHUNK = 1 << 20
BLOCK = 8 << 20  # of csv at once; one row must fit in it


def unreadable(what: str) -> Refused:
    return Refused("unreadable", what, "see whether the upload or the export was cut short, and upload the file again")


def _refuse_other_encodings(path: Path) -> None:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    before = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise Refused(
                    "unreadable",
                    f"the file is not UTF-8: byte {byte:#04x} about {before + error.start} bytes into it",
                    "export as UTF-8, or see whether the file was damaged on its way",
                ) from error
            if not chunk:
                return
            before += len(chunk)


def _header(path: Path) -> tuple[list[str], int]:
    """
    The csv's column names, and how many lines they take.

    Raises:
        Refused: kind `columns`, for names that repeat, are empty, or are not separated by commas.
    """
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = next((row for row in reader if row), [])
    except csv.Error as error:
        raise unreadable(f"the header is not comma-separated text ({error})") from error
    names = [name.strip() for name in names]
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise Refused(
            "columns",
            f"the header is one column, {names[0][:80]!r}; columns are separated by commas",
            "export with commas between the columns",
        )
    _refuse_names(names)
    return names, reader.line_num


def _refuse_names(names: list[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise Refused("columns", f"found {len(names)} columns; at most {MAX_COLUMNS} are read", "export fewer columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused("columns", f"the header names {twice} twice", "give each column its own name")
    if "" in names:
        raise Refused("columns", f"column {names.index('') + 1} has no name", "name every column in the header")


def _refuse_size(rows: int, columns: int) -> None:
    if rows * columns > MAX_CELLS:
        raise Refused(
            "too_large",
            f"the file has {rows} rows x {columns} columns; at most {MAX_CELLS} cells",
            "upload it in parts",
        )


def read_csv(path: Path) -> Table:
    """
    Every cell as text.

    Rows with too few or too many cells are kept as they stand; one that swallowed the lines behind it, because a quote
    was not closed, counts a row a line.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.csv

    _refuse_other_encodings(path)
    (names, lines), broken = _header(path), []

    def set_aside(row: Any) -> str:
        broken.append((row.number, row.actual_columns, row.text))
        return "skip"

    try:
        batches = pa.csv.open_csv(
            path,
            # One thread: only then rows know their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names, skip_rows=lines),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
        kept, rows = [], 0
        for batch in batches:
            rows += batch.num_rows
            _refuse_size(rows, len(names))
            kept.append(batch)
        frame = pl.from_arrow(pa.Table.from_batches(kept, schema=batches.schema))
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        else:
            raise unreadable(f"the file cannot be read as csv ({str(error).splitlines()[0][:160]})") from error
    assert isinstance(frame, pl.DataFrame)
    return _table(frame, *_spread(broken, len(names), lines))


def _spread(broken: list[tuple[int, int, str]], columns: int, header: int) -> tuple[list[int], list[tuple[str, str]]]:
    """Row numbers and (reason, raw text) of broken rows, a row for each line that they hold."""
    taken, kept, shift = [], [], 0
    for number, cells, text in broken:
        # Arrow counts from the file's first line.
        lines = text.splitlines() or [text]
        reason = f"{cells} cells where the header has {columns}"
        if len(lines) > 1:
            reason += ", or a quote that is not closed"
        for place, line in enumerate(lines):
            taken.append(number - header + shift + place)
            kept.append((reason, line))
        shift += len(lines) - 1
    return taken, kept


def _table(frame: pl.DataFrame, taken: list[int], broken: list[tuple[str, str]]) -> Table:
    """Numbers for the rows that were kept: those that the broken ones did not take."""
    import numpy as np
    import polars as pl

    from trimtab.core.rows import BROKEN, Table

    free = np.ones(frame.height + len(taken) + 1, dtype=bool)
    free[0] = False
    free[taken] = False
    aside = pl.DataFrame(
        [(number, reason, raw) for number, (reason, raw) in zip(taken, broken, strict=True)],
        schema=BROKEN,
        orient="row",
    )
    return Table(frame, pl.Series(np.flatnonzero(free)[: frame.height]), aside)


def read_jsonl(path: Path) -> Table:
    """One JSON object a line; numbers stay text, so that no digit is lost before the schema has spoken."""
    import json

    import polars as pl

    decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
    columns: dict[str, list[str | None]] = {}
    rows, number, taken, broken = 0, 0, [], []
    with path.open("rb") as file:
        for raw in file:
            line = raw.strip(b" \t\r\n\xef\xbb\xbf" if number == 0 else b" \t\r\n")
            if not line:
                continue
            number += 1
            try:
                found = decode(line.decode())
                if not isinstance(found, dict) or not found:
                    raise ValueError("not an object with columns")
            except (ValueError, RecursionError) as error:
                taken.append(number)
                broken.append(("not a JSON object", f"{line.decode(errors='replace')} ({error})"))
                continue
            for name, cell in found.items():
                if name not in columns:
                    _refuse_names([*columns, name])
                    columns[name] = [None] * rows
                columns[name].append(_json_text(cell))
            rows += 1
            for cells in columns.values():
                if len(cells) < rows:
                    cells.append(None)
            _refuse_size(rows, len(columns))
    frame = pl.DataFrame({name: pl.Series(cells, dtype=pl.String) for name, cells in columns.items()})
    return _table(frame, taken, broken)


def _json_text(cell: object) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    import json

    return json.dumps(cell, ensure_ascii=False)


def read_parquet(path: Path) -> Table:
    """Columns as parquet types them; page checksums are verified where the file has them, and text is UTF-8."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            _refuse_names(names)
            _refuse_size(file.metadata.num_rows, len(names))
            table = file.read()
        table.validate(full=True)
        frame = pl.from_arrow(table)
    except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unreadable(f"the parquet file cannot be read ({first[:160]})") from error
    assert isinstance(frame, pl.DataFrame)
    return _table(frame, [], [])
