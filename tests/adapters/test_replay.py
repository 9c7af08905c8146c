"""Replay: two registered versions on the same logged rows, each loss as it would be computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from versions import register_line

from trimtab.adapters import replay
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.replay import live_losses, loss_pairs
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.predictions import Label, PredictionLine
from trimtab.core.rollout.evidence import LossPairs
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/rows/
    format: csv
    timestamp: ts
    target: output
    labels: {maturity: 1d}
    schema:
      heat: {type: float}
      output: {type: float}
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {primary: mean_absolute_error}
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEARNED = NOW - timedelta(days=20)  # what both versions were trained until
DAY = 86400.0


@pytest.fixture
def model() -> ContinuousModel:
    return load(SPEC)


@pytest.fixture
def state(tmp_path: Path, model: ContinuousModel) -> State:
    """v1 says heat, v2 says twice the heat, v3 learned until yesterday."""
    state = State.open(MemoryBuckets(), "s3://state/default", "plant", cache=tmp_path)
    register_line(state, model, 1.0, LEARNED)
    register_line(state, model, 2.0, LEARNED)
    register_line(state, model, 3.0, NOW - timedelta(days=2))
    return state


@pytest.fixture
def log(state: State) -> Callable[..., None]:
    """Puts predictions into the log, a segment a call."""
    count = 0

    def put(*lines: PredictionLine) -> None:
        nonlocal count
        body = b"".join(line.to_json() + b"\n" for line in lines)
        state.bucket.create(state.layout.predictions("v1-a", count), body)
        count += 1

    return put


def answer(id: str, heat: float, age_days: float = 5, **more: object) -> PredictionLine:
    values = {"at": NOW.timestamp() - age_days * DAY, "version": 1, "seconds": 0.01, "rows": 1}
    values |= {"features": {"heat": [heat]}, "predictions": [heat]}
    return PredictionLine(id=id, **(values | more))  # type: ignore[arg-type]


def labels(*found: tuple[str, float], came_days_ago: float = 1) -> list[Label]:
    at = NOW.timestamp() - came_days_ago * DAY
    return [Label(id=id, value=value, at=at, received=at) for id, value in found]


def pairs(state: State, model: ContinuousModel, challenger: int = 2, now: datetime = NOW) -> LossPairs:
    return loss_pairs(state, model, 1, challenger, now, loss_scale=4.0, replayed=False)


def test_both_versions_are_scored_on_the_same_rows_and_losses_are_clipped(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a", 1.0), answer("b", 2.0), answer("c", 6.0), answer("unlabelled", 9.0))
    state.labels.add(labels(("a", 1.0), ("b", 3.0), ("c", 0.0)))

    found = pairs(state, model)

    np.testing.assert_allclose(found.champion, [0.0, 0.25, 1.0], atol=1e-12)
    np.testing.assert_allclose(found.challenger, [0.25, 0.25, 1.0], atol=1e-12)
    assert (found.mature, found.waiting, found.left_out) == (3, 0, 0)


def test_later_calls_have_the_same_pairs_in_the_same_order_and_new_ones_behind(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(*(answer(f"r{n}", float(n % 10), age_days=n % 7 + 2) for n in range(60)))
    before = np.empty(0)
    for day in range(6):
        sent = [(f"r{n}", float(n % 3)) for n in range(60) if n * 7 % 6 == day]
        state.labels.add(labels(*sent, came_days_ago=1 - day / 10))
        found = pairs(state, model).champion
        np.testing.assert_array_equal(found[: len(before)], before)
        before = found

    assert len(before) == 60


def test_a_correction_changes_its_pair_in_its_place(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a", 1.0), answer("b", 2.0))
    state.labels.add(labels(("a", 1.0), came_days_ago=2))
    state.labels.add(labels(("b", 2.0), came_days_ago=1.5))
    before = pairs(state, model).champion
    state.labels.add(labels(("a", 3.0), came_days_ago=0.5))

    np.testing.assert_allclose(before, [0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(pairs(state, model).champion, [0.5, 0.0], atol=1e-12)


def test_young_rows_wait_and_learned_rows_are_left_out(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("young", 1.0, age_days=0.5), answer("fresh", 1.0), answer("learned", 1.0, age_days=25))
    log(answer("told", 1.0, passed={"ts": [(LEARNED - timedelta(days=1)).isoformat()]}))
    state.labels.add(labels(("young", 1.0), ("fresh", 1.0), ("learned", 1.0), ("told", 1.0)))

    found = pairs(state, model)
    assert (len(found.champion), found.mature, found.waiting, found.left_out) == (1, 3, 1, 2)
    found = pairs(state, model, challenger=3)
    assert (len(found.champion), found.left_out) == (0, 3)


def test_a_row_counts_once_whoever_answered_it(state: State, model: ContinuousModel, log: Callable[..., None]) -> None:
    log(answer("a", 1.0), answer("a", 1.0, version=2, shadow=True), answer("b", 1.0, version=2, shadow=True))
    state.labels.add(labels(("a", 1.0), ("b", 1.0)))

    assert len(pairs(state, model).champion) == 2


def test_a_row_without_a_column_that_a_version_needs_is_left_out(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a", 1.0), answer("former", 1.0, features={"cold": [1.0]}))
    state.labels.add(labels(("a", 1.0), ("former", 1.0)))

    found = pairs(state, model)
    assert (len(found.champion), found.mature, found.left_out) == (1, 2, 1)


def test_rows_are_scored_once(
    state: State, model: ContinuousModel, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    original = replay.Scores._score

    def counted(self: replay.Scores, rows: pl.DataFrame, joined: object) -> object:
        scored.append(rows.height)
        return original(self, rows, joined)  # type: ignore[arg-type]

    monkeypatch.setattr(replay.Scores, "_score", counted)
    log(*(answer(f"r{n}", 1.0) for n in range(10)))
    state.labels.add(labels(*((f"r{n}", 1.0) for n in range(8))))
    pairs(state, model)
    pairs(state, model)
    state.labels.add(labels(*((f"r{n}", 1.0) for n in range(10))))
    pairs(state, model)

    assert scored == [8, 8, 2, 2]


def test_in_a_replay_the_order_is_that_of_the_stream(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    """There labels come on the wall clock, years after the rows they belong to."""
    past = datetime(2012, 1, 10, tzinfo=UTC)
    register_line(state, model, 1.0, datetime(2012, 1, 1, tzinfo=UTC))
    register_line(state, model, 2.0, datetime(2012, 1, 1, tzinfo=UTC))
    log(*(answer(f"r{day}", float(day), passed={"ts": [f"2012-01-0{day}T00:00:00Z"]}) for day in (4, 3, 2)))
    sent = [(f"r{day}", day * 2.0, datetime(2012, 1, 9 - day, tzinfo=UTC)) for day in (2, 3, 4)]
    came = NOW.timestamp()
    state.labels.add([Label(id=id, value=value, at=at.timestamp(), received=came) for id, value, at in sent])

    found = loss_pairs(state, model, 4, 5, past, loss_scale=100.0, replayed=True)

    # Both there: r4 on the 5th (label) and 5th (mature), r3 on the 6th, r2 on the 7th.
    np.testing.assert_allclose(found.champion, [0.04, 0.03, 0.02])


def test_without_any_label_there_are_no_pairs(state: State, model: ContinuousModel, log: Callable[..., None]) -> None:
    assert len(pairs(state, model).champion) == 0
    log(answer("a", 1.0))
    assert len(pairs(state, model).champion) == 0


def test_a_version_that_does_not_exist_is_said(state: State, model: ContinuousModel) -> None:
    with pytest.raises(NotFound, match="found no version v9"):
        pairs(state, model, challenger=9)


def test_a_model_that_raises_on_logged_rows_is_named(
    state: State, model: ContinuousModel, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    log(answer("a", 1.0))
    state.labels.add(labels(("a", 1.0)))
    monkeypatch.setattr(LinearRegression, "predict", lambda self, rows: 1 / 0)

    with pytest.raises(Invalid, match="v1 fails on logged rows: ZeroDivisionError"):
        pairs(state, model)


def test_live_losses_are_by_request_of_what_was_answered(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    two = {"rows": 2, "features": {"heat": [1.0, 2.0]}, "predictions": [1.0, 2.0]}
    log(
        answer("b", 3.0, version=2, predictions=[5.0], age_days=4),
        answer("a", 1.0, **two),
        answer("b", 3.0, version=1, shadow=True),
        answer("other", 1.0, version=3),
        answer("before", 1.0, age_days=9),
        answer("young", 1.0, age_days=0.1),
    )
    sent = labels(("b", 3.0), ("a", 1.0), ("other", 1.0), ("before", 1.0), ("young", 1.0))
    state.labels.add([*sent, sent[1].model_copy(update={"row": 1, "value": 4.0})])

    found = live_losses(state, model, 1, 2, NOW, since=NOW - timedelta(days=8), loss_scale=4.0, users={"b": "anna"})

    np.testing.assert_allclose(found.loss, [0.25, 0.5])
    assert found.challenger.tolist() == [False, True]
    assert list(found.user) == ["", "anna"]
    assert (found.mature, found.waiting) == (3, 1)
