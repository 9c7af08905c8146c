"""
Has a column changed its unit? Its quantiles then match the past after one known conversion, and not without it.

Seasons and growth move a column too, but step by step. So a batch is suspected only when it lies further from every
batch of the past than the past ever went from one batch to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.core.profile import Profile

Floats = NDArray[np.float64]
QUANTILES = np.linspace(0.05, 0.95, 19)
MIN_ROWS = 30
MIN_BATCHES = 4  # of the past: with fewer nothing is known of its steps
# Measured on two years of bikeshare, fortnight by fortnight: unconverted, its own columns lie at most 1.2 of the
# largest step away from the nearest batch (demand, against a year before it: 2.1), Fahrenheit at least 1.6, kelvin 33.
FAR = 1.5  # steps, unconverted
FAR_GROWTH = 3.0  # steps, where the conversion is a small factor, which growth may be as well
SMALL_FACTOR = 10.0
FAR_NEIGHBOURS = 5.0  # usual distances between nearest neighbours, unconverted
NEAR = 0.75  # steps, converted
NEAR_NEIGHBOURS = 2.5
BETTER = 3.0  # times nearer once converted
SEASON_SECONDS = 21 * 24 * 3600  # batches of other years within three weeks are of the same season
RECENT = 3  # newest batches, which a grown column is nearer to than to the same season of a year before
YEAR_SECONDS = 365.25 * 24 * 3600


@dataclass(frozen=True)
class Conversion:
    """`found = factor * expected + offset`: what the values look like when written in the other unit."""

    expected: str
    found: str
    factor: float
    offset: float = 0.0
    least: float = -np.inf  # what the expected unit can be, of quantiles
    greatest: float = np.inf

    def back(self, values: Floats) -> Floats:
        """Values in the expected unit."""
        return (values - self.offset) / self.factor


# Temperatures of air, water and machines; what lies outside was never one in that unit.
RANGES = {"degrees Celsius": (-90.0, 120.0), "degrees Fahrenheit": (-130.0, 250.0), "kelvin": (180.0, 400.0)}


def _both(expected: str, found: str, factor: float, offset: float = 0.0) -> list[Conversion]:
    anything = (-np.inf, np.inf)
    return [
        Conversion(expected, found, factor, offset, *RANGES.get(expected, anything)),
        Conversion(found, expected, 1 / factor, -offset / factor, *RANGES.get(found, anything)),
    ]


# The likeliest first: where several fit, the first is named.
CONVERSIONS: tuple[Conversion, ...] = (
    *_both("degrees Celsius", "degrees Fahrenheit", 1.8, 32.0),
    *_both("degrees Celsius", "kelvin", 1.0, 273.15),
    *_both("kelvin", "degrees Fahrenheit", 1.8, -459.67),
    *_both("fractions", "per cent", 100.0),
    *_both("units", "thousandths", 1000.0),
    *_both("units", "tenths", 10.0),
    *_both("units", "millionths", 1e6),
    *_both("minutes", "seconds", 60.0),
    *_both("hours", "seconds", 3600.0),
    *_both("metres", "feet", 1 / 0.3048),
    *_both("miles", "kilometres", 1.609344),
    *_both("kilograms", "pounds", 2.204623),
    *_both("metres a second", "kilometres an hour", 3.6),
    *_both("metres a second", "miles an hour", 2.236936),
    *_both("centimetres", "inches", 1 / 2.54),
    *_both("millimetres", "inches", 1 / 25.4),
    *_both("US gallons", "litres", 3.785412),
    *_both("inches of mercury", "hectopascals", 33.86389),
)


@dataclass(frozen=True)
class UnitChange:
    """
    A column that was written in another unit.

    Attributes:
        unconverted: Distance of the batch's quantiles to the nearest batch of the past, in the column's unit.
        converted: The same after the conversion back.
        usual: Median distance of the past's batches to their nearest neighbours.
    """

    column: str
    conversion: Conversion
    unconverted: float
    converted: float
    usual: float

    def sentence(self) -> str:
        return (
            f"column {self.column!r} looks like {self.conversion.found} where {self.conversion.expected} came before: "
            f"its quantiles are {self.unconverted:.3g} away from the nearest batch of the past, and "
            f"{self.converted:.3g} once converted (usual: {self.usual:.3g})"
        )


def find(frame: pl.DataFrame, timestamp: str, columns: Sequence[str], past: Sequence[Profile]) -> list[UnitChange]:
    """
    Columns of a batch that were written in another unit.

    Args:
        frame: The batch, typed, before rows were quarantined.
        columns: Numeric columns to look at.
        past: Batches of about the same length, of any season, in order of event time.
    """
    found = []
    middle = frame[timestamp].dt.epoch("s").median()
    if not isinstance(middle, int | float):
        return []
    season = np.array([_same_season(part, float(middle)) for part in past])
    for name in columns:
        numbers = frame[name].cast(pl.Float64).drop_nulls().to_numpy()
        known = np.array([_has_numbers(part, name) for part in past])
        if len(numbers) < MIN_ROWS or known.sum() < MIN_BATCHES:
            continue
        history = np.array([quantiles(part, name) for part, has in zip(past, known, strict=True) if has])
        change = _compare(name, np.quantile(numbers, QUANTILES), history, season[known])
        if change:
            found.append(change)
    return found


def _has_numbers(part: Profile, column: str) -> bool:
    return column in part.low and int(part.counts(column)[:-1].sum()) >= MIN_ROWS


def _same_season(part: Profile, middle: float) -> bool:
    """Whether a batch lies whole years, and at least one, before or after the time."""
    years = (float(part.starts.mean()) - middle) / YEAR_SECONDS
    return abs(years) > 0.5 and abs(years - round(years)) * YEAR_SECONDS <= SEASON_SECONDS


def quantiles(part: Profile, column: str) -> Floats:
    """The batch's quantiles, as exactly as its histogram knows them."""
    edges = part.bins[column].edges
    assert edges is not None
    counts = part.counts(column)[:-1]
    low, high = float(np.nanmin(part.low[column])), float(np.nanmax(part.high[column]))
    # Cell i lies between bound i and i + 1; the outermost end where the batch's own numbers do.
    bounds = np.concatenate([[min(low, edges[0])], edges, [max(high, edges[-1])]])
    share = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    values: Floats = np.interp(QUANTILES, share, np.clip(bounds, low, high))
    return values


