"""Bad files on a real store, each between two good ones: set aside by kind, told, kept, and nothing else disturbed."""

from __future__ import annotations

import gzip
import io
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from trimtab.app.embedded.store import Store

DAY = datetime(2012, 1, 1, tzinfo=UTC)
HEADER = "ts,heat,count"


def lines(rows: int = 12, day: int = 5, **broken: str) -> list[str]:
    """Rows of one file; `broken` has by the number of a row, as in r3, what stands there instead."""
    sound = [f"{(DAY + timedelta(days=day, hours=n)).isoformat()},{n % 20},{day * 100 + n}" for n in range(rows)]
    return [broken.get(f"r{n}", line) for n, line in enumerate(sound)]


def csv(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *(rows or lines()), ""]).encode()


def frame(day: int = 5) -> pl.DataFrame:
    rows = [line.split(",") for line in lines(day=day)]
    return pl.DataFrame(
        {"ts": [r[0] for r in rows], "heat": [float(r[1]) for r in rows], "count": [float(r[2]) for r in rows]}
    )


def parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table.to_arrow(), buffer, write_page_checksum=True, compression="none", use_dictionary=False)
    return buffer.getvalue()


def flipped(body: bytes, mark: bytes) -> bytes:
    at = body.index(mark)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def archive(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("xl/sheet1.xml", body)
    return buffer.getvalue()


GOOD = {
    "csv": lambda day: csv(*lines(day=day)),
    "parquet": lambda day: parquet(frame(day)),
    "jsonl": lambda day: frame(day).write_ndjson().encode(),
}
NESTED = frame().with_columns(heat=pl.Series([[1.0]] * 12))
FEW = lines(200, r7="2012-01-06T07:00:00,hot,5", r9="2012-01-06T09:00:00,1")
# By format and name: the bytes, the kind of the outcome, and words of its reason.
BAD: dict[tuple[str, str], tuple[bytes, str, str]] = {
    ("csv", "nothing"): (b"", "empty", "the file is empty"),
    ("csv", "blank lines"): (b" \n\n \n", "empty", "the file is empty"),
    ("csv", "a header only"): (b"ts,heat,count\n", "empty", "a header but no rows"),
    ("csv", "an empty gzip"): (gzip.compress(b""), "empty", "the gzipped file is empty"),
    ("csv", "a parquet file"): (GOOD["parquet"](5), "wrong_type", "found a parquet file; spec.data.format says csv"),
    ("csv", "a spreadsheet"): (archive(b"<sheet/>"), "wrong_type", "a zip archive or a spreadsheet"),
    ("csv", "a login page"): (b"<!DOCTYPE html><p>Sign in</p>", "wrong_type", "an HTML or XML page"),
    ("csv", "JSON"): (GOOD["jsonl"](5), "wrong_type", "found JSON"),
    ("csv", "UTF-16"): (csv().decode().encode("utf-16"), "wrong_type", "UTF-16 text"),
    ("csv", "random bytes"): (bytes(range(256)) * 8, "wrong_type", "binary data"),
    ("csv", "Latin-1"): (csv(header="ts,h\xe9at,count").decode().encode("latin-1"), "unreadable", "not UTF-8"),
    ("csv", "half a gzip"): (gzip.compress(csv(*lines(999)))[:-99], "unreadable", "the gzip stream is broken"),
    ("csv", "a column twice"): (csv(header="ts,heat,heat"), "columns", "names ['heat'] twice"),
    ("csv", "a column without a name"): (csv(header="ts,,count"), "columns", "column 2 has no name"),
    ("csv", "semicolons"): (csv().replace(b",", b";"), "columns", "separated by commas"),
    ("csv", "a missing column"): (csv(*[row.rpartition(",")[0] for row in lines()], header="ts,heat"), "columns",
                                  "missing column 'count'"),
    ("csv", "one column more"): (csv(*[f"{row},1" for row in lines()], header=f"{HEADER},wind"), "columns",
                                 "undeclared column 'wind'"),
    ("csv", "words for numbers"): (csv(*[row.replace(",", ",hot,", 1) for row in lines()]), "invalid_rows",
                                   "4 cells where the header has 3"),
    ("csv", "values out of range"): (csv(*lines(r3="2012-01-06T03:00:00,451,5", r4="2012-01-06T04:00:00,999,5")),
                                     "invalid_rows", "heat: above max 50"),
    ("csv", "seconds for times"): (csv(*[f"17040672{n:02},1,2" for n in range(12)]), "invalid_rows",
                                   "a number of seconds"),
    ("csv", "a decimal comma"): (csv(*[row.replace(",", ',"1,5",', 1).rpartition(",")[0] for row in lines()]),
                                 "invalid_rows", "heat: not a number"),
    ("csv", "an open quote"): (csv(*lines(r3='"2012-01-06T03:00:00,1,2')), "invalid_rows",
                               "a quote that is not closed"),
    ("parquet", "nothing"): (b"", "empty", "the file is empty"),
    ("parquet", "csv"): (csv(), "wrong_type", "found text; spec.data.format says parquet"),
    ("parquet", "its end is missing"): (GOOD["parquet"](5)[:-20], "unreadable", "the parquet file cannot be read"),
    ("parquet", "a flipped byte"): (flipped(GOOD["parquet"](5), b"2012-01-06T03"), "unreadable", "cannot be read"),
    ("parquet", "lists in cells"): (parquet(NESTED), "columns", "column 'heat' is List"),
    ("jsonl", "an array"): (b'[{"ts": "2012-01-06", "heat": 1, "count": 2}]', "wrong_type", "a JSON array"),
    ("jsonl", "csv"): (csv(), "wrong_type", "not JSON objects"),
    ("jsonl", "torn lines"): (GOOD["jsonl"](5)[:-400], "invalid_rows", "not a JSON object"),
}  # fmt: skip


@dataclass
class Taken:
    """What became of every file of one format: outcomes by the object's name, and the journal."""

    rig: Any
    outcomes: dict[str, Any]
    journal: list[Any]


@pytest.fixture(scope="module")
def taken(store: Store, Rig: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Taken]]:  # noqa: N803
    """Each format's bad files uploaded between two good ones, and all of it taken in, on a real store."""
    from trimtab.adapters import s3

    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        found = {}
        for format, good in GOOD.items():
            text = Rig.text.replace("format: csv", f"format: {format}")
            buckets = [store.create_bucket(f"{kind}-{uuid.uuid4().hex[:12]}") for kind in ("landing", "state")]
            rig = Rig(s3.connect(), tmp_path_factory.mktemp("cache"), *buckets, text=text)
            rig.put("0 before", good(0))
            for (of, name), (body, _, _) in BAD.items():
                if of == format:
                    rig.put(f"1 {name}", body)
            if format == "csv":
                rig.put("2 few", csv(*FEW))
            rig.put("9 after", good(20))
            rig.step()
            entries = rig.intake.entries()
            outcomes = {entries[each].key.removeprefix("in/"): one for each, one in rig.intake.outcomes.items()}
            found[format] = Taken(rig, outcomes, rig.journal())
        yield found


