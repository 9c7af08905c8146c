"""
Bounds for a mean that hold at all times at once: however often one looks, and whenever one stops.

What a betting e-process against "the mean is at most m" refutes, for each m, is what the mean exceeds. The e-value
falls as m rises, so that halving an interval finds the bound. The values may hang on one another in any way: what is
bounded is the mean that each is expected to have given those before it, where that stays the same.

Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024, with a mixture
of stakes instead of a learned one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np

from trimtab.core.sequential.mixing import Floats, log_mean

STAKES = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 0.9])  # of what a value can cost; small ones for long streams
WEIGHTS = np.full(len(STAKES), 1 / len(STAKES))
HALVINGS = 30  # of the interval: 1e-9
CHUNK = 100_000  # values at a time: bounds memory


def lower(values: Floats, alpha: float) -> float:
    """
    What the mean exceeds.

    Args:
        values: In [0, 1], shape (values,).
        alpha: Chance that the mean is ever not above the bound.

    Returns:
        In [0, 1]; 0 where nothing is known.

    Raises:
        ValueError: If a value lies outside [0, 1].

    >>> 0.8 < lower(np.full(1000, 0.9), 0.05) < 0.9
    True
    """
    values = _checked(values)
    return _greatest(lambda mean: _log_e(values, mean, np.ones(len(values))), 1.0, log(1 / alpha))


def upper(values: Floats, alpha: float) -> float:
    """
    What the mean stays below: `1 - lower(1 - values)`.

    >>> 0.1 < upper(np.full(1000, 0.1), 0.05) < 0.2
    True
    """
    return 1 - lower(1 - _checked(values), alpha)


def interval(values: Floats, alpha: float) -> tuple[float, float]:
    """
    Both bounds, each to half of alpha.

    >>> low, high = interval(np.array([0.0, 1.0] * 500), 0.05)
    >>> 0.4 < low < 0.5 < high < 0.6
    True
    """
    return lower(values, alpha / 2), upper(values, alpha / 2)


def ratio_lower(numerators: Floats, denominators: Floats, alpha: float) -> float:
    """
    What the ratio of two means exceeds, such as the absolute error's to the absolute target's
    (`weighted_absolute_percentage_error`): the greatest c for which "the mean of numerator - c denominator is at most
    0" is refuted.

    Args:
        numerators: Not negative, shape (values,).
        denominators: In [0, 1], shape (values,): scale both by what no denominator exceeds.
        alpha: Chance that the ratio is ever not above the bound.

    Returns:
        Not negative; 0 where nothing is known.

    >>> 0.25 < ratio_lower(np.full(1000, 0.2), np.full(1000, 0.6), 0.05) < 1 / 3
    True
    """
    denominators = _checked(denominators)
    numerators = np.asarray(numerators, dtype=np.float64)
    if len(numerators) != len(denominators) or not (numerators >= 0).all():
        raise ValueError("numerators are as many as denominators, and not negative")
    highest = float(numerators.max() / max(float(denominators.mean()), 1e-12)) if len(numerators) else 0.0
    return _greatest(lambda ratio: _log_e(numerators, ratio, denominators), highest, log(1 / alpha))


def _greatest(log_e: Callable[[float], float], high: float, needed: float) -> float:
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle > 0 and log_e(middle) >= needed:
            low = middle
        else:
            high = middle
    return low


def _log_e(values: Floats, mean: float, scale: Floats) -> float:
    """Against "the mean of value - mean x scale is at most 0": at worst a value costs `mean`."""
    logs = np.zeros(len(STAKES))
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        logs += np.log1p((values[part] / mean - scale[part])[:, None] * STAKES).sum(axis=0)
    return float(log_mean(logs, WEIGHTS))


def _checked(values: Floats) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a value lies in [0, 1]")
    return values
