"""`trimtab test`, as a user's CI runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trimtab.app.cli import main

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://small/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      x: {type: float, min: 0, max: 10}
      kind: {type: category, values: [a, b]}
      'y': {type: float}
  training: {estimator: "ESTIMATOR"}
  evaluation: {primary: mean_absolute_error, maxLatencyP99Milliseconds: LIMIT}
"""
MINE = """
import os
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

NOTES = {}

class Mine(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        FIT
        return self

    def predict(self, X):
        return PREDICT
"""
MEAN, SAID = "self.mean_ = float(y.mean())", "np.full(len(X), self.mean_)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec of a user's own estimator beside it, which the operator trusts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIMTAB_TRUSTED_TYPES", "mine.Mine")
    write()
    return tmp_path


def write(fit: str = MEAN, predict: str = SAID, estimator: str = "mine:Mine", limit: str = "null") -> None:
    Path("mine.py").write_text(MINE.replace("FIT", fit).replace("PREDICT", predict))
    Path("model.yaml").write_text(SPEC.replace("ESTIMATOR", estimator).replace("LIMIT", limit))


def run(*more: str) -> int:
    """The exit code."""
    try:
        main(["test", "-f", "model.yaml", "--rows", "200", *more])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def levels(said: str) -> list[tuple[str, str]]:
    return [(line[:8].strip(), line[8:21].strip()) for line in said.splitlines() if not line.startswith(" ")]


def test_a_sound_recipe_is_told_step_by_step(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(estimator="sklearn.linear_model:Ridge", limit="5000")
    assert run() == 0
    said = capsys.readouterr().out
    names = ["rows", "fit", "save", "determinism", "predictions", "latency"]
    assert levels(said) == [("ok", name) for name in names]
    assert "200 drawn from the schema; 160 to learn from, 40 held back" in said
    assert "40 rows, together and alone, as here" in said
    assert "5000 ms allowed" in said
    assert {path.name for path in here.iterdir()} == {"model.yaml", "mine.py"}


def test_a_users_own_estimator_on_a_users_own_rows_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"2024-01-{day:02}T{hour:02}:00:00Z,{hour / 3},a,{hour}" for day in range(1, 5) for hour in range(24)]
    Path("rows.csv").write_text("\n".join(["ts,x,kind,y", *lines, "2024-02-01T00:00:00Z,99,a,1", ""]))
    assert run("--data", "rows.csv", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert said["steps"][0] == {
        "name": "rows",
        "level": "ok",
        "found": "96 of rows.csv, 1 of its rows are invalid; 77 to learn from, 19 held back",
        "hint": "",
    }


@pytest.mark.parametrize(
    ("change", "name", "said", "hint"),
    [
        ({"fit": "raise ValueError('no such rows')"}, "fit", "mine:Mine failed on 160 rows: ValueError", "look"),
        ({"fit": "self.f_ = lambda: 1; " + MEAN}, "save", "lambda", "module"),
        ({"fit": MEAN + "; NOTES[1] = self.mean_; self.mean_ = 0.0", "predict": "np.full(len(X), NOTES.pop(1, 0))"},
         "save", "predicts 40 of 40 rows otherwise", "keep everything that predict needs"),
        ({"fit": "self.mean_ = np.random.default_rng().normal()"}, "determinism", "it became", "random_state"),
        ({"fit": "self.mean_ = float(hash('a word') % 1000)"}, "determinism", "it became", "the order of sets"),
    ],
)  # fmt: skip
def test_what_would_fail_later_fails_here_with_the_next_move(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch, change, name, said, hint
) -> None:
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", "none")
    write(**change)
    assert run() == 1
    out = capsys.readouterr().out
    assert ("FAILED", name) in levels(out)
    failed = out[out.index("FAILED") :]
    assert said in failed
    assert hint in failed.split("hint: ")[1]


def test_a_recipe_that_is_wrong_only_where_it_serves_fails_its_predictions(here: Path, capsys) -> None:
    write(predict=SAID + " + (0 if np.__version__ >= '2' else 1)")
    assert run() == 1
    out = capsys.readouterr().out
    assert levels(out)[-1] == ("FAILED", "predictions")
    assert "40 of 40 rows differ" in out


def test_a_recipe_that_is_too_slow_fails_its_latency(here: Path, capsys) -> None:
    write(estimator="sklearn.linear_model:Ridge", limit="0.0001")
    assert run() == 1
    out = capsys.readouterr().out
    assert levels(out)[-2:] == [("ok", "predictions"), ("FAILED", "latency")]
    assert "take a smaller model, or allow more" in out


def test_without_a_serving_environment_it_fails_and_tells_how_to_get_one(here: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", "none")
    write(estimator="sklearn.linear_model:Ridge")
    assert run() == 1
    out = capsys.readouterr().out
    assert levels(out)[-1] == ("FAILED", "predictions")
    assert "TRIMTAB_SERVING_PYTHON" in out


@pytest.mark.parametrize(
    ("spec", "more", "said"),
    [
        ("mine:Mine", ("--data", "nothing.csv"), "found no file nothing.csv"),
        ("mine:Mine", ("--data", "few.csv"), "few.csv has 1 valid rows with a target of 2; 20 are needed"),
        ("mine:Mine", ("--data", "mine.py"), "columns"),
        ("mine:Yours", (), "has no estimator Yours"),
    ],
)
def test_bad_input_exits_with_2(here: Path, capsys: pytest.CaptureFixture[str], spec, more, said) -> None:
    write(estimator=spec)
    Path("few.csv").write_text("ts,x,kind,y\n2024-01-01,1,a,1\n2024-01-01,99,a,1\n")
    assert run(*more) == 2
    assert said in capsys.readouterr().err
    assert run(*more, "--json") == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
