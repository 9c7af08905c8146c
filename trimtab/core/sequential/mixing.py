"""Several bets on one null, run side by side: their weighted mean is an e-process again, and loses log(1/weight)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_mean(logs: Floats, weights: Floats) -> Floats:
    """
    Natural log of the weighted mean of e-values, from their logs.

    Args:
        logs: Natural logs, shape (..., bets); -inf for a bet that is lost.
        weights: Prior share of each bet, shape (bets,), positive, summing to 1.

    Returns:
        Shape (...), in the same unit; safe where the e-values themselves would overflow.

    >>> round(float(log_mean(np.log([2.0, 4.0]), np.array([0.5, 0.5]))), 4) == round(float(np.log(3)), 4)
    True
    """
    highest = np.maximum(logs.max(axis=-1), -1e300)
    # Not by a matrix product, whose last bits hang on how many rows there are.
    shifted: Floats = (np.exp(logs - highest[..., None]) * weights).sum(axis=-1)
    with np.errstate(divide="ignore"):
        mixed: Floats = highest + np.log(shifted)
    return mixed


def running(start: Floats, steps: Floats) -> Floats:
    """
    Logs after each observation: `start` plus the running sum of `steps`.

    One by one or all at once gives the same bits, because the sum runs in order from `start`.

    Args:
        start: Logs before the first observation, shape (bets,).
        steps: What each observation adds, shape (observations, bets).

    >>> running(np.array([1.0]), np.array([[2.0], [3.0]])).ravel().tolist()
    [3.0, 6.0]
    """
    sums: Floats = np.cumsum(np.concatenate([start[None, :], steps]), axis=0)[1:]
    return sums