def _compare(name: str, batch: Floats, history: Floats, season: NDArray[np.bool_]) -> UnitChange | None:
    between = np.abs(history[:, None, :] - history[None, :, :]).mean(axis=2)
    step = float(np.diagonal(between, offset=1).max())
    np.fill_diagonal(between, np.inf)
    # A hundredth of the column's whole spread: histograms know quantiles no better.
    usual = max(float(np.median(between.min(axis=1))), 0.01 * float(history.max() - history.min()))
    unconverted = _nearest(batch, history)
    if unconverted < max(FAR * step, FAR_NEIGHBOURS * usual) or usual == 0:
        return None  # also of a constant: any other number is far, and nothing says in which unit
    near = max(NEAR * step, NEAR_NEIGHBOURS * usual)
    alike = history[season | (np.arange(len(history)) >= len(history) - RECENT)] if season.any() else history
    for conversion in CONVERSIONS:
        if history.min() < conversion.least or history.max() > conversion.greatest:
            continue
        # What was ever below zero is no length, speed or weight: only scales with a zero of their own are left.
        if not conversion.offset and history.min() < 0 and _small(conversion):
            continue
        if _small(conversion) and not conversion.offset and unconverted < FAR_GROWTH * step:
            continue
        converted = _nearest(conversion.back(batch), alike)
        if converted <= near and converted * BETTER <= unconverted:
            return UnitChange(name, conversion, unconverted, converted, usual)
    return None


def _small(conversion: Conversion) -> bool:
    return 1 / SMALL_FACTOR < conversion.factor < SMALL_FACTOR


def _nearest(batch: Floats, history: Floats) -> float:
    return float(np.abs(history - batch).mean(axis=1).min())


def examples(change: UnitChange, frame: pl.DataFrame) -> Mapping[str, list[float]]:
    """First values as found, and as they would be in the expected unit."""
    head = frame[change.column].drop_nulls().head(3).cast(pl.Float64).to_numpy()
    return {"found": head.tolist(), "converted": change.conversion.back(head).round(2).tolist()}
