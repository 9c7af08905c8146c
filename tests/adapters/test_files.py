"""Real bytes of every kind that people upload: read row by row, or refused by kind, with what was found."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.adapters import files, formats
from trimtab.adapters.memory import MemoryBuckets
from trimtab.core.errors import Conflict, NotFound
from trimtab.core.rows import Table
from trimtab.core.validation import Refused

CSV = b"ts,temp\n2024-01-01,1.5\n2024-01-02,2.5\n"


def parquet(frame: pl.DataFrame | None = None) -> bytes:
    buffer = io.BytesIO()
    (pl.DataFrame({"ts": ["2024-01-01"] * 500, "temp": range(500)}) if frame is None else frame).write_parquet(buffer)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("a.csv", CSV)
    return buffer.getvalue()


def read(folder: Path, body: bytes, format: str = "csv") -> Table:
    path = folder / "object"
    path.write_bytes(body)
    return files.read_table(path, format)


@pytest.mark.parametrize(
    ("format", "body", "kind", "words"),
    [
        ("csv", b"", "empty", "the file is empty"),
        ("csv", b" \n\n", "empty", "the file is empty"),
        ("csv", b"ts,temp\n", "empty", "a header but no rows"),
        ("csv", gzip.compress(b"", mtime=0), "empty", "the gzipped file is empty"),
        ("parquet", b"", "empty", "the file is empty"),
        ("parquet", parquet(pl.DataFrame(schema={"ts": pl.String})), "empty", "no rows"),
        ("jsonl", b"\n", "empty", "the file is empty"),
        ("csv", parquet(), "wrong_type", "found a parquet file; spec.data.format says csv"),
        ("csv", archive(), "wrong_type", "a zip archive or a spreadsheet"),
        ("csv", b"<!DOCTYPE html><html><body>Sign in</body></html>", "wrong_type", "an HTML or XML page"),
        ("csv", b'\xef\xbb\xbf<?xml version="1.0"?><Error/>', "wrong_type", "an HTML or XML page"),
        ("csv", b"%PDF-1.7 ...", "wrong_type", "a PDF"),
        ("csv", CSV.decode().encode("utf-16"), "wrong_type", "UTF-16"),
        ("csv", b'{"ts": 1}\n', "wrong_type", "JSON"),
        ("csv", b"ts,temp\n\x00\x01\x02", "wrong_type", "binary data"),
        ("jsonl", CSV, "wrong_type", "not JSON objects"),
        ("jsonl", b'[{"ts": 1}]', "wrong_type", "a JSON array"),
        ("parquet", CSV, "wrong_type", "found text; spec.data.format says parquet"),
        ("parquet", gzip.compress(CSV, mtime=0), "wrong_type", "gzip"),
        ("parquet", parquet()[:-20], "unreadable", "the parquet file cannot be read"),
        ("parquet", parquet()[:200], "unreadable", "the parquet file cannot be read"),
        ("csv", CSV + b"2024-01-03,\xe9t\xe9\n", "unreadable", "not UTF-8: byte 0xe9"),
        ("csv", CSV.replace(b"temp", b"t\xe9mp"), "unreadable", "not UTF-8"),
        ("csv", gzip.compress(CSV * 1000, mtime=0)[:-30], "unreadable", "the gzip stream is broken"),
        ("csv", b"temp,temp\n1,2\n", "columns", "the header names ['temp'] twice"),
        ("csv", b"ts,,temp\n1,2,3\n", "columns", "column 2 has no name"),
        ("csv", b"ts;temp\n1;2\n", "columns", "columns are separated by commas"),
        ("csv", ",".join(f"c{i}" for i in range(2001)).encode() + b"\n", "columns", "found 2001 columns"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_kind(
    tmp_path: Path, format: str, body: bytes, kind: str, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, body, format)
    assert refused.value.kind == kind
    assert words in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_byte_in_a_parquet_file_with_checksums_is_found_or_harmless(tmp_path: Path, seed: int) -> None:
    rng, buffer = random.Random(seed), io.BytesIO()
    table = pa.table({"x": [f"row {i}" for i in range(2000)], "y": list(range(2000))})
    pq.write_table(table, buffer, write_page_checksum=True)
    for _ in range(25):
        body = bytearray(buffer.getvalue())
        body[rng.randrange(4, len(body) - 8)] ^= 1 << rng.randrange(8)
        try:
            found = read(tmp_path, bytes(body), "parquet").frame
        except Refused:
            continue
        # A bit of the footer's statistics or of its description of who wrote it.
        assert [column.to_list() for column in found] == [table["x"].to_pylist(), table["y"].to_pylist()]


@pytest.mark.parametrize(
    "body", [CSV, b"\xef\xbb\xbf" + CSV, CSV.replace(b"\n", b"\r\n"), gzip.compress(CSV, mtime=0), b"\n" + CSV]
)
def test_csv_comes_as_text_in_the_files_order(tmp_path: Path, body: bytes) -> None:
    table = read(tmp_path, body)
    assert table.frame.to_dict(as_series=False) == {"ts": ["2024-01-01", "2024-01-02"], "temp": ["1.5", "2.5"]}
    assert table.numbers.to_list() == [1, 2]


def test_rows_with_other_numbers_of_cells_are_kept_as_they_stand(tmp_path: Path) -> None:
    table = read(tmp_path, b'a,b\n1,2\n3\n"x\ny",5\n6,7,8\n\n9,10\n')
    assert table.frame.rows() == [("1", "2"), ("x\ny", "5"), ("9", "10")]
    assert table.numbers.to_list() == [1, 3, 5]
    assert table.broken.rows() == [
        (2, "1 cells where the header has 2", "3"),
        (4, "3 cells where the header has 2", "6,7,8"),
    ]


def test_a_quote_that_is_not_closed_costs_each_line_that_it_swallows(tmp_path: Path) -> None:
    table = read(tmp_path, b'a,b\n1,2\n"3,4\n5,6\n7,8\n')
    assert (table.frame.height, table.broken.height, table.height) == (1, 3, 4)
    assert "a quote that is not closed" in table.broken["_reason"][0]


def test_a_quoted_header_over_two_lines_is_one_header(tmp_path: Path) -> None:
    table = read(tmp_path, b'"a\nb",c\n1,2\n3\n4,5\n')
    assert table.frame.columns == ["a\nb", "c"]
    assert (table.numbers.to_list(), table.broken["_row"].to_list()) == ([1, 3], [2])


def test_jsonl_keeps_every_digit_and_a_broken_line_is_one_row(tmp_path: Path) -> None:
    body = (
        b'{"a": 0.1000, "b": true}\nnot json\n{"b": null, "c": 12345678901234567890}\n'
        b'[1]\n{"a": NaN}\n{"a": {"x": 1}}\n{}\n'
    )
    table = read(tmp_path, body, "jsonl")
    assert table.frame.rows() == [
        ("0.1000", "true", None),
        (None, None, "12345678901234567890"),
        ("NaN", None, None),
        ('{"x": "1"}', None, None),
    ]
    assert table.numbers.to_list() == [1, 3, 5, 6]
    assert table.broken["_row"].to_list() == [2, 4, 7]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    assert read(tmp_path, parquet(), "parquet").frame.schema == {"ts": pl.String, "temp": pl.Int64}


def test_a_file_larger_than_the_machine_may_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_CELLS", 3)
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 50)
    for body, format in ((CSV, "csv"), (parquet(), "parquet"), (gzip.compress(CSV * 10), "csv")):
        with pytest.raises(Refused) as refused:
            read(tmp_path, body, format)
        assert refused.value.kind == "too_large"


def test_an_object_is_fetched_by_its_version_with_the_digest_of_its_bytes() -> None:
    bucket = MemoryBuckets().bucket("landing")
    etag = bucket.put("a.csv", CSV)
    with files.fetch(bucket, "a.csv", etag) as fetched:
        assert fetched.path.read_bytes() == CSV
        assert (fetched.size, fetched.digest[:8]) == (len(CSV), "d312829f")
        place = fetched.path
    assert not place.exists()


def test_an_object_that_changed_or_went_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = MemoryBuckets().bucket("landing")
    etag = bucket.put("a.csv", CSV)
    bucket.put("a.csv", CSV + b"1,2\n")
    with pytest.raises(Conflict), files.fetch(bucket, "a.csv", etag):
        pass
    with pytest.raises(NotFound), files.fetch(bucket, "b.csv", etag):
        pass
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    with pytest.raises(Refused, match="larger than"), files.fetch(bucket, "a.csv", bucket.head("a.csv").etag):
        pass


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(["csv", "jsonl", "parquet"]),
    st.sampled_from([b"", b"a,b\n1,2\n", b"{}\n"]),
)
def test_no_bytes_at_all_end_otherwise_than_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, format: str, start: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "noise"
    folder.mkdir(exist_ok=True)
    try:
        table = read(folder, start + noise, format)
    except Refused:
        return
    assert sorted([*table.numbers, *table.broken["_row"]]) == list(range(1, table.height + 1))
