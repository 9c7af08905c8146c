"""
2,000 rollouts of a challenger that is no worse than accepted, looked at after every request: how many roll back.

The challenger stands on the very edge of what is accepted where a case does not say otherwise: nowhere is the null
easier to reject by chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import binomtest, norm

Floats = NDArray[np.float64]
Paths = Callable[..., Floats]
RUNS = 2000
ALPHA = 0.05
STEPS = (0.05, 0.25, 0.5)  # shares, a third of the requests each


def assert_no_more_than_alpha(peaks: Floats, alpha: float = ALPHA) -> None:
    crossed = int((peaks >= np.log(1 / alpha)).sum())
    assert binomtest(crossed, len(peaks), alpha, alternative="greater").pvalue > 0.01, f"{crossed} of {len(peaks)}"


def traffic(rng: np.random.Generator, requests: int) -> tuple[NDArray[np.bool_], Floats]:
    shares = np.broadcast_to(np.repeat(STEPS, requests // 3), (RUNS, requests // 3 * 3))
    return rng.random(shares.shape) < shares, shares


def lasting(rng: np.random.Generator, count: int) -> Floats:
    """Standard normal values, each correlated with the next at .9."""
    noise = rng.normal(size=(RUNS, count)) * np.sqrt(1 - 0.81)
    noise[:, 0] /= np.sqrt(1 - 0.81)
    found: Floats = lfilter([1.0], [1.0, -0.9], noise, axis=1)
    return found


def test_errors_of_an_equal_challenger_over_all_steps(two_streams_paths: Paths) -> None:
    rng = np.random.default_rng(11)
    arms, shares = traffic(rng, 1200)
    failed = (rng.random(arms.shape) < 0.02).astype(float)
    assert_no_more_than_alpha(two_streams_paths(arms, failed, shares, 0.01).max(axis=1))


def test_errors_of_a_challenger_on_the_edge(two_streams_paths: Paths) -> None:
    rng = np.random.default_rng(12)
    arms, shares = traffic(rng, 1200)
    failed = (rng.random(arms.shape) < np.where(arms, 0.05, 0.04)).astype(float)
    assert_no_more_than_alpha(two_streams_paths(arms, failed, shares, 0.01).max(axis=1))


def test_errors_in_hours_that_are_hard_for_both(two_streams_paths: Paths) -> None:
    rng = np.random.default_rng(13)
    arms, shares = traffic(rng, 1200)
    rate = 0.3 * norm.cdf(lasting(rng, arms.shape[1]))
    failed = (rng.random(arms.shape) < rate + 0.01 * arms).astype(float)
    assert_no_more_than_alpha(two_streams_paths(arms, failed, shares, 0.01).max(axis=1))


def test_latency_when_both_become_30_percent_slower_together(two_streams_paths: Paths) -> None:
    rng = np.random.default_rng(14)
    arms, shares = traffic(rng, 1200)
    slowdown = np.where(np.arange(arms.shape[1]) >= 400, 1.3, 1.0)
    milliseconds = rng.lognormal(np.log(20), 0.4, arms.shape) * slowdown
    slow = (milliseconds > 50).astype(float)  # 1.1 % before, 5 % after
    assert slow[:, 400:].mean() > 3 * slow[:, :400].mean()
    assert_no_more_than_alpha(two_streams_paths(arms, slow, shares, 0.0).max(axis=1))


def test_loss_on_pairs_in_hours_that_are_hard_for_both(paired_paths: Paths) -> None:
    rng = np.random.default_rng(15)
    hard = norm.cdf(lasting(rng, 1000)) * 0.6
    champion = hard + rng.uniform(0, 0.2, hard.shape)
    challenger = hard + rng.uniform(0, 0.2, hard.shape) + 0.02 * (hard > 0.3)
    assert np.corrcoef(champion[:, :-1].ravel(), champion[:, 1:].ravel())[0, 1] > 0.75
    assert_no_more_than_alpha(paired_paths(challenger - champion, 0.02).max(axis=1))


def test_loss_on_pairs_of_a_challenger_on_the_edge(paired_paths: Paths) -> None:
    rng = np.random.default_rng(16)
    champion = rng.random((RUNS, 1500)) < 0.1
    challenger = rng.random((RUNS, 1500)) < 0.12
    assert_no_more_than_alpha(paired_paths(challenger.astype(float) - champion, 0.02).max(axis=1))


def test_a_whole_rollout_of_a_challenger_on_every_edge_at_once(two_streams_paths: Paths, paired_paths: Paths) -> None:
    """All tests that a rollout makes, at the shares of alpha that it gives them."""
    from trimtab.core.rollout.levels import needed, parts
    from trimtab.core.spec.rollout import Rollout

    steps = [{"shadow": {}}, *({"set_weight": round(100 * share)} for share in STEPS)]
    levels = parts(Rollout.model_validate({"strategy": "canary", "steps": steps}), judges_latency=True)
    rng = np.random.default_rng(17)
    arms, shares = traffic(rng, 900)
    shape = (RUNS, 600)
    paths = {
        "errors": two_streams_paths(arms, (rng.random(arms.shape) < 0.03 + 0.01 * arms) * 1.0, shares, 0.01),
        "latency": two_streams_paths(arms, (rng.random(arms.shape) < 0.05 + 0.02 * arms) * 1.0, shares, 0.02),
        "mirrored": paired_paths((rng.random(shape) < 0.04) * 1.0 - (rng.random(shape) < 0.03), 0.01),
        "loss": paired_paths((rng.random(shape) < 0.12) * 1.0 - (rng.random(shape) < 0.10), 0.02),
    }
    assert set(paths) == set(levels)
    crossed = np.zeros(RUNS, dtype=np.bool_)
    for test, level in levels.items():
        crossed |= paths[test].max(axis=1) >= needed(level)
    assert binomtest(int(crossed.sum()), RUNS, ALPHA, alternative="greater").pvalue > 0.01


def test_a_challenger_at_twice_the_accepted_loss_is_hardly_ever_promoted(paired_paths: Paths) -> None:
    rng = np.random.default_rng(18)
    champion = rng.random((RUNS, 1500)) < 0.10
    challenger = rng.random((RUNS, 1500)) < 0.14
    safe = paired_paths(champion.astype(float) - challenger, -0.02)
    assert (safe.max(axis=1) >= np.log(1 / ALPHA)).mean() <= 0.05


def test_a_challenger_just_at_the_accepted_loss_is_promoted_in_no_more_than_alpha(paired_paths: Paths) -> None:
    rng = np.random.default_rng(19)
    champion = rng.random((RUNS, 1500)) < 0.10
    challenger = rng.random((RUNS, 1500)) < 0.12
    assert_no_more_than_alpha(paired_paths(champion.astype(float) - challenger, -0.02).max(axis=1))
