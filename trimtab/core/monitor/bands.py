"""What is usual: a band learned from past windows, beside thresholds that are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from trimtab.core.records import Record

LEAST_WINDOWS = 20  # with fewer, nobody knows what is usual
WIDTH = 5.0  # robust standard deviations: of 20 to 100 windows of a calm stream, fewer than one in 10,000 lies outside
SPREAD_FLOOR = 0.05  # of the median: where all windows are alike, any rounding would be an anomaly
TO_SIGMA = 1.4826  # of a normal distribution, the standard deviation over the median absolute deviation


class Band(Record):
    """The usual values of a measure, both ends included."""

    low: float
    high: float
    windows: int  # that it was learned from


class Anomaly(Record):
    """One measure of one version beyond what it may be, or what it usually is."""

    version: int
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    by: Literal["threshold", "band"]

    @property
    def sentence(self) -> str:
        usual = "usual" if self.by == "band" else "allowed"
        ends = [f"at least {self.low:.4g}" if self.low is not None else ""]
        ends.append(f"at most {self.high:.4g}" if self.high is not None else "")
        return f"v{self.version}: {self.measure} is {self.value:.4g}; {usual}: {' and '.join(filter(None, ends))}"


def learn(past: Sequence[float], least_spread: float = 1e-9) -> Band | None:
    """
    The band of past windows; None for too few.

    Median and median absolute deviation: windows that were anomalies themselves do not widen it.

    Args:
        past: One value a window.
        least_spread: A standard deviation below which a difference matters to nobody, in the measure's unit.

    >>> learn([0.10, 0.11, 0.09, 0.10] * 10).high < 0.2
    True
    """
    values = np.array([value for value in past if np.isfinite(value)])
    if len(values) < LEAST_WINDOWS:
        return None
    middle = float(np.median(values))
    spread = max(float(np.median(np.abs(values - middle))) * TO_SIGMA, SPREAD_FLOOR * abs(middle), least_spread)
    return Band(low=middle - WIDTH * spread, high=middle + WIDTH * spread, windows=len(values))


def judge(
    version: int,
    measure: str,
    value: float,
    past: Sequence[float] = (),
    least_spread: float = 1e-9,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Anomaly | None:
    """
    Whether a value is an anomaly: by the fixed thresholds first, else by the band of the past, where there is one.

    Args:
        version: Which answered.
        measure: Its name, with the unit.
        value: Of the newest window.
        past: Of the windows before it.
        least_spread: As `learn`.
        at_least, at_most: The thresholds.
    """
    if not np.isfinite(value):
        return None
    if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
        return Anomaly(version=version, measure=measure, value=value, low=at_least, high=at_most, by="threshold")
    band = learn(past, least_spread)
    if band is None or band.low <= value <= band.high:
        return None
    return Anomaly(version=version, measure=measure, value=value, low=band.low, high=band.high, by="band")