@pytest.mark.parametrize(("format", "name"), BAD)
def test_a_bad_file_is_set_aside_by_its_kind_and_told(taken: dict[str, Taken], format: str, name: str) -> None:
    body, kind, words = BAD[format, name]
    outcome = taken[format].outcomes[f"1 {name}"]

    assert (outcome.state, outcome.kind) == ("quarantined", kind)
    assert words in outcome.reason
    assert outcome.hint
    told = [entry for entry in taken[format].journal if entry.evidence.get("entry") == outcome.entry]
    assert [entry.kind for entry in told] == ["quarantined"]
    assert words in told[0].summary
    # Nothing is lost: the upload stands where it was put.
    rig = taken[format].rig
    assert rig.buckets.bucket(rig.landing).get(f"in/1 {name}").body == body


@pytest.mark.parametrize("format", GOOD)
def test_bad_files_disturb_no_good_one(taken: dict[str, Taken], format: str) -> None:
    outcomes = taken[format].outcomes

    assert [outcomes[name].state for name in ("0 before", "9 after")] == ["ingested", "ingested"]
    assert [outcomes[name].partition.rows for name in ("0 before", "9 after")] == [12, 12]
    (decision,) = taken[format].rig.decisions()
    bad = {outcome.entry for name, outcome in outcomes.items() if name.startswith("1 ")}
    window = {part.id for part in taken[format].rig.state.data.dataset(decision.dataset).partitions}
    assert {outcomes[name].partition.id for name in ("0 before", "9 after")} <= window
    assert not bad & set(decision.entries)


def test_a_few_bad_rows_are_set_aside_and_the_others_let_in(taken: dict[str, Taken]) -> None:
    outcome = taken["csv"].outcomes["2 few"]

    assert (outcome.state, outcome.partition.rows, outcome.partition.quarantined) == ("ingested", 198, 2)
    aside = pl.read_parquet(taken["csv"].rig.state.data.quarantined(outcome.partition.id))
    assert aside["_row"].to_list() == [8, 10]
    assert "heat: not a number" in aside["_reasons"][0]
    assert "2 cells where the header has 3" in aside["_reasons"][1]
    assert "2012-01-06T09:00:00,1" in aside["_raw"][1]
