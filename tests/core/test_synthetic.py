"""Rows drawn from a schema are rows that the schema lets in."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.rows import Table
from trimtab.core.spec.model import Column, Data
from trimtab.core.synthetic import draw
from trimtab.core.validation import validate

bound = st.none() | st.integers(-1000, 1000)


@st.composite
def columns(draw_: st.DrawFn) -> dict[str, Any]:
    kind = draw_(st.sampled_from(["float", "int", "boolean", "category", "string", "timestamp"]))
    low, high = draw_(bound), draw_(bound)
    if low is not None and high is not None and low > high:
        low, high = high, low
    numbers = {"min": low, "max": high} if kind in ("float", "int") else {}
    values = {"values": tuple(draw_(st.sets(st.text("abc1", min_size=1), min_size=1)))} if kind == "category" else {}
    return {"type": kind, "nullable": draw_(st.booleans())} | numbers | values


def data_of(target: dict[str, Any], features: list[dict[str, Any]], key: tuple[str, ...] = ()) -> Data:
    schema = {f"x{place}": Column(**one) for place, one in enumerate(features)} | {"y": Column(**target)}
    return Data(source="s3://rows/", format="csv", timestamp="t", key=key, target="y", columns=schema)


@settings(deadline=None, max_examples=60)
@given(columns().filter(lambda one: one["type"] not in ("string", "timestamp")), st.lists(columns(), max_size=5))
def test_every_row_is_valid_and_labelled(target: dict[str, Any], features: list[dict[str, Any]]) -> None:
    data = data_of(target, features)
    frame = draw(data, 60)
    nothing = pl.DataFrame(schema={"_row": pl.Int64, "_reason": pl.String, "_raw": pl.String})
    report = validate(Table(frame, pl.int_range(1, 61, eager=True), nothing), data).report
    assert (report.rows, report.invalid, report.labelled) == (60, 0, 60), report.sentence()


def test_every_class_occurs_and_the_target_follows_the_features() -> None:
    frame = draw(data_of({"type": "category", "values": ("a", "b", "c")}, [{"type": "float"}]), 300)
    assert set(frame["y"].value_counts().rows()) == {("a", 100), ("b", 100), ("c", 100)}
    numbers = draw(data_of({"type": "float", "min": 0, "max": 9}, [{"type": "float", "nullable": False}]), 300)
    assert np.corrcoef(numbers["x0"], numbers["y"])[0, 1] > 0.9


def test_a_key_names_each_row_and_equal_seeds_draw_equal_rows() -> None:
    data = data_of({"type": "float"}, [{"type": "int"}], key=("k", "x0"))
    frame = draw(data, 50, seed=4)
    assert frame["k"].n_unique() == 50
    assert frame.equals(draw(data, 50, seed=4))
    assert not frame.equals(draw(data, 50, seed=5))
