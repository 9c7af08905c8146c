"""Bets on bounded differences: no gain under the null, the same in any portions, finite whatever comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.core.sequential.betting import WEIGHTS, Bets, update

differences = st.floats(-1, 1)


@settings(deadline=None)
@given(low=differences, high=differences, chance=st.floats(0, 1), margin=st.floats(-0.99, 1))
def test_no_bet_gains_in_expectation_wherever_the_null_holds(
    low: float, high: float, chance: float, margin: float
) -> None:
    mean = chance * high + (1 - chance) * low
    margin = max(margin, mean)  # the null
    wealth = [np.exp(update(Bets(margin=margin), np.array([value])).log_wealth) for value in (low, high)]
    assert ((1 - chance) * wealth[0] + chance * wealth[1] <= 1 + 1e-9).all()


@settings(deadline=None)
@given(
    values=hnp.arrays(np.float64, st.integers(0, 80), elements=differences),
    cut=st.integers(0, 80),
    margin=st.floats(-1, 1),
)
def test_portions_give_the_same_bits_as_all_at_once(values: np.ndarray, cut: int, margin: float) -> None:
    first = Bets.from_json(update(Bets(margin=margin), values[:cut]).to_json())
    assert update(first, values[cut:]) == update(Bets(margin=margin), values)


def test_portions_give_the_same_bits_across_the_chunks_of_a_long_update() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, 120_000)
    assert update(update(Bets(margin=0.02), values[:50_001]), values[50_001:]) == update(Bets(margin=0.02), values)


@settings(deadline=None)
@given(margin=st.floats(-1, 1), values=hnp.arrays(np.float64, 50, elements=st.sampled_from([-1.0, 0.0, 1.0])))
def test_wealth_stays_finite_at_the_ends_of_the_range(margin: float, values: np.ndarray) -> None:
    bets = update(Bets(margin=margin), values)
    assert np.isfinite(bets.log_e)
    assert bets.peak >= 0
    assert Bets.from_json(bets.to_json()) == bets


def test_the_peak_is_kept_when_later_pairs_take_the_wealth_back() -> None:
    proven = update(Bets(margin=0.02), np.ones(20))
    later = update(proven, -np.ones(200))
    assert later.log_e < 0 < proven.log_e == later.peak


@pytest.mark.parametrize("value", [1.01, -2.0, float("nan"), float("inf")])
def test_a_difference_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[-1, 1\]"):
        update(Bets(margin=0.0), np.array([0.0, value]))


def test_the_stakes_share_the_wealth_they_begin_with() -> None:
    assert pytest.approx(1.0) == WEIGHTS.sum()
