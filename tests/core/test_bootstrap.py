"""The paired bootstrap over blocks of time covers what it says, and admits what it cannot know."""

import numpy as np
import pytest

from trimtab.core.bootstrap import MAX_BLOCKS, MIN_BLOCKS, Interval, blocks_of, difference, interval
from trimtab.core.scoring import Prediction

DAY = 86_400
MAE = "mean_absolute_error"


def hours(days: int) -> np.ndarray:
    return np.arange(days * 24) * 3600


def test_rows_of_one_day_are_one_block():
    blocks = blocks_of(hours(14), DAY, seed=0)
    assert blocks.number == 14
    assert blocks.block[:24].tolist() == [0] * 24


def test_every_draw_takes_as_many_blocks_as_there_are():
    assert (blocks_of(hours(14), DAY, seed=0).counts.sum(axis=1) == 14).all()


def test_the_same_seed_draws_the_same():
    a, b, c = (blocks_of(hours(14), DAY, seed=seed).counts for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


def test_gaps_in_time_make_no_empty_blocks():
    assert blocks_of(np.array([0, 10 * DAY, 11 * DAY]), DAY, seed=0).number == 3


def test_very_many_blocks_are_joined_with_their_neighbours():
    assert MAX_BLOCKS / 2 <= blocks_of(np.arange(50_000) * 60, 60, seed=0).number <= MAX_BLOCKS


def test_too_few_blocks_give_a_point_and_no_interval():
    y = np.random.default_rng(0).normal(size=(MIN_BLOCKS - 1) * 24)
    found = interval(MAE, y, Prediction(np.zeros(len(y))), blocks_of(hours(MIN_BLOCKS - 1), DAY, 0), 0.95)
    assert found.point == pytest.approx(np.abs(y).mean())
    assert (found.low, found.high) == (None, None)


def test_an_undefined_metric_has_no_point():
    scores = np.tile([0.4, 0.6], (240, 1))
    prediction = Prediction(np.ones(240), scores, True, 2)
    assert interval("roc_auc", np.zeros(240), prediction, blocks_of(hours(10), DAY, 0), 0.95) == Interval(point=None)


def test_equal_models_differ_by_exactly_nothing():
    y = np.random.default_rng(0).normal(size=14 * 24)
    same = Prediction(np.zeros(len(y)))
    assert difference(MAE, y, same, same, blocks_of(hours(14), DAY, 0), 0.95) == Interval(point=0, low=0, high=0)


def test_what_both_models_share_cancels_in_their_difference():
    random = np.random.default_rng(1)
    y = random.normal(size=14 * 24) * np.repeat(random.gamma(1, 10, 14), 24)
    a, b = Prediction(np.zeros(len(y))), Prediction(np.full(len(y), 0.1))
    blocks = blocks_of(hours(14), DAY, 0)
    alone, paired = interval(MAE, y, a, blocks, 0.95), difference(MAE, y, a, b, blocks, 0.95)
    assert paired.high - paired.low < (alone.high - alone.low) / 10


def coverage(block_seconds: int, trials: int = 60) -> float:
    """Share of intervals that hold the true difference, for errors that are alike within a day."""
    held = 0
    for trial in range(trials):
        random = np.random.default_rng(trial)
        by_day = np.repeat(random.normal(size=14), 24)
        y = np.zeros(14 * 24)
        a = Prediction(1 + 0.3 * by_day + 0.1 * random.normal(size=len(y)))
        blocks = blocks_of(hours(14), block_seconds, seed=trial)
        found = difference("mean_squared_error", y, a, Prediction(y), blocks, 0.9)
        held += found.low <= 1 + 0.09 + 0.01 <= found.high
    return held / trials


def test_blocks_as_long_as_the_dependence_cover_the_truth():
    assert 0.8 <= coverage(DAY) <= 0.98


def test_blocks_of_single_rows_would_not():
    assert coverage(3600) < 0.5
