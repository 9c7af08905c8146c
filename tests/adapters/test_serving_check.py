"""The check in the serving environment: what may serve passes, and what may not is told with row and field."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest

from trimtab.adapters import columns as tables
from trimtab.adapters import estimators, serving_check
from trimtab.adapters.json_rows import telling, to_json_rows
from trimtab.core.errors import Invalid
from trimtab.core.serving_check import ServingCheck
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel
from trimtab.serving import artifact, assembly

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: bikes}}
spec:
  data:
    source: s3://landing/in/
    format: csv
    timestamp: ts
    target: {target}
    exclude: [{other}]
    schema:
      heat: {{type: float, min: -30, max: 50}}
      rain: {{type: int}}
      kind: {{type: category, values: [a, b, "3"], onNew: missing}}
      open: {{type: boolean}}
      note: {{type: string}}
      seen: {{type: timestamp}}
      cost: {{type: float}}
      late: {{type: boolean}}
  training: {{estimator: "{estimator}", parameters: {parameters}, input: {input}}}
  evaluation: {{primary: {primary}, maxLatencyP99Milliseconds: {limit}}}
"""
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
OWN = "mine:Mine"
# A model that is right where it was trained, and the ways in which it may be wrong where it serves.
OWN_ESTIMATOR = """
import os, sys
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

class Mine(RegressorMixin, BaseEstimator):
    def __init__(self, way="right"):
        self.way = way

    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        self.home_ = os.getpid()
        return self

    def predict(self, X):
        print("a word on standard output, which is not an answer")
        away = os.getpid() != self.home_
        found = np.full(len(X), self.mean_)
        if away and self.way == "one row":
            found[X[:, 0] == X[:, 0].max()] += 1
        if away and self.way == "raises":
            raise RuntimeError("no licence on this machine")
        if away and self.way == "exits":
            os._exit(3)
        if away and self.way == "hangs up":
            os.kill(os.getpid(), 11)
        if self.way == "of its neighbours":
            found = found + X[:, 0] - np.nanmean(X[:, 0])
        if away and self.way == "slow":
            import time
            time.sleep(0.005)
        return found
"""

# Of text and of instants only what a frame's own columns give.
FRAMES = """
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

def hours(frame):
    seen = frame["seen"].dt
    return frame.assign(seen=seen.hour + seen.microsecond / 1e6).fillna(-1)

def build():
    by_name = ColumnTransformer([
        ("numbers", SimpleImputer(), ["heat", "rain"]),
        ("words", OneHotEncoder(handle_unknown="ignore"), ["kind", "note"]),
        ("instants", FunctionTransformer(hours), ["seen"]),
    ])
    return make_pipeline(by_name, HistGradientBoostingRegressor(max_iter=20))
"""


def make(
    estimator: str = "sklearn.ensemble:HistGradientBoostingRegressor",
    parameters: str = "{}",
    target: str = "cost",
    input: str = "matrix",
    limit: str = "null",
) -> ContinuousModel:
    numbers = target == "cost"
    return load(
        SPEC.format(
            target=target,
            other=("late" if numbers else "cost") + ("" if input == "frame" else ", note, seen"),
            estimator=estimator,
            parameters=parameters,
            input=input,
            limit=limit,
            primary="mean_absolute_error" if numbers else "roc_auc",
        )
    )


def rows(number: int = 600) -> pl.DataFrame:
    """With missing values and extremes; `cost` follows heat and kind."""
    random = np.random.default_rng(1)
    heat, kind = random.normal(10, 8, number), random.choice(["a", "b", "3"], number)
    cost = heat + 5 * (kind == "a")
    frame = pl.DataFrame(
        {
            "ts": [BEGIN + timedelta(hours=hour) for hour in range(number)],
            "heat": heat,
            "rain": random.integers(-(2**60), 2**60, number),
            "kind": kind,
            "open": random.random(number) > 0.5,
            "note": random.choice(["good", 'ö "x"', "{}"], number),
            "seen": [BEGIN + timedelta(microseconds=int(place) * 1234567) for place in range(number)],
            "cost": cost,
            "late": cost > 10,
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "seen": pl.Datetime("us", "UTC")},
    )
    hole = (pl.int_range(pl.len()) % 7) == 3
    return frame.with_columns(
        pl.when(~hole).then(pl.col(name)).alias(name) for name in ("heat", "rain", "kind", "open", "note", "seen")
    )


@dataclass
class Checked:
    found: ServingCheck
    pipeline: Any


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checked]:
    """Fits a spec's estimator on some rows, stores it, and has it checked."""

    def run(model: ContinuousModel, trusted: tuple[str, ...] = ()) -> Checked:
        (tmp_path / "mine.py").write_text(OWN_ESTIMATOR)
        (tmp_path / "frames.py").write_text(FRAMES)
        data, seen = model.spec.data, rows()
        with serving_check.started(model, str(tmp_path), trusted) as served:
            estimator = estimators.build(model.spec.training, str(tmp_path))
            columns = tables.schema_columns(data)
            pipeline = assembly.assemble(columns, estimator, model.spec.training.input)
            y = tables.labels(tables.truth(seen, data), tables.classes(data))
            assembly.fit(pipeline, tables.to_columns(seen, columns), y, 1)
            digest = artifact.save(pipeline, tmp_path / "model.skops")
            return Checked(served.check(pipeline, tmp_path / "model.skops", digest, seen), pipeline)

    return run


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        ("sklearn.ensemble:HistGradientBoostingRegressor", "cost"),
        ("sklearn.linear_model:LogisticRegression", "late"),
        ("sklearn.svm:LinearSVC", "late"),
    ],
)
def test_a_sound_model_passes_with_its_latency(check, estimator, target):
    found = check(make(estimator, target=target, limit="5000")).found
    assert (found.made, found.problem, found.passed) == (True, "", True)
    assert 280 <= found.rows <= 300
    assert 100 <= found.requests <= 300  # as many as two seconds allow
    assert found.limit_milliseconds == 5000
    assert 0 < found.p50_milliseconds <= found.p99_milliseconds < 5000
    assert found.packages["numpy"].startswith("1.")
    assert "rows as the trainer predicts them" in found.sentence()


