"""Profiles add up exactly, keep what a comparison needs, and survive JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.bins import Bins, bins_of, edges_of
from trimtab.core.errors import Invalid
from trimtab.core.profile import PREDICTION, Profile, merge, profile
from trimtab.core.rows import INSTANT
from trimtab.core.spec.model import Column, Data

DATA = Data(
    source="s3://rows/",
    format="csv",
    timestamp="t",
    target="y",
    columns={"x": Column(type="float"), "c": Column(type="category", values=("a", "b")), "y": Column(type="boolean")},
)
START = datetime(2024, 1, 1, tzinfo=UTC)


def frame(rows: list[tuple[int, float | None, str | None, bool | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "t": pl.Series([START + timedelta(hours=row[0]) for row in rows], dtype=INSTANT),
            "x": pl.Series([row[1] for row in rows], dtype=pl.Float64),
            "c": pl.Series([row[2] for row in rows], dtype=pl.String),
            "y": pl.Series([row[3] for row in rows], dtype=pl.Boolean),
        }
    )


ROW = st.tuples(
    st.integers(0, 5000),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
    st.sampled_from(["a", "b", "new", None]),
    st.sampled_from([True, False, None]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=60), st.integers(0, 60))
def test_the_profile_of_the_parts_is_the_profile_of_the_whole(rows: list, cut: int) -> None:
    whole = frame(rows)
    bins = bins_of(whole, DATA)
    cut = min(cut, len(rows))
    parts = [profile(part, DATA, bins) for part in (whole[:cut], whole[cut:]) if part.height]
    summed, direct = merge(parts), profile(whole, DATA, bins)
    assert summed.total == direct.total == len(rows)
    assert (summed.first, summed.last) == (direct.first, direct.last)
    for name in bins:
        assert summed.counts(name).tolist() == direct.counts(name).tolist()
        assert summed.counts(name).sum() == len(rows)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, max_size=40))
def test_a_profile_survives_json_to_the_last_bit(rows: list) -> None:
    written = profile(frame(rows), DATA)
    again = Profile.from_dict(json.loads(json.dumps(written.to_dict(), allow_nan=False)))
    assert again.to_dict() == written.to_dict()


def test_cells_tell_below_beyond_unseen_and_missing_apart() -> None:
    bins = {"x": Bins(np.array([0.0, 1.0, 2.0])), "c": Bins(None, ("a", "b")), "y": Bins(None, ("true", "false"))}
    found = profile(
        frame([(0, -5.0, "a", True), (0, 0.5, "z", None), (0, 2.0, None, False), (0, None, "b", True)]), DATA, bins
    )
    assert found.counts("x").tolist() == [1, 1, 0, 1, 1]
    assert found.counts("c").tolist() == [1, 1, 1, 1]
    assert found.counts("y").tolist() == [2, 1, 0, 1]


def test_the_greatest_value_lies_within_the_edges_and_any_beyond_does_not() -> None:
    edges = edges_of(np.array([1.0, 2.0, 3.0]))
    assert np.searchsorted(edges, 3.0, side="right") == len(edges) - 1
    assert np.searchsorted(edges, 3.0000001, side="right") == len(edges)


def test_profiles_of_other_bins_do_not_add_up() -> None:
    a, b = profile(frame([(0, 1.0, "a", True)]), DATA), profile(frame([(0, 2.0, "a", True)]), DATA)
    with pytest.raises(Invalid, match="different bins"):
        merge([a, b])


def test_a_reference_is_cut_into_batches_as_long_as_the_new_one() -> None:
    rows = [(hour, float(hour % 7), "a", True) for hour in range(24 * 70)]
    batches = profile(frame(rows), DATA).batches(timedelta(weeks=1).total_seconds())
    assert [batch.total for batch in batches] == [168] * 10
    assert [batch.starts[0] for batch in batches] == sorted(batch.starts[0] for batch in batches)


def test_a_stretch_with_few_rows_is_no_batch() -> None:
    rows = [(hour, 1.0, "a", True) for hour in range(24 * 28) if not 24 * 7 <= hour < 24 * 13]
    assert [batch.total for batch in profile(frame(rows), DATA).batches(7 * 86400)] == [168, 168, 168]


def test_answers_of_a_model_are_one_more_column() -> None:
    found = profile(frame([(0, 1.0, "a", True), (1, 2.0, "b", True)]), DATA, predictions=np.array([0.5, 0.7]))
    assert found.counts(PREDICTION).sum() == 2
