"""A version on mature labels: what is measured, what a hard season is granted, what too few rows never prove."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.core.metrics import METRICS
from trimtab.core.monitor.naive import naive
from trimtab.core.monitor.performance import Judged, Performance, Yardstick, measure
from trimtab.core.scoring import Prediction
from trimtab.core.spec.policy import PerformanceTrigger

HOUR, DAY = 3_600_000_000, 86_400_000_000
MAE = METRICS["mean_absolute_error"]
WORSE_THAN = PerformanceTrigger(metric="mean_absolute_error", worse_than=1.0, over_rows=1000)
DROP = PerformanceTrigger(metric="mean_absolute_error", drop_from_baseline=0.2, over_rows=1000)


def season(rows: int = 1000, spread: float = 1.0, skill: float = 0.5, seed: int = 0) -> Judged:
    """
    Hours whose truth moves by `spread`, and a model that leaves `skill` of it: what is hard is hard for both.
    """
    random = np.random.default_rng(seed)
    times = np.arange(rows, dtype=np.int64) * HOUR
    moves = spread * random.normal(size=rows)
    y = 100 + moves
    said = 100 + moves * (1 - skill)
    weekly = 100 + spread * random.normal(size=rows)
    return Judged("log", times + DAY, times, y, Prediction(said), Prediction(weekly), missing=rows // 9)


def look(judged: Judged, trigger: PerformanceTrigger | None, yardstick: Yardstick = Yardstick()) -> Performance:  # noqa: B008
    return measure(3, judged, MAE, 1000, yardstick, trigger, 0.95, 86_400)


def as_evaluated(judged: Judged) -> Yardstick:
    assert judged.naive is not None
    return Yardstick(MAE.compute(judged.y, judged.prediction), MAE.compute(judged.y, judged.naive))


def test_the_value_has_an_interval_a_baseline_and_the_share_that_is_missing() -> None:
    judged = season()
    found = look(judged, None)

    assert found.value.point == pytest.approx(np.abs(judged.y - judged.prediction.values).mean())
    assert found.value.low is not None
    assert found.value.high is not None
    assert found.value.low < 0.4 < found.value.high
    assert found.naive == pytest.approx(1.13, rel=0.1)
    assert found.missing_share == pytest.approx(0.1, abs=0.001)
    assert found.sign() is None


def test_only_the_newest_rows_are_measured() -> None:
    old, new = season(1000, spread=9.0), season(1000, spread=1.0, seed=1)
    both = Judged(
        "log",
        np.concatenate([old.known_at, new.known_at + old.known_at.max()]),
        np.concatenate([old.times, new.times + old.times.max()]),
        np.concatenate([old.y, new.y]),
        Prediction(np.concatenate([old.prediction.values, new.prediction.values])),
    )
    found = look(both, None)

    assert (found.rows, found.mature) == (1000, 2000)
    assert found.value.point == look(new, None).value.point


def test_a_value_beyond_the_limit_is_a_sign_only_when_it_is_proven() -> None:
    few = look(season(240, spread=2.6, seed=3), WORSE_THAN)
    many = look(season(1000, spread=4.0), WORSE_THAN)

    assert few.value.point is not None
    assert few.value.point > 1.0
    assert not few.proven
    assert "not proven" in few.reason
    assert many.proven
    sign = many.sign()
    assert sign is not None
    assert sign.ids == (f"performance/v3/log/{many.through}",)
    assert sign.figures["limit"] == 1.0


def test_a_season_that_is_hard_for_everybody_is_no_decay() -> None:
    """Everything moves twice as much: the model's error doubles, and so does that of last week's value."""
    usual, hard = season(), season(spread=2.0, seed=1)
    found = look(hard, DROP, as_evaluated(usual))

    assert found.value.point is not None
    assert found.evaluated is not None
    assert found.value.point > found.evaluated + 0.2
    assert found.season == pytest.approx(2, rel=0.1)
    assert not found.proven
    assert "the season granted" in found.reason


def test_a_model_that_lost_its_skill_in_a_usual_season_is() -> None:
    found = look(season(skill=1.0, seed=1), DROP, as_evaluated(season()))

    assert found.season == pytest.approx(1, rel=0.1)
    assert found.proven


def test_an_easy_season_does_not_raise_the_bar() -> None:
    found = look(season(spread=0.5, skill=0.9, seed=1), DROP, as_evaluated(season()))

    assert found.season == 1.0
    assert not found.proven


def test_a_promise_in_the_metrics_own_unit_is_granted_nothing() -> None:
    hard = season(spread=4.0)

    assert look(hard, WORSE_THAN, as_evaluated(season())).proven


def test_rows_that_started_a_run_prove_nothing_more() -> None:
    judged = season(1000, spread=4.0)
    found = look(judged, WORSE_THAN, Yardstick(spent=int(judged.known_at[-100])))

    assert found.value.point is not None
    assert found.value.point > 1.0
    assert not found.proven
    assert "99 new rows prove nothing, 200 are needed" in found.reason


def test_without_a_baseline_of_its_own_nothing_can_have_dropped_from_it() -> None:
    found = look(season(spread=9.0), DROP)

    assert found.limit is None
    assert not found.proven
    assert "holds no mean_absolute_error to drop from" in found.reason


def test_no_labels_and_no_scores_are_said() -> None:
    none = season().rows(np.zeros(1000, dtype=np.bool_))
    assert look(none, WORSE_THAN).reason == "v3: no mean_absolute_error: there are no mature labels yet"

    y = np.tile([0.0, 1.0], 150)
    classes = Judged("log", np.arange(300), np.arange(300), y, Prediction(y, classes=2))
    found = measure(3, classes, METRICS["roc_auc"], 1000, Yardstick(), None, 0.95, 86_400)
    assert found.reason == "v3: no roc_auc: its answers hold no scores"


def test_the_naive_baseline_is_the_same_hour_of_last_week_where_hours_come_again() -> None:
    times = np.arange(21 * 24, dtype=np.int64) * HOUR
    y = np.sin(times / HOUR)
    said = naive(times[-24:], times, y, 0)

    assert said is not None
    assert said.values == pytest.approx(y[-24 * 8 : -24 * 7])


def test_else_it_is_the_mean_of_the_day_before() -> None:
    random = np.random.default_rng(0)
    times = np.sort(random.integers(0, 5 * DAY, 500))
    y = (times // DAY).astype(float)
    said = naive(times, times, y, 0)

    assert said is not None
    later = times >= DAY
    assert np.isnan(said.values[~later]).all()
    assert (said.values[later] == y[later] - 1).all()


def test_of_classes_it_is_the_share_of_each_so_far() -> None:
    times = np.array([0, 1, 2, 3, DAY, DAY + 1], dtype=np.int64)
    said = naive(times, times, np.array([0.0, 0, 0, 1, 1, 1]), 2)

    assert said is not None
    assert np.isnan(said.values[:4]).all()
    assert said.values[4:].tolist() == [0.0, 0.0]
    assert said.scores is not None
    assert said.scores[5].tolist() == [0.75, 0.25]


def test_where_nothing_was_known_before_there_is_none() -> None:
    times = np.array([5, 6], dtype=np.int64)
    assert naive(times, times, np.array([1.0, 2.0]), 0) is None
    assert naive(times, np.empty(0, dtype=np.int64), np.empty(0), 0) is None
