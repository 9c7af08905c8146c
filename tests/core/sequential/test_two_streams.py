"""The two-stream test: each bet is an e-variable for the whole null, and updating is the same in any portions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import comb

from trimtab.core.sequential.alternatives import SIZE, WEIGHTS, bets, nearest
from trimtab.core.sequential.mixing import ANEW
from trimtab.core.sequential.two_streams import TwoStreams, log_steps, update, update_block

rates = st.floats(0, 1)
shares = st.floats(0.001, 0.999)
margins = st.floats(-1, 1)


@settings(deadline=None)
@given(champion=rates, challenger=rates, share=shares, margin=margins)
def test_no_bet_gains_in_expectation_wherever_the_null_holds(
    champion: float, challenger: float, share: float, margin: float
) -> None:
    challenger = min(challenger, champion + margin)  # the null
    if challenger < 0:
        return
    arms, values = np.array([True, True, False, False]), np.array([1.0, 0.0, 1.0, 0.0])
    factors = np.exp(log_steps(arms, values, np.full(4, share), margin))
    chances = np.array(
        [share * challenger, share * (1 - challenger), (1 - share) * champion, (1 - share) * (1 - champion)]
    )
    assert (factors > 0).all()
    assert (chances @ factors <= 1 + 1e-9).all()


@settings(deadline=None, max_examples=60)
@given(champion=rates, challenger=rates, sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)), margin=margins)
def test_no_block_gains_in_expectation_whoever_answered_how_many(
    champion: float, challenger: float, sizes: tuple[int, int], margin: float
) -> None:
    challenger = min(challenger, champion + margin)  # the null
    if challenger < 0:
        return
    expected = 0.0
    for a in range(sizes[0] + 1):
        for b in range(sizes[1] + 1):
            chance = _binomial(a, sizes[0], champion) * _binomial(b, sizes[1], challenger)
            block = update_block(TwoStreams(margin=margin, anew=ANEW), (sizes[0], a), (sizes[1], b))
            expected += chance * np.exp(block.log_e)
    assert expected <= 1 + 1e-9


def test_a_block_is_its_units_at_its_own_share_looked_at_once() -> None:
    arms, values = np.array([False] * 6 + [True] * 3), np.array([1.0] + [0.0] * 5 + [1.0, 1.0, 0.0])
    block = update_block(TwoStreams(margin=0.01), (6, 1), (3, 2))
    units = update(TwoStreams(margin=0.01), arms, values, np.full(9, 3 / 9))
    assert block.log_wealth == pytest.approx(units.log_wealth)
    assert block.peak == pytest.approx(units.log_e)
    assert (block.champion_mean, block.challenger_mean) == (units.champion_mean, units.challenger_mean)


def test_a_block_of_one_variant_alone_is_counted_and_proves_nothing() -> None:
    block = update_block(TwoStreams(margin=0.01), (500, 0), (0, 0))
    assert (block.champion_units, block.log_e) == (500, pytest.approx(0, abs=1e-12))


def test_harm_that_begins_late_is_found_nearly_as_soon_as_harm_from_the_start() -> None:
    rng = np.random.default_rng(3)
    good, arms = 50_000, rng.random(60_000) < 0.5
    failed = rng.random(len(arms)) < np.where(arms & (np.arange(len(arms)) >= good), 0.3, 0.02)
    needed = {}
    for anew in (0.0, ANEW):
        streams = TwoStreams(margin=0.01, anew=anew)
        for start in range(0, len(arms), 50):
            part = slice(start, start + 50)
            streams = update(streams, arms[part], failed[part].astype(float), np.full(50, 0.5))
            if streams.peak >= np.log(20):
                break
        needed[anew] = start - good
    assert 0 < needed[ANEW] < 300
    assert needed[0.0] > 1500, "what good traffic has cost must be won back first"


def test_blocks_begin_anew_as_single_units_do() -> None:
    streams = TwoStreams(margin=0.01, anew=ANEW)
    for _ in range(100):
        streams = update_block(streams, (400, 8), (300, 6))
    assert streams.log_e > -9
    for _ in range(2):
        streams = update_block(streams, (20, 0), (20, 20))
    assert streams.log_e == streams.peak > np.log(20)


@pytest.mark.parametrize("units", [(2, 3), (2, -1)])
def test_more_units_of_1_than_units_are_refused(units: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="units"):
        update_block(TwoStreams(margin=0.01), (5, 0), units)


@settings(deadline=None)
@given(value=rates, share=shares, margin=margins, arm=st.booleans())
def test_a_value_between_0_and_1_counts_as_the_mean_of_its_outcomes(
    value: float, share: float, margin: float, arm: bool
) -> None:
    steps = log_steps(np.array([arm] * 3), np.array([0.0, value, 1.0]), np.full(3, share), margin)
    none, part, whole = np.exp(steps)
    assert part == pytest.approx((1 - value) * none + value * whole, abs=1e-9)


units = st.integers(1, 60)


@settings(deadline=None)
@given(
    data=st.data(),
    count=units,
    margin=st.floats(-0.5, 0.5),
)
def test_portions_give_the_same_bits_as_all_at_once(data: st.DataObject, count: int, margin: float) -> None:
    arms = data.draw(hnp.arrays(np.bool_, count))
    values = data.draw(hnp.arrays(np.float64, count, elements=rates))
    share = data.draw(hnp.arrays(np.float64, count, elements=rates))
    cut = data.draw(st.integers(0, count))
    whole = update(TwoStreams(margin=margin), arms, values, share)
    first = update(TwoStreams(margin=margin), arms[:cut], values[:cut], share[:cut])
    again = TwoStreams.from_json(first.to_json())
    assert update(again, arms[cut:], values[cut:], share[cut:]) == whole


def test_portions_give_the_same_bits_across_the_chunks_of_a_long_update() -> None:
    rng = np.random.default_rng(5)
    arms, values, share = rng.random(45_000) < 0.1, (rng.random(45_000) < 0.02).astype(float), np.full(45_000, 0.1)
    begin = TwoStreams(margin=0.01, anew=ANEW)
    whole = update(begin, arms, values, share)
    first = update(begin, arms[:17_001], values[:17_001], share[:17_001])
    assert update(first, arms[17_001:], values[17_001:], share[17_001:]) == whole


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_requests_that_only_one_variant_can_answer_are_counted_and_prove_nothing(share: float) -> None:
    begin = TwoStreams(margin=0.01, anew=ANEW)
    streams = update(begin, np.full(5000, share == 1), np.ones(5000), np.full(5000, share))
    assert streams.units == 5000
    assert streams.log_e == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("value", "share"), [(1.5, 0.5), (float("nan"), 0.5), (0.5, -0.1), (0.5, float("nan"))])
def test_values_and_shares_outside_their_range_are_refused(value: float, share: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        update(TwoStreams(margin=0.01), np.array([True]), np.array([value]), np.array([share]))


def test_wealth_neither_overflows_nor_dies_in_a_million_requests() -> None:
    arms = np.tile([True, False], 100_000)
    share = np.full(len(arms), 0.5)
    streams = TwoStreams(margin=0.01, anew=ANEW)
    for _ in range(5):
        streams = update(streams, arms, arms.astype(float), share)  # every challenger's request fails
    assert np.isfinite(streams.log_e)
    assert streams.log_e > 100_000
    lost = streams
    for _ in range(5):
        lost = update(lost, arms, (~arms).astype(float), share)  # now every champion's
    assert np.isfinite(lost.log_e)
    assert lost.peak == streams.peak
    assert TwoStreams.from_json(lost.to_json()) == lost


def test_the_state_stays_small_however_long_it_runs() -> None:
    rng = np.random.default_rng(1)
    streams = update(
        TwoStreams(margin=0.01), rng.random(50_000) < 0.1, rng.random(50_000).round(), np.full(50_000, 0.1)
    )
    assert len(streams.to_json()) < 1000


@given(champion=st.floats(0.001, 0.5), excess=st.floats(0.001, 0.99), share=shares, margin=st.floats(-0.4, 0.4))
@settings(max_examples=60, deadline=None)
def test_the_nearest_point_of_the_null_has_the_least_divergence(
    champion: float, excess: float, share: float, margin: float
) -> None:
    edge = max(champion + margin, 0.0)
    challenger = edge + (1 - edge) * excess
    low, high = max(margin, 0.0), min(1.0, 1.0 + margin)
    found = float(nearest(np.array([champion]), np.array([challenger]), share, margin)[0])

    def divergence(p: np.ndarray) -> np.ndarray:
        return (1 - share) * _kl(champion, p - margin) + share * _kl(challenger, p)

    others = np.linspace(low, high, 401)[1:-1]
    assert (divergence(np.array([found])) <= divergence(others) + 1e-9).all()


def _binomial(ones: int, units: int, rate: float) -> float:
    return float(comb(units, ones)) * rate**ones * (1 - rate) ** (units - ones)


def _kl(q: float, p: np.ndarray) -> np.ndarray:
    q, p = float(np.clip(q, 1e-12, 1 - 1e-12)), np.clip(p, 1e-12, 1 - 1e-12)
    return q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))


def test_the_alternatives_share_the_wealth_they_begin_with() -> None:
    assert len(WEIGHTS) == SIZE
    assert pytest.approx(1.0) == WEIGHTS.sum()
    centre, stake = bets(0.1, 0.01)
    assert ((centre > 0.01) & (centre < 1) & (stake > 0)).all()
