"""Local files as uploads: in order of event time, whole or dealt out, no row lost or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from trimtab.adapters.batches import deal, read_batches
from trimtab.adapters.files import read_table
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.spec import ContinuousModel, load

WEEK = timedelta(weeks=1)
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: demand}}
spec:
  data:
    source: s3://demand/landing/
    format: {format}
    timestamp: ts
    target: 'y'
    schema:
      x: {{type: float}}
      'y': {{type: float}}
  window: {window}
  training: {{estimator: "sklearn.linear_model:LinearRegression"}}
  evaluation: {{primary: mean_absolute_error}}
"""


def spec(format: str = "csv", window: str = "{strategy: fixed, size: 2w}") -> ContinuousModel:
    return load(SPEC.format(format=format, window=window))


def days(path: Path, first: str, count: int, note: str = "") -> Path:
    start = datetime.fromisoformat(first)
    rows = [f"{start + timedelta(days=day):%Y-%m-%d %H:%M:%S},{day}.50,{day}" for day in range(count)]
    path.write_text("ts,x,y\n" + "\n".join(rows) + f"\n{note}")
    return path


def texts(bodies: list[bytes]) -> list[str]:
    return [line for body in bodies for line in body.decode().splitlines()[1:]]


def test_files_are_batches_in_order_of_event_time_whatever_their_names(tmp_path: Path) -> None:
    late, early = days(tmp_path / "a.csv", "2024-02-01", 3), days(tmp_path / "b.csv", "2024-01-01", 3)
    found = read_batches([late, early], spec())
    assert [batch.name for batch in found] == ["b.csv", "a.csv"]
    assert found[0].body == early.read_bytes()
    assert found[0].last == datetime(2024, 1, 3, tzinfo=UTC)


def test_the_first_of_several_files_stays_whole_and_the_others_are_dealt_out(tmp_path: Path) -> None:
    history, year = days(tmp_path / "2023.csv", "2023-11-01", 60), days(tmp_path / "2024.csv", "2024-01-01", 17)
    found = read_batches([history, year], spec(), every=WEEK)
    assert [batch.first and batch.first.date().isoformat() for batch in found] == [
        "2023-11-01",
        "2024-01-01",
        "2024-01-08",
        "2024-01-15",
    ]
    assert texts([batch.body for batch in found[1:]]) == texts([year.read_bytes()])


def test_a_single_file_begins_with_a_stretch_as_long_as_the_window(tmp_path: Path) -> None:
    found = read_batches([days(tmp_path / "one.csv", "2024-01-01", 28)], spec(), every=WEEK)
    assert [len(texts([batch.body])) for batch in found] == [14, 7, 7]


def test_a_single_file_begins_with_a_quarter_where_the_window_has_no_size(tmp_path: Path) -> None:
    found = read_batches([days(tmp_path / "one.csv", "2024-01-01", 41)], spec(window="{strategy: all}"), every=WEEK)
    assert [len(texts([batch.body])) for batch in found] == [10, 7, 7, 7, 7, 3]


def test_stretches_without_a_row_are_no_batches(tmp_path: Path) -> None:
    path = days(tmp_path / "gap.csv", "2024-01-01", 2)
    path.write_text(path.read_text() + "2024-03-01 00:00:00,1,1\n")
    assert [len(texts([batch.body])) for batch in deal(path, spec().spec.data, WEEK)] == [2, 1]


def test_rows_that_cannot_be_read_stay_with_the_row_before_them(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("ts,x,y\n2024-01-01 00:00:00,1,1\nnot a time,2,2\n1,2,3,4\n2024-01-09 00:00:00,3,3\n")
    first, second = deal(path, spec().spec.data, WEEK)
    assert texts([first.body]) == ["2024-01-01 00:00:00,1,1", "not a time,2,2", "1,2,3,4"]
    assert texts([second.body]) == ["2024-01-09 00:00:00,3,3"]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_other_formats_are_dealt_out_without_loss(tmp_path: Path, format: str) -> None:
    moments = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(10)]
    rows = pl.DataFrame({"ts": moments, "x": [0.1 + day for day in range(10)], "y": list(range(10))})
    path = tmp_path / f"rows.{format}"
    if format == "parquet":
        rows.write_parquet(path)
    else:
        rows.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(path)
    found = deal(path, spec(format).spec.data, WEEK)
    back = []
    for number, batch in enumerate(found):
        piece = tmp_path / f"{number}.{format}"
        piece.write_bytes(batch.body)
        back.append(read_table(piece, format).frame)
    assert [batch.height for batch in back] == [7, 3]
    assert pl.concat(back)["x"].cast(pl.Float64).to_list() == rows["x"].to_list()


def test_a_file_that_cannot_be_read_stays_in_the_stream_where_it_was_named(tmp_path: Path) -> None:
    first, last = days(tmp_path / "1.csv", "2024-01-01", 3), days(tmp_path / "3.csv", "2024-02-01", 3)
    broken = tmp_path / "2.csv"
    broken.write_bytes(b"PAR1\x00\x00")
    found = read_batches([first, broken, last], spec(), every=WEEK)
    assert [batch.name[:1] for batch in found] == ["1", "2", "3"]
    assert found[1].first is None


def test_one_batch_is_not_enough_and_the_hint_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"found 1 batch.*\n?.*--every 2w"):
        read_batches([days(tmp_path / "one.csv", "2024-01-01", 3)], spec())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.csv"):
        read_batches([tmp_path / "nowhere.csv"], spec())


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [days(tmp_path / "a.csv", "2024-01-01", 3), days(tmp_path / "other" / "a.csv", "2024-02-01", 3)]
    with pytest.raises(Invalid, match=r"two files named a\.csv"):
        read_batches(paths, spec())


def test_a_file_without_any_time_cannot_be_dealt_out(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("ts,x,y\nnever,1,1\n")
    with pytest.raises(Invalid, match="whose timestamp can be read"):
        read_batches([path], spec(), every=WEEK)
