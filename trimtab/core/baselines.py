"""What needs no training: the forecast that every forecaster must beat."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt

WEEK = timedelta(weeks=1)
WEEKS_BACK = 4  # hours without a rental have no row: look this many weeks back before giving up


def same_hour_last_week(
    times: npt.NDArray[np.datetime64],
    known_times: npt.NDArray[np.datetime64],
    known: npt.NDArray[np.float64],
    weeks_back: int = WEEKS_BACK,
) -> npt.NDArray[np.float64]:
    """
    The seasonal-naive forecast: what was seen exactly one week earlier.

    Where nothing was seen then, two weeks earlier, and so on; where nothing was ever, the mean of what was known
    before. A week must be over before it forecasts the next, and that holds inside a long batch too: its second week
    is forecast by its first. Models judged on whole batches do not get such fresh labels, so this baseline is a strong
    one.

    Args:
        times: Event times to forecast, shape (rows,).
        known_times: Event times of known values, shape (known,). Where one repeats, the mean counts.
        known: Values at `known_times`, shape (known,).
        weeks_back: How many weeks back to look.

    Returns:
        Forecasts, shape (rows,); NaN where nothing at all was known before.

    Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section 5.2.

    >>> hour = np.array(["2024-01-08T09"], dtype="datetime64[us]")
    >>> same_hour_last_week(hour, hour - np.timedelta64(7, "D"), np.array([12.0])).tolist()
    [12.0]
    """
    times, known_times = times.astype("datetime64[us]"), known_times.astype("datetime64[us]")
    moments, place = np.unique(known_times, return_inverse=True)
    values = np.bincount(place, weights=known, minlength=len(moments)) / np.maximum(np.bincount(place), 1)
    forecast = np.full(len(times), np.nan)
    week = np.timedelta64(WEEK)
    for weeks in range(1, weeks_back + 1):
        forecast = np.where(np.isnan(forecast), _at(times - weeks * week, moments, values), forecast)
    return np.where(np.isnan(forecast), _mean_before(times, moments, values), forecast)


def _at(
    times: npt.NDArray[np.datetime64], moments: npt.NDArray[np.datetime64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The value at each time, NaN where there is none; `moments` ascend."""
    if not len(moments):
        return np.full(len(times), np.nan)
    place = np.minimum(np.searchsorted(moments, times), len(moments) - 1)
    return np.where(moments[place] == times, values[place], np.nan)


def _mean_before(
    times: npt.NDArray[np.datetime64], moments: npt.NDArray[np.datetime64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The mean of everything known a week or more before each time; NaN where there is nothing."""
    seen = np.searchsorted(moments, times - np.timedelta64(WEEK), side="right")
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.where(seen > 0, sums[seen] / np.maximum(seen, 1), np.nan)
