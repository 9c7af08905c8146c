"""
Several bets on one null, run side by side: their weighted mean is an e-process again, and loses log(1/weight).

Bets lose slowly while nothing is wrong, and what they have lost must be won back before harm that begins late is
proven: after a day of good traffic nearly nothing would prove it. So a share of the wealth waits, and a part of it
begins to bet every `RESTART_UNITS` observations. Each beginning is fixed beforehand, so the sum is an e-process too.

Source: Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2022, here
with shares of one wealth, as a single false alarm is one too many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESTART_UNITS = 500  # observations
ANEW = 0.1  # of the wealth, for harm that begins late; harm from the start costs it a tenth of the e-value


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
        start: Logs before the first observation, shape (..., bets).
        steps: What each observation adds, shape (..., observations, bets).

    >>> running(np.array([1.0]), np.array([[2.0], [3.0]])).ravel().tolist()
    [3.0, 6.0]
    """
    sums: Floats = np.cumsum(np.concatenate([start[..., None, :], steps], axis=-2), axis=-2)[..., 1:, :]
    return sums


def left(anew: float, units: int) -> float:
    """Of the share `anew`, what has not begun to bet after so many observations; part k is anew / (k (k + 1))."""
    return anew / (units // RESTART_UNITS + 1)


def begun(logs: Floats, anew: float, before: int, after: int) -> Floats:
    """The bets with what begins between so many observations and so many."""
    more = (left(anew, before) - left(anew, after)) / (1 - anew)
    return np.logaddexp(logs, np.log(more)) if more else logs


def log_e(logs: Floats, weights: Floats, anew: float, units: int) -> Floats:
    """
    Natural log of the e-value, with what has not begun to bet.

    >>> round(float(np.exp(log_e(np.zeros(2), np.array([0.5, 0.5]), 0.2, 9_500))), 2)
    0.81
    """
    mixed = log_mean(logs, weights)
    return np.logaddexp(np.log1p(-anew) + mixed, np.log(left(anew, units))) if anew else mixed


def grown(logs: Floats, steps: Floats, weights: Floats, anew: float, units: int) -> tuple[Floats, Floats]:
    """
    Bets and e-value after more observations; in whatever portions they come, the bits are the same.

    Args:
        logs: Of each bet so far, as a share of 1 - `anew`, shape (..., bets).
        steps: What each observation adds, shape (..., observations, bets).
        weights: Of the bets, shape (bets,).
        anew: The share of the wealth that begins later, in [0, 1).
        units: Observations so far.

    Returns:
        The bets after all, and the log e-value after each observation, shape (..., observations).
    """
    paths, done, total = [], 0, steps.shape[-2]
    while done < total:
        until = min(total, done + RESTART_UNITS - (units + done) % RESTART_UNITS)
        path = running(logs, steps[..., done:until, :])
        paths.append(log_e(path, weights, anew, units + done))
        logs = begun(path[..., -1, :], anew, units + done, units + until)
        done = until
    return logs, np.concatenate(paths, axis=-1) if paths else np.empty(steps.shape[:-1])
