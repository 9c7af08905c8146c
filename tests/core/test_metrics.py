"""Metrics agree with scikit-learn's, add up over batches, and resample as repeated rows would."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from trimtab.core import scoring
from trimtab.core.metrics import METRICS
from trimtab.core.scoring import Prediction, resampled

RANDOM = np.random.default_rng(7)
ROWS = 400
BINARY = RANDOM.integers(0, 2, ROWS).astype(float)
# Rounded, so that many rows tie.
SCORE = np.clip(np.round(0.3 * BINARY + 0.7 * RANDOM.random(ROWS), 2), 0.01, 0.99)
TWO = Prediction((SCORE > 0.5).astype(float), np.stack([1 - SCORE, SCORE], axis=1), True, 2)
MANY = RANDOM.integers(0, 3, ROWS).astype(float)
PARTS = RANDOM.dirichlet([1, 1, 1], ROWS) + 0.5 * np.eye(3)[MANY.astype(int)]
PARTS /= PARTS.sum(axis=1, keepdims=True)
THREE = Prediction(PARTS.argmax(axis=1).astype(float), PARTS, True, 3)
NUMBERS = RANDOM.gamma(2.0, 50.0, ROWS)
GUESS = Prediction(NUMBERS * RANDOM.uniform(0.7, 1.4, ROWS))

SCIKIT = {
    "roc_auc": lambda y, p: (
        sk.roc_auc_score(y, p.scores[:, 1]) if p.classes == 2 else sk.roc_auc_score(y, p.scores, multi_class="ovr")
    ),
    "average_precision": lambda y, p: sk.average_precision_score(y, p.scores[:, 1] if p.classes == 2 else p.scores),
    "log_loss": lambda y, p: sk.log_loss(y, p.scores),
    "brier_score": lambda y, p: sk.brier_score_loss(
        y, p.scores[:, 1] if p.classes == 2 else p.scores, scale_by_half=True, labels=list(range(p.classes))
    ),
    "accuracy": lambda y, p: sk.accuracy_score(y, p.values),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p.values),
    "f1": lambda y, p: sk.f1_score(y, p.values, average="binary" if p.classes == 2 else "macro"),
    "precision": lambda y, p: sk.precision_score(y, p.values, average="binary" if p.classes == 2 else "macro"),
    "recall": lambda y, p: sk.recall_score(y, p.values, average="binary" if p.classes == 2 else "macro"),
    "mean_absolute_error": lambda y, p: sk.mean_absolute_error(y, p.values),
    "mean_squared_error": lambda y, p: sk.mean_squared_error(y, p.values),
    "root_mean_squared_error": lambda y, p: sk.root_mean_squared_error(y, p.values),
    "median_absolute_error": lambda y, p: sk.median_absolute_error(y, p.values),
    "mean_absolute_percentage_error": lambda y, p: sk.mean_absolute_percentage_error(y, p.values),
    "weighted_absolute_percentage_error": lambda y, p: np.abs(y - p.values).sum() / np.abs(y).sum(),
    "r2": lambda y, p: sk.r2_score(y, p.values),
}


def cases(name: str) -> list[tuple[np.ndarray, Prediction]]:
    return [(NUMBERS, GUESS)] if METRICS[name].task == "regression" else [(BINARY, TWO), (MANY, THREE)]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_agrees_with_scikit_learn(name):
    for y, prediction in cases(name):
        assert METRICS[name].compute(y, prediction) == pytest.approx(SCIKIT[name](y, prediction), rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_a_value_lies_in_the_metrics_range(name):
    for y, prediction in cases(name):
        assert METRICS[name].low <= METRICS[name].compute(y, prediction) <= METRICS[name].high


@pytest.mark.parametrize("name", METRICS)
def test_a_resample_equals_the_metric_over_the_rows_it_repeats(name):
    counts = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=5).astype(float)
    for y, prediction in cases(name):
        block = np.arange(len(y)) % 8
        got = resampled(name, y, prediction, block, counts)
        for row, drawn in zip(got, counts, strict=True):
            repeated = np.repeat(np.arange(len(y)), drawn[block].astype(int))
            scores = None if prediction.scores is None else prediction.scores[repeated]
            expected = METRICS[name].compute(
                y[repeated], Prediction(prediction.values[repeated], scores, True, prediction.classes)
            )
            assert row == pytest.approx(expected, rel=1e-9)


def test_many_blocks_are_resampled_as_few_are(monkeypatch):
    block, counts = np.arange(ROWS) % 40, np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=20) * 1.0
    few = resampled("roc_auc", BINARY, TWO, block, counts)
    monkeypatch.setattr(scoring, "PAIRED_BLOCKS", 0)
    assert few == pytest.approx(resampled("roc_auc", BINARY, TWO, block, counts), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["weighted_absolute_percentage_error", "mean_absolute_error", "accuracy", "log_loss", "brier_score"]
)
def test_fractions_of_batches_add_up_to_the_metric_over_all_rows(name):
    y, prediction = cases(name)[0]
    first = np.arange(len(y)) < 100
    parts = [METRICS[name].fraction(y[keep], prediction.rows(keep)) for keep in (first, ~first)]
    total = sum(part[0] for part in parts) / sum(part[1] for part in parts)
    assert total == pytest.approx(METRICS[name].compute(y, prediction))


def test_a_ranking_of_one_class_only_is_not_a_number():
    one = np.zeros(ROWS)
    assert np.isnan(METRICS["roc_auc"].compute(one, TWO))
    assert METRICS["roc_auc"].fraction(one, TWO) == (0.0, 0.0)


def test_no_rows_have_no_metric():
    assert np.isnan(METRICS["mean_absolute_error"].compute(np.zeros(0), Prediction(np.zeros(0))))


def test_r2_survives_a_large_offset():
    assert METRICS["r2"].compute(NUMBERS + 1e9, Prediction(GUESS.values + 1e9)) == pytest.approx(
        sk.r2_score(NUMBERS + 1e9, GUESS.values + 1e9), rel=1e-6
    )


def test_better_follows_the_metrics_own_direction():
    assert METRICS["roc_auc"].better(0.8, 0.7)
    assert METRICS["log_loss"].better(0.3, 0.4)
    assert not METRICS["log_loss"].better(0.4, 0.3)


def test_naming_metrics_imports_nothing_heavy():
    code = "import sys, trimtab.core.metrics; print([m for m in ('numpy', 'sklearn', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
