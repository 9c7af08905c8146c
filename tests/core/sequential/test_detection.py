"""How soon harm is found: the median number of requests beside the best test of the same null that knows the rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trimtab.core.sequential.alternatives import nearest

Floats = NDArray[np.float64]
Paths = Callable[..., Floats]
RUNS = 400
CHAMPION, CHALLENGER = 0.02, 0.10


def median(paths: Floats, alpha: float = 0.05) -> float:
    found = paths >= np.log(1 / alpha)
    assert found.any(axis=1).mean() > 0.9  # else the median says little
    return float(np.median(np.where(found.any(axis=1), found.argmax(axis=1) + 1, paths.shape[1] + 1)))


def oracle(arms: NDArray[np.bool_], failed: NDArray[np.bool_], share: float, margin: float) -> Floats:
    """The likelihood ratio of the true rates to the null's nearest point: growth-rate-optimal."""
    p = float(nearest(np.array([CHAMPION]), np.array([CHALLENGER]), share, margin)[0])
    b, a = (CHALLENGER, p), (CHAMPION, p - margin)
    challenger = np.where(failed, b[0] / b[1], (1 - b[0]) / (1 - b[1]))
    champion = np.where(failed, a[0] / a[1], (1 - a[0]) / (1 - a[1]))
    found: Floats = np.cumsum(np.log(np.where(arms, challenger, champion)), axis=1)
    return found


@pytest.mark.parametrize(
    ("share", "margin", "requests", "at_most"),
    [
        (0.5, 0.0, 1000, 1.5),
        (0.5, 0.01, 1300, 1.5),
        (0.1, 0.0, 2500, 1.7),
        (0.1, 0.01, 3300, 1.7),
        (0.05, 0.01, 5500, 2.2),
    ],
)
def test_errors_are_found_nearly_as_soon_as_by_who_knows_the_rates(
    two_streams_paths: Paths, share: float, margin: float, requests: int, at_most: float
) -> None:
    rng = np.random.default_rng(21)
    arms = rng.random((RUNS, requests)) < share
    failed = rng.random(arms.shape) < np.where(arms, CHALLENGER, CHAMPION)
    ours = median(two_streams_paths(arms, failed.astype(float), np.full(arms.shape, share), margin))
    assert ours <= at_most * median(oracle(arms, failed, share, margin))


def test_a_challenger_that_always_fails_is_found_within_a_few_of_its_requests(two_streams_paths: Paths) -> None:
    rng = np.random.default_rng(22)
    arms = rng.random((RUNS, 400)) < 0.05
    path = two_streams_paths(arms, arms.astype(float), np.full(arms.shape, 0.05), 0.01)
    assert median(path) * 0.05 <= 4


def test_pairs_find_a_loss_in_a_fifth_of_the_requests_that_weighted_traffic_needs(
    two_streams_paths: Paths, paired_paths: Paths
) -> None:
    """Both at maxLossIncrease's default and at 10 % of the traffic; hard rows are hard for both models."""
    rng = np.random.default_rng(23)
    champion = rng.random((RUNS, 3500)) < CHAMPION
    both = 0.5  # of the champion's errors that the challenger shares
    rest = (CHALLENGER - both * CHAMPION) / (1 - CHAMPION)
    challenger = rng.random(champion.shape) < np.where(champion, both, rest)
    paired = median(paired_paths(challenger[:, :800].astype(float) - champion[:, :800], 0.02))
    arms = rng.random(champion.shape) < 0.1
    loss = np.where(arms, challenger, champion).astype(float)
    assert paired <= median(two_streams_paths(arms, loss, np.full(arms.shape, 0.1), 0.02)) / 5


@pytest.mark.parametrize(("spread", "pairs"), [(0.05, 600), (0.2, 2500)])
def test_an_equal_challenger_is_shown_harmless(paired_paths: Paths, spread: float, pairs: int) -> None:
    """Of a regression: the absolute errors of the two differ by `spread`, in units of the loss."""
    rng = np.random.default_rng(24)
    differences = np.clip(rng.normal(0, spread, (RUNS, pairs)), -1, 1)
    assert median(paired_paths(differences, -0.02)) < pairs / 2
