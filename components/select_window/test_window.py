"""Which rows a candidate learns from, and which judge it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from trimtab.components.select_window.window import select
from trimtab.core.errors import Invalid

START = datetime(2012, 1, 1, tzinfo=UTC)


def times(rows: pl.DataFrame, start: datetime, end: datetime) -> int:
    return rows.filter((pl.col("ts") >= start) & (pl.col("ts") < end)).height


def test_everything_before_the_holdout_is_learned(make_model, make_rows):
    rows = make_rows(60)
    window = select(rows, make_model(), "d1")
    assert (window.rows, window.holdout_rows) == (46 * 24, 14 * 24)
    assert times(rows, window.start, window.cut) == window.rows
    assert times(rows, window.cut, window.end) == window.holdout_rows
    assert window.start == START


def test_a_fixed_window_ends_where_the_holdout_begins(make_model, make_rows):
    rows = make_rows(60)
    window = select(rows, make_model(window={"strategy": "fixed", "size": "3w"}), "d1")
    assert window.cut - window.start == timedelta(weeks=3)
    assert window.rows == times(rows, window.start, window.cut) == 21 * 24
    assert window.why == "the newest 21 days before a holdout of 14 days"


def test_a_fixed_window_longer_than_the_data_takes_all_there_is(make_model, make_rows):
    window = select(make_rows(30), make_model(window={"strategy": "fixed", "size": "52w"}), "d1")
    assert (window.start, window.rows) == (START, 16 * 24)


def test_a_holdout_may_be_a_number_of_rows(make_model, make_rows):
    window = select(make_rows(30), make_model(evaluation={"holdout": "100 rows"}), "d1")
    assert (window.rows, window.holdout_rows) == (30 * 24 - 100, 100)


def test_rows_of_one_instant_are_never_split_between_learning_and_judging(make_model, make_rows):
    rows = make_rows(30).with_columns(ts=pl.col("ts").dt.truncate("1d"))
    window = select(rows, make_model(evaluation={"holdout": "100 rows"}), "d1")
    assert window.holdout_rows == 120


def test_order_of_arrival_does_not_matter(make_model, make_rows):
    rows = make_rows(30)
    assert select(rows.reverse(), make_model(), "d1") == select(rows, make_model(), "d1")


def test_unlabelled_rows_do_not_count(make_model, make_rows):
    rows = make_rows(30).with_columns(cost=pl.when(pl.col("ts") < START + timedelta(days=25)).then("cost"))
    window = select(rows, make_model(window={"minRows": 1}), "d1")
    assert window.end == START + timedelta(days=25) - timedelta(hours=1) + timedelta(microseconds=1)
    assert window.rows + window.holdout_rows == 25 * 24


def test_nothing_labelled_is_refused(make_model, make_rows):
    rows = make_rows(3).with_columns(cost=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(Invalid, match="72 rows, 72 of them without a target"):
        select(rows, make_model(), "d1")


def test_too_few_rows_are_refused_with_the_figures(make_model, make_rows):
    with pytest.raises(Invalid, match="has 240 labelled rows, and 336 newer ones are held out; training needs 1000"):
        select(make_rows(24), make_model(window={"minRows": 1000}), "d1")


def test_exactly_enough_rows_are_enough(make_model, make_rows):
    assert select(make_rows(24), make_model(window={"minRows": 240}), "d1").rows == 240


def test_shares_of_classes_are_told(make_model, make_rows):
    rows = make_rows(60)
    window = select(rows, make_model("late"), "d1")
    learned = rows.filter(pl.col("ts") < window.cut)
    assert window.class_shares == {"false": 1 - learned["late"].mean(), "true": pytest.approx(learned["late"].mean())}


def test_a_class_rarer_than_asked_for_is_refused(make_model, make_rows):
    with pytest.raises(Invalid, match=r"class 'true' has \d+ of the window's 1104 rows .* asks for 50.00%"):
        select(make_rows(60), make_model("late", window={"minClassRatio": 0.5}), "d1")


def test_rows_of_one_class_only_are_refused(make_model, make_rows):
    with pytest.raises(Invalid, match="of class 'false'; there is nothing to tell apart"):
        select(make_rows(60).with_columns(late=False), make_model("late"), "d1")


def test_rows_too_young_to_trust_are_neither_learned_nor_judged_on(make_model, make_rows):
    model, rows = make_model(data={"labels": {"maturity": "7d"}}), make_rows(60)
    decided_at = START + timedelta(days=60)

    window = select(rows, model, "d1", decided_at)

    assert window.end == START + timedelta(days=53) + timedelta(microseconds=1)
    assert window.cut == window.end - timedelta(days=14)
    assert window.holdout_rows == times(rows, window.cut, window.end)
    assert window.rows == times(rows, START, window.cut)


def test_a_month_later_the_same_rows_are_mature(make_model, make_rows):
    rows = make_rows(60)
    later = START + timedelta(days=90)
    model = make_model(data={"labels": {"maturity": "7d"}})
    assert select(rows, model, "d1", later) == select(rows, make_model(), "d1")


def test_only_young_rows_are_refused_with_the_age_that_is_needed(make_model, make_rows):
    model = make_model(data={"labels": {"maturity": "90d"}})
    with pytest.raises(Invalid, match=r"all 1440 labelled rows are younger than 90d"):
        select(make_rows(60), model, "d1", START + timedelta(days=60))
