"""Anytime-valid bounds: they hold at every look at once, and close in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from trimtab.core.sequential.bounds import interval, lower, ratio_lower, upper

values = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 1))


@settings(deadline=None)
@given(values=values)
def test_bounds_lie_in_the_range_and_on_their_sides(values: np.ndarray) -> None:
    low, high = interval(values, 0.05)
    assert 0 <= low <= 1
    assert 0 <= high <= 1
    if len(values):
        assert low <= values.mean() + 1e-9 <= high + 2e-9


@settings(deadline=None)
@given(values=values, scale=st.floats(0.1, 1))
def test_a_smaller_alpha_never_claims_more(values: np.ndarray, scale: float) -> None:
    assert lower(values, 0.05 * scale) <= lower(values, 0.05) + 1e-9
    assert upper(values, 0.05 * scale) >= upper(values, 0.05) - 1e-9


def test_nothing_is_known_without_values() -> None:
    assert lower(np.array([]), 0.05) == 0
    assert upper(np.array([]), 0.05) == 1
    assert ratio_lower(np.array([]), np.array([]), 0.05) == 0


@pytest.mark.parametrize("mean", [0.02, 0.3])
def test_the_mean_is_ever_below_the_lower_bound_in_no_more_than_alpha(mean: float) -> None:
    rng, alpha, runs = np.random.default_rng(4), 0.1, 150
    missed = 0
    for _ in range(runs):
        seen = (rng.random(600) < mean).astype(float)
        missed += any(lower(seen[:looked], alpha) > mean for looked in (20, 40, 70, 110, 160, 230, 330, 450, 600))
    assert binomtest(missed, runs, alpha, alternative="greater").pvalue > 0.01


def test_bounds_close_in_as_values_come() -> None:
    rng = np.random.default_rng(3)
    seen = rng.beta(2, 6, 20_000)  # mean 0.25
    widths = [np.diff(interval(seen[:looked], 0.05))[0] for looked in (200, 2_000, 20_000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.01
    low, high = interval(seen, 0.05)
    assert low < 0.25 < high


def test_the_ratio_is_ever_below_its_lower_bound_in_no_more_than_alpha() -> None:
    rng, alpha, runs = np.random.default_rng(6), 0.1, 150
    missed = 0
    for _ in range(runs):
        target = rng.uniform(0.1, 0.5, 400)
        error = target * rng.uniform(0, 0.6, 400)  # 30 % of the target in the mean
        missed += any(ratio_lower(error[:looked], target[:looked], alpha) > 0.3 for looked in range(40, 401, 40))
    assert binomtest(missed, runs, alpha, alternative="greater").pvalue > 0.01


def test_the_ratio_closes_in() -> None:
    rng = np.random.default_rng(7)
    target = rng.uniform(0.1, 0.9, 20_000)
    error = target * rng.uniform(0, 0.6, 20_000)
    assert 0.27 < ratio_lower(error, target, 0.05) < 0.3


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_values_outside_their_range_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        lower(np.array([0.5, bad]), 0.05)
    with pytest.raises(ValueError, match=r"lies in|not negative"):
        ratio_lower(np.array([0.5, 0.5]), np.array([0.5, bad]), 0.05)
