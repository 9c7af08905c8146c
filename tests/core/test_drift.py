"""A batch drifts when it is further from the reference than the reference's own batches are; else it waits."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimtab.core.drift import DriftReport, compare, js_distance
from trimtab.core.profile import profile

COUNTS = arrays(np.int64, 6, elements=st.integers(0, 1000))


@given(COUNTS, COUNTS)
def test_the_distance_is_symmetric_and_between_0_and_1(a: np.ndarray, b: np.ndarray) -> None:
    distance = float(js_distance(a, b))
    assert 0 <= distance <= 1
    assert distance == pytest.approx(float(js_distance(b, a)))
    assert float(js_distance(a, 3 * a)) == pytest.approx(0, abs=1e-7)


def report(noise, batch: pl.DataFrame, days: int = 280, **changes) -> DriftReport:
    reference = profile(noise.rows(1, days), noise.data)
    return compare(profile(batch, noise.data, reference.bins), reference, "y", **changes)


def test_a_moved_column_is_found_among_many_with_its_name_and_evidence(noise) -> None:
    stream = noise(columns=20, lasting=0.9)
    found = report(stream, stream.rows(2, 7).with_columns(pl.col("x3") + 2.5))
    assert (found.verdict, found.kind) == ("retrain", "covariate")
    assert "x3" in found.reason
    assert any(line.startswith("x3: distance") for line in found.evidence)
    moved = next(column for column in found.columns if column.column == "x3")
    assert moved.adjusted == pytest.approx(1 / (found.reference_batches + 1), abs=1e-4)


def test_a_moved_target_is_label_drift(noise) -> None:
    stream = noise(columns=3)
    found = report(stream, stream.rows(2, 7).with_columns(pl.col("y") + 3))
    assert (found.verdict, found.kind) == ("retrain", "label")


def test_lasting_noise_alarms_no_more_often_than_it_says(noise) -> None:
    # A Kolmogorov-Smirnov test at 1 % flags 60 % of such batches.
    stream = noise(columns=5, lasting=0.9)
    reference = profile(stream.rows(1, 280), stream.data)
    batches = [stream.rows(seed, 7) for seed in range(100, 160)]
    alarms = sum(
        compare(profile(batch, stream.data, reference.bins), reference, "y", min_effect=0).verdict == "retrain"
        for batch in batches
    )
    assert alarms <= 9  # of 60 at 5 %: 3 expected, more than 9 in 1 of 1,000 trials


def test_no_fortnight_of_a_year_of_weather_is_called_drift_against_the_year_before(bikeshare) -> None:
    reference = profile(bikeshare.before(0), bikeshare.data)
    verdicts = [
        compare(profile(bikeshare.fortnight(n), bikeshare.data, reference.bins), reference, "cnt").verdict
        for n in range(26)
    ]
    assert verdicts.count("wait") >= 24


def test_few_reference_batches_prove_nothing_and_the_report_says_so(bikeshare) -> None:
    reference = profile(bikeshare.before(13, timedelta(weeks=26)), bikeshare.data)
    batch = bikeshare.fortnight(13).with_columns(pl.col("windspeed") + 200)
    found = compare(profile(batch, bikeshare.data, reference.bins), reference, "cnt")
    assert (found.verdict, found.reference_batches) == ("wait", 13)
    assert "p cannot be below 0.071" in found.reason


def test_a_proven_but_tiny_effect_is_no_reason_to_retrain(noise) -> None:
    stream = noise(columns=2)
    batch = stream.rows(2, 7).with_columns(pl.col("x0") + 0.6)
    assert report(stream, batch, min_effect=0.0).verdict == "retrain"
    assert report(stream, batch, min_effect=0.5).verdict == "wait"


def test_a_column_that_stops_carrying_values_is_a_fault_of_the_data(noise) -> None:
    stream = noise(columns=3)
    found = report(stream, stream.rows(2, 7).with_columns(x1=pl.lit(None, dtype=pl.Float64)))
    assert (found.verdict, found.kind) == ("fixData", "missing_values")
    assert found.reason.startswith("x1 is missing in 100% of 168 rows")


def test_a_batch_without_labels_is_unlabelled_not_broken(noise) -> None:
    stream = noise(columns=3)
    found = report(stream, stream.rows(2, 7).with_columns(y=pl.lit(None, dtype=pl.Float64)))
    assert found.verdict == "wait"


@pytest.mark.parametrize(("days", "words"), [(1, "24 rows are too few"), (7, "2 are needed")])
def test_too_little_to_compare_waits_with_the_reason(noise, days: int, words: str) -> None:
    stream = noise(columns=2)
    found = report(stream, stream.rows(2, days), days=10)
    assert found.verdict == "wait"
    assert words in found.reason
