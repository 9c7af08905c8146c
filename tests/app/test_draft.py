"""What `init` makes of a column, and that whatever it drafts is a sound spec."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.app import draft, draft_text
from trimtab.core.errors import Invalid
from trimtab.core.spec import load

COLUMNS: dict[str, tuple[list[Any], str | None]] = {
    "whole numbers": (["1", "2", "3"], "int"),
    "fractions": (["1", "2.5", "3"], "float"),
    "measurements that are whole so far": (["81.0", "80.0"], "float"),
    "numbers with gaps": (["1", "", "3"], "int"),
    "postcodes": ([f"0{number}" for number in range(60)], "string"),
    "words of truth": (["true", "false", "True"], "boolean"),
    "times": (["2024-01-31T06:00:00Z", "2024-02-01"], "timestamp"),
    "classes": (["a", "b"] * 5, "category"),
    "free text": ([f"remark {number}" for number in range(60)], "string"),
    "nothing": (["", "NA"], None),
    "always the same": (["x", "x"], None),
    "typed numbers": ([1.5, 2.5], "float"),
    "typed truth": ([True, False], "boolean"),
    "typed times": ([datetime(2024, 1, 1), datetime(2024, 1, 2)], "timestamp"),  # noqa: DTZ001 - as parquet gives them
    "lists": ([[1], [2]], None),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_gets_the_narrowest_type_that_reads_all_of_it(case: str) -> None:
    cells, kind = COLUMNS[case]
    seen = draft.look_at(pl.Series("c", cells))
    assert (seen.column.type if seen.column else None) == kind
    assert seen.column is not None or seen.excluded


@pytest.mark.parametrize(("name", "excluded"), [("id", True), ("user_id", True), ("entityId", True), ("humid", False)])
def test_identifiers_are_known_by_their_names(name: str, excluded: bool) -> None:
    assert bool(draft.look_at(pl.Series(name, ["1", "2", "3"])).excluded) is excluded


@pytest.mark.parametrize(
    ("cells", "excluded"),
    [(range(1000, 1060), True), ([7, *range(59)], False), (range(40), False), ([n // 2 for n in range(60)], False)],
    ids=["rises", "falls once", "too few rows", "repeats"],
)
def test_a_running_number_is_no_feature(cells: Any, excluded: bool) -> None:
    assert ("running number" in draft.look_at(pl.Series("customer", list(cells))).excluded) is excluded


@settings(deadline=None, max_examples=40)  # the machine is shared
@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=9, unique=True))
def test_limits_hold_what_was_seen_with_room_on_both_sides(numbers: list[float]) -> None:
    low, high = min(numbers), max(numbers)
    least, most = draft.bounds(low, high)
    assert least <= low
    assert most >= high
    assert (most - least) <= 40 * (high - low) + 40 * max(1.0, abs(high))


def frame(**columns: list[Any]) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    times = [f"{datetime(2024, 1, 1) + timedelta(hours=hour):%Y-%m-%d %H:%M:%S}" for hour in range(rows)]  # noqa: DTZ001
    return pl.DataFrame({"ts": times, **columns})


def test_zeros_and_ones_are_a_target_of_two_classes() -> None:
    drafted = draft.look(frame(x=["1", "2"] * 20, y=["0", "1", "1", "0"] * 10), "csv", "y", None)
    spec = load(draft_text.write(drafted, "m-1", "model.yaml")).spec
    assert (spec.data.task, spec.evaluation.primary) == ("classification", "roc_auc")
    assert spec.training.estimator.endswith("Classifier")


def test_a_feature_that_gives_the_target_away_is_pointed_out() -> None:
    late = [minutes > 15 for minutes in range(40)]
    drafted = draft.look(frame(delay=list(range(40)), hour=[1, 2, 3, 4] * 10, late=late), "csv", "late", None)
    assert drafted.leaks == ("delay",)
    assert "follows late: exclude it if it is known only afterwards" in draft_text.write(drafted, "m-1", "model.yaml")


def test_two_columns_of_times_need_a_choice() -> None:
    rows = frame(x=list(range(10)))
    rows = rows.rename({"ts": "began"}).with_columns(ended=pl.col("began"))
    with pytest.raises(Invalid, match="found 2 columns of times: began, ended"):
        draft.look(rows, "csv", "x", None)
    drafted = draft.look(rows, "csv", "x", "ended")
    assert [seen.name for seen in drafted.columns if seen.excluded] == ["began"]


def test_a_file_without_times_is_told_so() -> None:
    with pytest.raises(Invalid, match="found no column of times"):
        draft.look(pl.DataFrame({"x": [1, 2], "y": [3, 4]}), "csv", "y", None)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12)
CELLS = st.one_of(
    st.lists(st.integers(-(10**9), 10**9), min_size=6, max_size=6),
    st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=6),
    st.lists(st.sampled_from(["a", "b: c", "#", "no", "1", "'", '"', "", "ü"]), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)


@settings(deadline=None, max_examples=40)  # the machine is shared
@given(st.dictionaries(NAMES, CELLS, max_size=5), st.lists(st.integers(0, 9), min_size=6, max_size=6, unique=True))
def test_whatever_is_drafted_is_a_sound_spec(columns: dict[str, list[Any]], target: list[int]) -> None:
    columns = {name: cells for name, cells in columns.items() if name not in ("ts", "the target", "x")}
    rows = frame(**columns, x=[1, 5, 2, 4, 3, 9], **{"the target": target})
    drafted = draft.look(rows, "csv", "the target", "ts")
    text = draft_text.write(drafted, "m-1", "model.yaml")
    described = load(text).spec.data
    assert described.target == "the target"
    assert set(described.features) | set(described.exclude) | {"ts", "the target"} == set(rows.columns)


def test_a_gzipped_file_is_read_without_a_trace_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(b"ts,y\n2024-01-01,1\n2024-01-02,2\n"))
    format, rows = draft.read(str(file))
    assert (format, rows.height) == ("csv", 2)
    assert list(tmp_path.iterdir()) == [file]
