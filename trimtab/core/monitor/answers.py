"""What a version is asked and what it says, beside what it learned: its reference profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trimtab.core.bins import Floats
from trimtab.core.drift import js_distance
from trimtab.core.monitor.bands import Anomaly, judge
from trimtab.core.profile import PREDICTION, Profile
from trimtab.core.records import Record

if TYPE_CHECKING:
    import polars as pl

WINDOW_ROWS = 500  # a histogram of 32 cells then lies within .1 of its own distribution
KEPT = 60  # past windows, from which the bands are learned
MOST_DISTANCE = 0.5  # Jensen-Shannon: half of all answers are where hardly any was
MOST_ODD = 0.2  # share of a feature's values that the reference never held
LEAST_SPREAD = 0.01  # a rise by less than five per cent is no anomaly, however calm it was before
MOST_MISSING_MORE = 0.3  # share of a feature that is missing beyond the reference's own


class AnswerWindow(Record):
    """Measures of so many consecutive rows that one version was asked; shares and distances in [0, 1]."""

    version: int
    through: int  # microseconds since 1970: the newest request
    rows: int
    distance: float | None  # of the answers to the reference's; None where it holds none
    odd: float  # the greatest share of one feature's values beyond the reference's range, or unseen
    odd_feature: str = ""
    missing: float  # the greatest share of one feature that is missing, beyond the reference's own
    missing_feature: str = ""


def window(version: int, rows: pl.DataFrame, answers: Floats, through: int, reference: Profile) -> AnswerWindow:
    """
    Measure a window.

    Args:
        version: Which answered.
        rows: The features as they were asked, typed; columns that the reference lacks are passed over.
        answers: Numbers, or codes of classes, shape (rows,).
        through: When the newest was asked.
        reference: What the version learned from.
    """
    odd, missing = {"": 0.0}, {"": 0.0}
    for name, bins in reference.bins.items():
        if name == PREDICTION or name not in rows.columns:
            continue
        counts, usual = bins.counts(rows[name]), reference.counts(name)
        beyond = int(counts[-2]) + (int(counts[0]) if bins.edges is not None else 0)
        odd[name] = beyond / rows.height
        missing[name] = int(counts[-1]) / rows.height - int(usual[-1]) / max(int(usual.sum()), 1)
    oddest, most_missing = max(odd, key=lambda n: odd[n]), max(missing, key=lambda n: missing[n])
    return AnswerWindow(
        version=version,
        through=through,
        rows=rows.height,
        distance=_distance(answers, reference),
        odd=round(odd[oddest], 4),
        odd_feature=oddest,
        missing=round(max(missing[most_missing], 0.0), 4),
        missing_feature=most_missing,
    )


def _distance(answers: Floats, reference: Profile) -> float | None:
    if PREDICTION not in reference.bins or not len(answers):
        return None
    import polars as pl  # when rows are at hand: who only reads what was measured needs none of it

    counts = reference.bins[PREDICTION].counts(pl.Series(PREDICTION, answers))
    return round(float(js_distance(counts[None, :], reference.counts(PREDICTION)[None, :])[0]), 4)


def anomalies(past: Sequence[AnswerWindow], newest: AnswerWindow) -> list[Anomaly]:
    """What is wrong with the newest window, by thresholds and by the band of the windows before it."""
    version = newest.version
    distances = [each.distance for each in past if each.distance is not None]
    found = [
        judge(
            version,
            "distance of the answers to the reference's",
            np.nan if newest.distance is None else newest.distance,
            distances,
            LEAST_SPREAD,
            at_most=MOST_DISTANCE,
        ),
        judge(
            version,
            f"share of values of {newest.odd_feature or 'any feature'} that the reference never held",
            newest.odd,
            [each.odd for each in past],
            LEAST_SPREAD,
            at_most=MOST_ODD,
        ),
        judge(
            version,
            f"share missing of {newest.missing_feature or 'any feature'} beyond the reference's",
            newest.missing,
            [each.missing for each in past],
            LEAST_SPREAD,
            at_most=MOST_MISSING_MORE,
        ),
    ]
    # Closer to the reference than usual, or fewer odd values, is nothing to tell anybody.
    return [each for each in found if each is not None and (each.high is None or each.value > each.high)]
