"""Uploaded files: fetched by stream, recognised by their bytes, split into rows; nothing is judged here."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.core.validation import Refused

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from trimtab.core.ports import Bucket
    from trimtab.core.rows import Table

# Intake works beside a model that serves: one file may take this much of the machine, and no more.
MAX_BYTES = 1 << 30  # of an object
MAX_TEXT_BYTES = 4 << 30  # of an object once decompressed
MAX_CELLS = 200_000_000  # rows x columns: about 1.6 GB of numbers
MAX_COLUMNS = 2_000
CHUNK = 1 << 20
# First bytes of what people upload by mistake.
SIGNATURES = {
    b"PAR1": "a parquet file",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "gzip",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"BZh": "bzip2",
}


@dataclass(frozen=True)
class Fetched:
    """An object's bytes in a temporary file, and their SHA-256."""

    path: Path
    digest: str
    size: int


@contextmanager
def fetch(bucket: Bucket, key: str, etag: str) -> Iterator[Fetched]:
    """
    An object's bytes for as long as the context lasts, never all in memory.

    Raises:
        Conflict: If the object has another etag by now.
        NotFound: If it is gone.
        Refused: kind `too_large`.
    """
    with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
        path = Path(folder) / "object"
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for chunk in bucket.stream(key, etag):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise Refused(
                        "too_large", f"{key} is larger than {MAX_BYTES >> 20} MiB", "upload it in several files"
                    )
                digest.update(chunk)
                file.write(chunk)
        yield Fetched(path, digest.hexdigest(), size)


def read_table(path: Path, format: str) -> Table:
    """
    The rows of a csv, parquet or jsonl file, the first two also gzipped, in the file's order.

    Args:
        path: A local file.
        format: What the spec says that files are.

    Raises:
        Refused: kind `empty`, `wrong_type`, `unreadable`, `columns` or `too_large`.
    """
    _refuse_other_types(path, format)
    if format == "parquet":
        table = _read_parquet(path)
    else:
        with _plain(path) as plain:
            table = _read_csv(plain) if format == "csv" else _read_jsonl(plain)
    if table.height == 0:
        raise Refused("empty", "the file has a header but no rows", "nothing is lost; upload the file when it has rows")
    return table


def _refuse_other_types(path: Path, format: str) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if not head.strip():
        raise Refused("empty", "the file is empty", "see whether the export ended early, and upload the file again")
    if head[:2] == b"\x1f\x8b" and format in ("csv", "jsonl"):
        try:
            with gzip.open(path) as unpacked:
                head = unpacked.read(512)
        except (OSError, EOFError) as error:
            raise _unreadable(f"the gzip stream is broken ({error})") from error
        if not head.strip():
            raise Refused("empty", "the gzipped file is empty", "see whether the export ended early")
    found = next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if found is None and text.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "an HTML or XML page (a login page or an error message of the source?)"
    if found is None and format != "parquet" and b"\x00" in head:
        found = "binary data"
    if found is None and format == "parquet":
        found = "text" if _is_text(head) else "binary data of an unknown type"
    if found is None and format == "csv" and text.startswith((b"{", b"[")):
        found = "JSON"
    if found is None and format == "jsonl" and not text.startswith(b"{"):
        found = "a JSON array" if text.startswith(b"[") else "text, but not JSON objects, one a line"
    if found and not (format == "parquet" and found == "a parquet file"):
        raise Refused(
            "wrong_type",
            f"found {found}; spec.data.format says {format}",
            f"upload {format}, or change spec.data.format",
        )


def _is_text(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in head)


def _unreadable(what: str) -> Refused:
    return Refused("unreadable", what, "see whether the upload or the export was cut short, and upload the file again")


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The file itself, or its decompressed twin beside it."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if not zipped:
        yield path
        return
    twin, size = path.with_name(path.name + ".plain"), 0
    try:
        with gzip.open(path) as packed, twin.open("wb") as plain:
            while chunk := packed.read(CHUNK):
                size += len(chunk)
                if size > MAX_TEXT_BYTES:
                    raise Refused(
                        "too_large", f"the file is larger than {MAX_TEXT_BYTES >> 30} GiB unpacked", "upload parts"
                    )
                plain.write(chunk)
        yield twin
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the stream
            raise
        raise _unreadable(f"the gzip stream is broken ({error})") from error
    finally:
        twin.unlink(missing_ok=True)


def _header(path: Path) -> list[str]:
    """The csv's column names. Raises Refused for names that repeat, are empty, or are not separated by commas."""
    import csv

    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            names = next((row for row in csv.reader(file, strict=True) if row), [])
        "".join(names).encode()
    except (UnicodeError, csv.Error) as error:
        raise _unreadable(f"the header is not UTF-8 comma-separated text ({error})") from error
    names = [name.strip() for name in names]
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise Refused(
            "columns",
            f"the header is one column, {names[0][:80]!r}; columns are separated by commas",
            "export with commas between the columns",
        )
    _refuse_names(names)
    return names


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


def _read_csv(path: Path) -> Table:
    """Every cell as text. Rows with too few or too many cells are kept as they stand, with their numbers."""
    import pyarrow as pa
    import pyarrow.csv

    names, broken = _header(path), []

    def set_aside(row: Any) -> str:
        broken.append((row.number, row.actual_columns, row.text))
        return "skip"

    try:
        batches = pa.csv.open_csv(
            path,
            # One thread: only then rows know their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=8 << 20),
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
        frame = _polars(pa.Table.from_batches(kept, schema=batches.schema)).rename(
            dict(zip(batches.schema.names, names, strict=True))
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(_readable(error)) from error
    # Arrow numbers rows from 1 with the header.
    taken = [number - 1 for number, _, _ in broken]
    return _table(frame, taken, [(f"{cells} cells where the header has {len(names)}", raw) for _, cells, raw in broken])


def _readable(error: Exception) -> str:
    text = str(error).splitlines()[0]
    if "UTF8" in text or "UTF-8" in text:
        return f"the file is not UTF-8 ({text[:160]})"
    return f"the file cannot be read as csv ({text[:160]})"


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


def _read_jsonl(path: Path) -> Table:
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
                if not isinstance(found, dict):
                    raise ValueError("not an object")
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


def _read_parquet(path: Path) -> Table:
    """Columns as parquet types them."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _refuse_names(names)
            _refuse_size(file.metadata.num_rows, len(names))
        frame = pl.read_parquet(path, use_statistics=False, glob=False)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _unreadable(f"the parquet file cannot be read ({first[:160]})") from error
    return _table(frame, [], [])


def _polars(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
