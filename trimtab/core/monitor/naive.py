"""What a forecaster without a model would have said of the same rows: the measure of how hard they were."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.core.baselines import same_hour_last_week
from trimtab.core.scoring import Floats, Prediction

Micros = NDArray[np.int64]
DAY = 86_400_000_000  # microseconds
WEEK = 7 * DAY
REGULAR = 0.5  # share of rows that were seen exactly a week earlier: from here on the data has hours of its own
WEEKS_BACK = 4


def naive(times: Micros, known_times: Micros, known: Floats, classes: int) -> Prediction | None:
    """
    The naive forecast.

    A regression whose rows come at regular hours: the same hour of last week. Any other: the mean of the day before.
    A classification: the shares of the classes before the row's own day, so the majority class.

    Args:
        times: Event times of the rows, microseconds since 1970, shape (rows,).
        known_times: Of rows with known labels, theirs may be among them, shape (known,).
        known: Their labels: numbers, or codes of classes, shape (known,).
        classes: Number of classes, 0 for a regression.

    Returns:
        NaN values where nothing was known; None where nothing is for any row.

    >>> week = np.arange(14) * DAY
    >>> naive(week[7:], week, np.arange(14.0), 0).values.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    if not len(times) or not len(known_times):
        return None
    if classes:
        return _shares(times, known_times, known, classes)
    if np.isin(times - WEEK, known_times).mean() >= REGULAR:
        seasonal = same_hour_last_week(_instants(times), _instants(known_times), known, WEEKS_BACK)
        return _some(seasonal)
    return _some(_day_before(times, known_times, known))


def _some(values: Floats) -> Prediction | None:
    return None if np.isnan(values).all() else Prediction(values)


def _instants(micros: Micros) -> NDArray[np.datetime64]:
    return micros.astype("datetime64[us]")


def _day_before(times: Micros, known_times: Micros, known: Floats) -> Floats:
    """The mean over the newest day with labels that ended before the row's own day began."""
    days, place = np.unique(known_times // DAY, return_inverse=True)
    means = np.bincount(place, weights=known) / np.bincount(place)
    before = np.searchsorted(days, times // DAY, side="left") - 1
    return np.where(before >= 0, means[np.maximum(before, 0)], np.nan)


def _shares(times: Micros, known_times: Micros, known: Floats, classes: int) -> Prediction | None:
    order = np.argsort(known_times, kind="stable")
    counted = np.cumsum(known[order].astype(np.intp)[:, None] == np.arange(classes), axis=0)
    before = np.searchsorted(known_times[order], times // DAY * DAY, side="left") - 1
    seen = counted[np.maximum(before, 0)].astype(np.float64)
    scores = seen / seen.sum(axis=1, keepdims=True)
    values = np.where(before >= 0, scores.argmax(axis=1).astype(np.float64), np.nan)
    return None if np.isnan(values).all() else Prediction(values, scores, probability=True, classes=classes)