def test_frames_with_text_and_instants_are_read_alike_on_both_sides(check):
    found = check(make(input="frame", estimator="frames:build"), ("frames.hours",)).found
    assert (found.made, found.problem, found.largest_difference) == (True, "", 0.0)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("right", ""),
        ("one row", r"1 of \d+ rows differ, most the row of 2024-.*whose prediction is 1\d\.\d+ where it was trained"),
        ("raises", "it cannot be served: RuntimeError: no licence on this machine"),
        ("exits", "the serving process ended with exit code 3"),
        ("hangs up", "the serving process ended by SIGSEGV"),
        ("of its neighbours", "rows differ.*when asked for one row alone|when asked for one row alone.*rows differ"),
        ("slow", r"too slow in the serving environment: p99 \d.*evaluation.maxLatencyP99Milliseconds is 3;"),
    ],
)
def test_an_estimator_of_the_users_own_is_held_to_what_it_said_where_it_was_trained(check, way, said):
    found = check(make(OWN, f"{{way: {way}}}", limit="3" if way == "slow" else "null"), (OWN.replace(":", "."),)).found
    assert found.passed == (not said)
    assert re.search(said, found.problem)
    assert found.made


def test_what_the_row_was_read_as_is_told_apart_from_what_was_made_of_it(check):
    trusted = (OWN.replace(":", "."),)
    assert "every field of it is read alike" in check(make(OWN, "{way: one row}"), trusted).found.problem


def test_a_field_that_is_read_otherwise_is_named(check, monkeypatch):
    def rounded(rows: pl.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
        return [
            row | {"heat": None if row["heat"] is None else round(row["heat"])} for row in to_json_rows(rows, columns)
        ]

    monkeypatch.setattr(serving_check, "to_json_rows", rounded)
    problem = check(make()).found.problem
    assert re.search(r"read otherwise: heat is -?\d+\.\d+ here and -?\d+\.0 there", problem)


def test_a_row_that_training_takes_and_a_request_may_not_hold_is_told_by_its_field(check, monkeypatch):
    def without(rows: pl.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
        return [row | {"kind": "d"} for row in to_json_rows(rows, columns)]

    monkeypatch.setattr(serving_check, "to_json_rows", without)
    strict = make()
    kind = strict.spec.data.columns["kind"].model_copy(update={"on_new": "quarantine"})
    data = strict.spec.data.model_copy(update={"columns": strict.spec.data.columns | {"kind": kind}})
    model = strict.model_copy(update={"spec": strict.spec.model_copy(update={"data": data})})
    assert re.search("it cannot be served: kind: row 0 holds 'd'", check(model).found.problem)


def test_a_type_that_the_operator_does_not_trust_is_refused_there_too(check):
    assert "holds types that are not trusted: mine.Mine" in check(make(OWN)).found.problem


def test_without_a_serving_environment_the_check_is_said_not_to_be_made(check, monkeypatch):
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", "none")
    found = check(make()).found
    assert (found.made, found.passed) == (False, True)
    assert "not made: found no serving environment here; build it" in found.sentence()


def test_a_limit_that_nothing_can_measure_is_an_error_with_the_next_move(check, monkeypatch):
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", "none")
    with pytest.raises(Invalid, match="asks for at most 50 ms in it") as refused:
        check(make(limit="50"))
    assert "TRIMTAB_SERVING_PYTHON" in refused.value.hint
    assert "leave the limit out" in refused.value.hint


def test_an_environment_that_does_not_start_is_no_fault_of_the_candidate(check, monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no trimtab' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", str(broken))
    with pytest.raises(Invalid, match=r"does not start.*exit code 1: ModuleNotFoundError: no trimtab"):
        check(make())


def test_the_child_is_told_no_key_and_ends_with_the_check(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("TRIMTAB_TOKEN", "hush")
    before = set(psutil.Process().children())
    with serving_check.started(make()) as served:
        (child,) = set(psutil.Process().children()) - before
        served.process.packages()
        assert "hush" not in child.environ().values()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_chosen_rows_hold_gaps_extremes_and_every_category():
    data, seen = make().spec.data, rows(5000)
    seen[4321, "heat"], seen[1234, "heat"], seen[777, "kind"] = 49.0, -29.0, None
    chosen = telling(seen, data, 100)
    assert 50 <= chosen.height <= 100
    assert (chosen["heat"].min(), chosen["heat"].max()) == (-29.0, 49.0)
    assert set(chosen["kind"]) == {"a", "b", "3", None}
    assert chosen["ts"].is_sorted()
    assert telling(seen.head(80), data, 100).height == 80


def test_rows_as_json_say_null_for_what_json_has_no_word_for():
    frame = pl.DataFrame({"x": [float("nan"), float("inf"), 0.1], "s": [BEGIN, None, BEGIN]})
    assert to_json_rows(frame, ["x", "s"]) == [
        {"x": None, "s": "2024-01-01T00:00:00+00:00"},
        {"x": None, "s": None},
        {"x": 0.1, "s": "2024-01-01T00:00:00+00:00"},
    ]
