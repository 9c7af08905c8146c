"""The baseline without training, and the comparison of policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trimtab.core.baselines import same_hour_last_week
from trimtab.core.comparison import BatchScore, Comparison, PolicyResult, TrainingRun, pooled

NOON = np.datetime64("2024-03-15T12:00:00", "us")
WEEK = np.timedelta64(7, "D")
DAY = datetime(2024, 3, 15, tzinfo=UTC)


def test_the_same_hour_last_week_is_the_forecast() -> None:
    times = np.array([NOON, NOON + np.timedelta64(1, "h")])
    assert same_hour_last_week(times, times - WEEK, np.array([5.0, 7.0])).tolist() == [5.0, 7.0]


def test_a_gap_last_week_is_filled_from_the_week_before() -> None:
    assert same_hour_last_week(np.array([NOON]), np.array([NOON - 2 * WEEK]), np.array([9.0])).tolist() == [9.0]


def test_without_any_such_hour_the_mean_of_what_was_known_a_week_ago_counts() -> None:
    known = np.array([NOON - WEEK - np.timedelta64(h, "h") for h in (1, 2)] + [NOON - np.timedelta64(1, "h")])
    assert same_hour_last_week(np.array([NOON]), known, np.array([2.0, 4.0, 900.0])).tolist() == [3.0]


def test_the_present_is_never_its_own_forecast() -> None:
    assert np.isnan(same_hour_last_week(np.array([NOON]), np.array([NOON]), np.array([5.0]))).all()
    assert np.isnan(same_hour_last_week(np.array([NOON]), np.array([], "datetime64[us]"), np.array([]))).all()


def test_a_repeated_hour_counts_with_its_mean() -> None:
    known = np.array([NOON - WEEK, NOON - WEEK])
    assert same_hour_last_week(np.array([NOON]), known, np.array([2.0, 4.0])).tolist() == [3.0]


def batch(numerator: float, denominator: float) -> BatchScore:
    return BatchScore(
        start=DAY,
        end=DAY + timedelta(days=1),
        rows=10,
        value=numerator / denominator,
        numerator=numerator,
        denominator=denominator,
    )


def comparison(ours: float, theirs: float, greater_is_better: bool) -> Comparison:
    run = TrainingRun(at=DAY, reason="upload", why="600 new rows", outcome="champion", fits=2, seconds=0.5)
    return Comparison(
        model="m",
        metric="roc_auc" if greater_is_better else "weighted_absolute_percentage_error",
        greater_is_better=greater_is_better,
        policies=(
            PolicyResult(name="trimtab", title="trimtab", what="", batches=(batch(ours, 1),), runs=(run, run)),
            PolicyResult(name="never", title="never", what="", batches=(batch(theirs, 1),), runs=(run,)),
        ),
    )


def test_gain_is_the_share_of_the_error_saved() -> None:
    assert comparison(0.2, 0.4, greater_is_better=False).gain("never") == pytest.approx(0.5)
    assert comparison(0.5, 0.4, greater_is_better=False).gain("never") == pytest.approx(-0.25)


def test_gain_of_a_score_is_the_share_of_the_way_to_perfect() -> None:
    assert comparison(0.8, 0.6, greater_is_better=True).gain("never") == pytest.approx(0.5)


def test_gain_over_a_policy_that_was_not_run_is_unknown() -> None:
    assert comparison(0.2, 0.4, greater_is_better=False).gain("lastWeek") is None


def test_runs_add_up() -> None:
    ours = comparison(0.2, 0.4, greater_is_better=False).policies[0]
    assert (ours.fits, ours.seconds, ours.score) == (4, 1.0, 0.2)


def test_pooling_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="no judged rows"):
        pooled([])


def test_a_comparison_survives_json() -> None:
    made = comparison(0.2, 0.4, greater_is_better=False)
    assert Comparison.from_json(made.to_json()) == made
