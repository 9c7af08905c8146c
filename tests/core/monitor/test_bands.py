"""What is an anomaly: beyond a threshold, or beyond what was usual."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trimtab.core.monitor import answers, service
from trimtab.core.monitor.bands import LEAST_WINDOWS, judge, learn
from trimtab.core.monitor.service import Minute, Reply, minutes
from trimtab.core.profile import profile
from trimtab.core.spec.model import Data

RANDOM = np.random.default_rng(0)
CALM = (10 + 0.5 * RANDOM.normal(size=60)).tolist()


def test_too_short_a_past_knows_nothing_usual() -> None:
    assert learn(CALM[: LEAST_WINDOWS - 1]) is None
    assert judge(1, "p50", 99.0, CALM[: LEAST_WINDOWS - 1]) is None


def test_a_value_beyond_the_band_is_an_anomaly_and_one_within_is_none() -> None:
    found = judge(1, "p50", 20.0, CALM)

    assert found is not None
    assert (found.by, found.value) == ("band", 20.0)
    assert judge(1, "p50", 10.5, CALM) is None


def test_anomalies_of_the_past_do_not_widen_the_band() -> None:
    spoiled = [*CALM[:50], *[500.0] * 10]

    assert judge(1, "p50", 30.0, spoiled) is not None


def test_a_threshold_counts_without_any_past() -> None:
    found = judge(2, "availability", 0.9, at_least=0.99)

    assert found is not None
    assert found.sentence == "v2: availability is 0.9; allowed: at least 0.99"


def test_where_all_was_alike_a_rounding_is_no_anomaly() -> None:
    assert judge(1, "share", 0.004, [0.0] * 60, 0.01) is None
    assert judge(1, "share", 0.2, [0.0] * 60, 0.01) is not None


def test_a_calm_stream_has_hardly_an_anomaly_in_a_thousand_windows() -> None:
    values = np.random.default_rng(1).normal(10, 1, size=1060)
    found = [judge(1, "x", values[place], values[place - 60 : place].tolist()) for place in range(60, 1060)]

    assert sum(each is not None for each in found) <= 2


def test_what_cannot_be_measured_is_no_anomaly() -> None:
    assert judge(1, "distance", float("nan"), CALM, at_most=0.5) is None


def test_a_handful_of_requests_is_no_availability() -> None:
    (few,) = minutes([Reply(60.0 + n, 1, n == 0, 0.01) for n in range(3)])
    (many,) = minutes([Reply(60.0 + n, 1, n == 0, 0.01) for n in range(30)])

    assert service.anomalies([], few, None) == []
    assert [each.measure for each in service.anomalies([], many, None)] == ["availability"]


def test_latency_beyond_the_specs_own_limit_is_an_anomaly_at_once() -> None:
    slow = Minute(version=1, start=0, requests=100, failures=0, p50=10, p95=40, p99=80)

    assert [each.measure for each in service.anomalies([], slow, 50.0)] == ["p99 latency in ms"]
    assert service.anomalies([], slow, 100.0) == []


@pytest.fixture
def data() -> Data:
    columns = {"x": {"type": "float"}, "kind": {"type": "category", "values": ["a", "b"]}, "y": {"type": "float"}}
    return Data.model_validate(
        {"source": "s3://landing/rows/", "format": "csv", "timestamp": "ts", "target": "y", "schema": columns}
    )


def table(rows: int, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    start = pl.datetime(2012, 1, 1, time_zone="UTC")
    return pl.DataFrame(
        {"x": shift + random.normal(size=rows), "kind": random.choice(["a", "b"], rows), "y": random.normal(size=rows)}
    ).with_columns((start + pl.duration(minutes=pl.int_range(pl.len()))).alias("ts"))


def test_answers_are_held_to_the_references(data: Data) -> None:
    learned = table(5000)
    reference = profile(learned, data, predictions=learned["x"].to_numpy())
    alike, other = table(500, 1), table(500, 2, shift=3.0)

    near = answers.window(1, alike, alike["x"].to_numpy(), 0, reference)
    far = answers.window(1, other, other["x"].to_numpy(), 0, reference)

    assert near.distance is not None
    assert far.distance is not None
    assert near.distance < 0.2 < 0.8 < far.distance
    assert answers.anomalies([], near) == []
    assert {each.measure.split()[0] for each in answers.anomalies([], far)} == {"distance", "share"}


def test_missing_and_unseen_values_are_told_by_their_feature(data: Data) -> None:
    learned = table(5000)
    reference = profile(learned, data, predictions=learned["x"].to_numpy())
    broken = table(500, 3).with_columns(
        pl.when(pl.int_range(pl.len()) < 250).then(None).otherwise("x").alias("x"), kind=pl.lit("c")
    )

    found = answers.window(1, broken.with_columns(x=pl.lit(None, dtype=pl.Float64)), np.zeros(500), 0, reference)

    assert (found.missing_feature, found.missing) == ("x", 1.0)
    assert (found.odd_feature, found.odd) == ("kind", 1.0)
