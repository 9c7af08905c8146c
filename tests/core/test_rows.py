"""Arrivals put together: the last arrival of a key wins, and no other row is lost."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.rows import combine, declared, empty
from trimtab.core.spec.model import Column, Data


def data(*key: str) -> Data:
    columns = {"x": Column(type="float"), "y": Column(type="boolean")}
    return Data(source="s3://rows/", format="csv", timestamp="t", key=key, target="y", columns=columns)


def test_without_a_key_every_row_stays_also_equal_ones() -> None:
    frame = pl.DataFrame({"t": [1, 1], "x": [2.0, 2.0]})
    assert combine([frame, frame], data()).height == 4


def test_a_later_arrival_replaces_the_row_of_its_key_and_may_move_it() -> None:
    first = pl.DataFrame({"t": [1, 2], "k": ["a", "b"], "x": [1.0, 2.0]})
    later = pl.DataFrame({"t": [9], "k": ["a"], "x": [5.0]})
    assert combine([first, later], data("k")).rows() == [(2, "b", 2.0), (9, "a", 5.0)]


def test_a_key_that_repeats_within_one_file_keeps_its_last_row() -> None:
    frame = pl.DataFrame({"t": [1, 1], "k": ["a", "a"], "x": [1.0, 2.0]})
    assert combine([frame], data("k"))["x"].to_list() == [2.0]


def test_no_arrival_is_a_table_of_the_specs_columns() -> None:
    assert combine([], data("k")).columns == ["t", "k", "x", "y"] == list(declared(data("k")))
    assert empty(data()).schema["t"] == pl.Datetime("us", "UTC")


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 100)), max_size=12)


@given(st.lists(ROWS, max_size=5))
def test_the_result_is_that_of_taking_rows_one_by_one(arrivals: list[list[tuple[int, int, int]]]) -> None:
    frames = [
        pl.DataFrame(rows, schema={"t": pl.Int64, "k": pl.Int64, "x": pl.Int64}, orient="row") for rows in arrivals
    ]
    if not frames:
        return
    found = combine(frames, data("k"))
    standing = {k: (t, k, x) for rows in arrivals for t, k, x in rows}
    assert sorted(found.rows()) == sorted(standing.values())
    assert found["t"].is_sorted()
