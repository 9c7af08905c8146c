"""Every row is judged by every rule, none is lost, and a reason names the column, the row and the value."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.rows import BROKEN, Table
from trimtab.core.spec.model import Column, Data
from trimtab.core.validation import Refused, ValidationReport, validate

COLUMNS = {
    "temp": Column(type="float", min=-30, max=50, nullable=False),
    "hour": Column(type="int", min=0, max=23),
    "open": Column(type="boolean"),
    "sky": Column(type="category", values=("Clear", "Mist", "NA")),
    "shop": Column(type="category", values=("a", "b"), on_new="missing"),
    "note": Column(type="string"),
    "cnt": Column(type="int", min=0, nullable=False),
}
GOOD = {
    "ts": "2024-01-01 00:00:00",
    "temp": "1.5",
    "hour": "3",
    "open": "yes",
    "sky": "Clear",
    "shop": "a",
    "note": "x",
    "cnt": "7",
}


def data(**changes: Any) -> Data:
    fields = {"source": "s3://rows/", "format": "csv", "timestamp": "ts", "target": "cnt", "columns": COLUMNS}
    return Data(**{**fields, **changes})


def table(*rows: dict[str, Any], frame: pl.DataFrame | None = None) -> Table:
    found = pl.DataFrame([{**GOOD, **row} for row in rows], infer_schema_length=None) if frame is None else frame
    return Table(found, pl.Series(range(1, found.height + 1)), pl.DataFrame(schema=BROKEN))


def reasons(report: ValidationReport) -> set[tuple[str, str]]:
    return {(reason.column, reason.reason) for reason in report.reasons}


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("temp", "warm", "not a number"),
        ("temp", "1,5", "not a number"),
        ("temp", "1_000", "not a number"),
        ("temp", "inf", "not finite"),
        ("temp", "1e999", "not finite"),
        ("temp", "", "null"),
        ("temp", "NaN", "null"),
        ("temp", "-31", "below min -30"),
        ("temp", "50.01", "above max 50"),
        ("hour", "3.5", "a fraction where a whole number is declared"),
        ("hour", "24", "above max 23"),
        ("hour", "99999999999999999999", "beyond 64 bits"),
        ("open", "maybe", "not true or false"),
        ("open", "2", "not true or false"),
        ("sky", "Rain", "unseen category"),
        ("ts", "", "null"),
        ("ts", "yesterday", "not a timestamp"),
        ("ts", "2024-02-30", "not a timestamp"),
        ("ts", "1704067200", "a number of seconds where ISO 8601 is needed"),
        ("cnt", "-1", "below min 0"),
        ("cnt", "many", "not a number"),
    ],
)
def test_a_bad_cell_sets_its_row_aside_with_the_reason(column: str, cell: str, reason: str) -> None:
    checked = validate(table({}, {column: cell}), data())
    assert checked.valid.height == 1
    assert (column, reason) in reasons(checked.report)
    aside = checked.quarantined.row(0, named=True)
    assert aside["_row"] == 2
    assert f"{column}: {reason}" in aside["_reasons"]
    assert aside[column] == cell


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("temp", " 2.5 ", 2.5),
        ("hour", "3.0", 3),
        ("hour", "", None),
        ("hour", "null", None),
        ("open", "No", False),
        ("open", "1", True),
        ("sky", "NA", "NA"),  # a declared value is not "nothing"
        ("sky", "null", None),
        ("shop", "z", None),  # onNew: missing
        ("note", "null", "null"),  # text is text
        ("cnt", "", None),
    ],
)
def test_a_good_cell_is_read_as_declared(column: str, cell: str, value: object) -> None:
    checked = validate(table({column: cell}), data())
    assert checked.report.invalid == 0
    assert checked.valid[column][0] == value


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-01 12:30:00", "2024-01-01T12:30:00+00:00"),
        ("2024-01-01T12:30:00Z", "2024-01-01T12:30:00+00:00"),
        ("2024-01-01T12:30:00.250+02:00", "2024-01-01T10:30:00.250000+00:00"),
        ("2024-01-01 12:30:00-0330", "2024-01-01T16:00:00+00:00"),
        ("2024-01-01 12:30", "2024-01-01T12:30:00+00:00"),
        ("2024-01-01", "2024-01-01T00:00:00+00:00"),
    ],
)
def test_event_times_are_iso_8601_and_naive_ones_are_utc(text: str, instant: str) -> None:
    assert validate(table({"ts": text}), data()).valid["ts"][0].isoformat() == instant


def test_a_row_without_a_target_is_unlabelled_not_invalid() -> None:
    report = validate(table({}, {"cnt": ""}, {"cnt": None}), data()).report
    assert (report.valid, report.labelled, report.invalid) == (3, 1, 0)


def test_a_row_with_three_faults_is_one_invalid_row_with_three_reasons() -> None:
    checked = validate(table({"temp": "x", "hour": "24", "sky": "Rain"}), data())
    assert checked.report.invalid == 1
    assert len(checked.quarantined["_reasons"][0]) == 3


def test_a_report_shows_the_first_examples_of_each_reason() -> None:
    report = validate(table({}, *({"temp": f"bad{i}"} for i in range(5))), data()).report
    assert report.reasons[0].rows == 5
    assert report.reasons[0].examples == ((2, "bad0"), (3, "bad1"), (4, "bad2"))
    assert "5 of 6 rows are invalid: temp: not a number (5 rows, first row 2: 'bad0')" in report.sentence()


def test_the_typed_columns_of_parquet_are_taken_as_they_are() -> None:
    frame = pl.DataFrame(
        {
            "ts": pl.Series(["2024-01-01"]).str.to_datetime().dt.replace_time_zone("Europe/Berlin"),
            "temp": pl.Series([float("nan")], dtype=pl.Float32),
            "hour": pl.Series([3.0]),
            "open": [True],
            "sky": pl.Series(["Mist"], dtype=pl.Categorical),
            "shop": ["b"],
            "note": [None],
            "cnt": pl.Series([9], dtype=pl.UInt8),
        }
    )
    checked = validate(table(frame=frame), data())
    assert reasons(checked.report) == {("temp", "null")}
    assert checked.measured["ts"][0].isoformat() == "2023-12-31T23:00:00+00:00"
    assert checked.measured["hour"].dtype == pl.Int64


def test_an_identifier_keeps_all_its_digits() -> None:
    frame = pl.DataFrame([{**GOOD, "cnt": "9007199254740993"}])
    assert validate(table(frame=frame), data()).valid["cnt"][0] == 9007199254740993


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop("temp"), "missing column 'temp'"),
        (lambda f: f.drop("cnt"), "missing column 'cnt'"),
        (lambda f: f.drop("ts"), "missing column 'ts'"),
        (lambda f: f.with_columns(extra=pl.lit(1)), "undeclared column 'extra'"),
        (lambda f: f.with_columns(temp=pl.Series([[1.0]])), "column 'temp' is List(Float64)"),
        (lambda f: f.with_columns(temp=pl.Series([b"1"])), "column 'temp' is Binary"),
    ],
)
def test_a_header_that_is_not_the_specs_refuses_the_file(change: Any, words: str) -> None:
    with pytest.raises(Refused) as refused:
        validate(table(frame=change(pl.DataFrame([GOOD]))), data())
    assert refused.value.kind == "columns"
    assert words in str(refused.value)
    assert "hint:" in str(refused.value)


def test_excluded_columns_may_come_or_not_and_are_not_kept() -> None:
    with_it = pl.DataFrame([{**GOOD, "leak": "1"}])
    for frame in (with_it, with_it.drop("leak")):
        assert validate(table(frame=frame), data(exclude=("leak",))).valid.columns == ["ts", *sorted(COLUMNS)]


def test_a_row_without_its_key_is_set_aside() -> None:
    frame = pl.DataFrame([{**GOOD, "id": "1"}, {**GOOD, "id": ""}])
    report = validate(table(frame=frame), data(key=("id",))).report
    assert reasons(report) == {("id", "null")}


CELLS = st.one_of(
    st.sampled_from(["", "NA", "1", "24", "-1", "2.5", "x", "Clear", "true", "2024-01-01"]), st.text(max_size=8)
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(GOOD, CELLS)), min_size=1, max_size=30))
def test_every_row_ends_in_exactly_one_place_whatever_its_cells_hold(rows: list[dict[str, str]]) -> None:
    checked = validate(table(*rows), data())
    report = checked.report
    assert report.valid + report.invalid == report.rows == len(rows)
    assert checked.valid.height == report.valid
    assert checked.quarantined["_row"].n_unique() == checked.quarantined.height == report.invalid
    assert checked.quarantined["_reasons"].list.len().min() != 0
