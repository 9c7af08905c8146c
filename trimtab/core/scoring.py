"""
How metrics are computed, for all rows at once and for many weightings of blocks of rows.

Most metrics are functions of sums over rows: `Sums.terms` gives each row's part, `Sums.of` turns added-up parts into
the metric, so a bootstrap costs one matrix product. Rankings (AUC, average precision, a median) need the rows in
order: they take row weights instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.core import rankings
from trimtab.core.rankings import divide

Floats = NDArray[np.float64]
PAIRED_BLOCKS = 1000  # up to it, pairs of blocks are counted faster than weighted rows are summed
CHUNK = 4_000_000  # weights held at once by a ranking: 32 MB


@dataclass(frozen=True, slots=True)
class Prediction:
    """
    What a model says of rows, uniform over tasks.

    Attributes:
        values: Shape (rows,): predicted numbers, or codes of the predicted classes in the schema's order.
        scores: Shape (rows, classes), greater is likelier; None for a regression or where the estimator has none.
        probability: Whether the scores are probabilities (else they are decision values, good for ranking only).
        classes: Number of classes; 0 for a regression.
    """

    values: Floats
    scores: Floats | None = None
    probability: bool = False
    classes: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Prediction:
        """The prediction of the rows where `keep`, or of the rows by these numbers, in their order."""
        scores = None if self.scores is None else self.scores[keep]
        return Prediction(self.values[keep], scores, self.probability, self.classes)


@dataclass(frozen=True, slots=True)
class Sums:
    """A metric of sums: `terms` (rows, k) by row, `of` (..., k) -> (...); `ratio` says that it is terms 0 / 1."""

    terms: Callable[[Floats, Prediction], Floats]
    of: Callable[[Floats], Floats]
    ratio: bool = False


Ranking = Callable[[Floats, Prediction, Floats], Floats]  # y, prediction, weights (resamples, rows) -> (resamples,)


def _mean_of(loss: Callable[[Floats, Prediction], Floats]) -> Sums:
    def terms(y: Floats, prediction: Prediction) -> Floats:
        return np.stack([loss(y, prediction), np.ones(len(y))], axis=1)

    return Sums(terms, lambda sums: divide(sums[..., 0], sums[..., 1]), ratio=True)


def _probability_of_truth(y: Floats, prediction: Prediction) -> Floats:
    scores = prediction.scores
    assert scores is not None
    # scikit-learn's own clipping: the smallest step of the type, so that a certain error stays finite.
    eps = np.finfo(np.float64).eps
    clipped = np.clip(scores, eps, 1 - eps)
    clipped = clipped / clipped.sum(axis=1, keepdims=True)
    chosen: Floats = clipped[np.arange(len(y)), y.astype(np.intp)]
    return chosen


def _brier(y: Floats, prediction: Prediction) -> Floats:
    """Half the squared distance to the true class, so in [0, 1] for any number of classes."""
    assert prediction.scores is not None
    distance = prediction.scores.copy()
    distance[np.arange(len(y)), y.astype(np.intp)] -= 1
    squared: Floats = (distance**2).sum(axis=1) / 2
    return squared


def _confusion(y: Floats, prediction: Prediction) -> Floats:
    """By row a one at (truth, predicted), flattened: shape (rows, classes * classes)."""
    cells = np.zeros((len(y), prediction.classes**2))
    cells[np.arange(len(y)), (y * prediction.classes + prediction.values).astype(np.intp)] = 1
    return cells


def _counts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """True positives, rows and predictions by class, each (..., classes)."""
    classes = round(sums.shape[-1] ** 0.5)
    table = sums.reshape(*sums.shape[:-1], classes, classes)
    return np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1), table.sum(axis=-2)


def _positive_or_macro(by_class: Floats, present: NDArray[np.bool_]) -> Floats:
    """Of two classes the second (true; the last of the schema's values), of more the mean over those present."""
    if by_class.shape[-1] == 2:
        positive: Floats = np.nan_to_num(by_class[..., 1])
        return positive
    total = np.where(present, np.nan_to_num(by_class), 0.0).sum(axis=-1)
    return divide(total, present.sum(axis=-1).astype(np.float64))


def _f1(sums: Floats) -> Floats:
    hit, rows, predicted = _counts(sums)
    return _positive_or_macro(divide(2 * hit, rows + predicted), rows + predicted > 0)


def _precision(sums: Floats) -> Floats:
    hit, rows, predicted = _counts(sums)
    return _positive_or_macro(divide(hit, predicted), rows + predicted > 0)


def _recall(sums: Floats) -> Floats:
    hit, rows, predicted = _counts(sums)
    return _positive_or_macro(divide(hit, rows), rows + predicted > 0)


def _balanced_accuracy(sums: Floats) -> Floats:
    hit, rows, _ = _counts(sums)
    recall = divide(hit, rows)
    return divide(np.nansum(recall, axis=-1), (rows > 0).sum(axis=-1).astype(np.float64))


def _r2_terms(y: Floats, prediction: Prediction) -> Floats:
    # Centred first: sums of squares of large numbers would lose the small differences.
    centred = y - y.mean() if len(y) else y
    return np.stack([(y - prediction.values) ** 2, centred, centred**2, np.ones(len(y))], axis=1)


def _r2(sums: Floats) -> Floats:
    residual, total, squares, rows = np.moveaxis(sums, -1, 0)
    around = squares - divide(total**2, rows)
    return 1 - divide(residual, np.where(around > 1e-12 * squares, around, 0.0))


def _wape_terms(y: Floats, prediction: Prediction) -> Floats:
    return np.stack([np.abs(y - prediction.values), np.abs(y)], axis=1)


def _percentage(y: Floats, prediction: Prediction) -> Floats:
    return np.abs(y - prediction.values) / np.maximum(np.abs(y), np.finfo(np.float64).eps)


def _square(y: Floats, prediction: Prediction) -> Floats:
    return (y - prediction.values) ** 2


SQUARED = _mean_of(_square)
SUMS: dict[str, Sums] = {
    "log_loss": _mean_of(lambda y, prediction: -np.log(_probability_of_truth(y, prediction))),
    "brier_score": _mean_of(_brier),
    "accuracy": _mean_of(lambda y, prediction: (y == prediction.values).astype(np.float64)),
    "balanced_accuracy": Sums(_confusion, _balanced_accuracy),
    "f1": Sums(_confusion, _f1),
    "precision": Sums(_confusion, _precision),
    "recall": Sums(_confusion, _recall),
    "mean_absolute_error": _mean_of(lambda y, prediction: np.abs(y - prediction.values)),
    "mean_squared_error": SQUARED,
    "root_mean_squared_error": Sums(SQUARED.terms, lambda sums: np.sqrt(SQUARED.of(sums))),
    "mean_absolute_percentage_error": _mean_of(_percentage),
    "weighted_absolute_percentage_error": Sums(
        _wape_terms, lambda sums: divide(sums[..., 0], sums[..., 1]), ratio=True
    ),
    "r2": Sums(_r2_terms, _r2),
}


def _by_class(y: Floats, prediction: Prediction, one: Callable[[Floats, Floats], Floats]) -> Floats:
    """A ranking of two classes by the second's score; of more, the mean over classes against the rest."""
    scores = prediction.scores
    assert scores is not None
    if prediction.classes == 2:
        return one((y == 1).astype(np.float64), scores[:, 1])
    table = np.stack([one((y == code).astype(np.float64), scores[:, code]) for code in range(prediction.classes)])
    # A class without a row in a resample has no curve of its own there.
    return divide(np.nansum(table, axis=0), (~np.isnan(table)).sum(axis=0).astype(np.float64))


def _median_error(y: Floats, prediction: Prediction, weights: Floats) -> Floats:
    return rankings.median(np.abs(y - prediction.values), weights)


RANKINGS: dict[str, Ranking] = {
    "roc_auc": lambda y, said, weights: _by_class(y, said, lambda is_it, s: rankings.auc(is_it, s, weights)),
    "average_precision": lambda y, said, weights: _by_class(
        y, said, lambda is_it, s: rankings.average_precision(is_it, s, weights)
    ),
    "median_absolute_error": _median_error,
}


def compute(name: str, y: NDArray[np.float64], prediction: Prediction) -> float:
    """
    One metric over all rows, each counted once; NaN where it is not defined.

    >>> y = np.array([10.0, 30.0])
    >>> compute("weighted_absolute_percentage_error", y, Prediction(np.array([14.0, 30.0])))
    0.1
    """
    if not len(y):
        return float("nan")
    if name in SUMS:
        sums = SUMS[name]
        return float(sums.of(sums.terms(y, prediction).sum(axis=0)))
    return float(RANKINGS[name](y, prediction, np.ones((1, len(y))))[0])


def fraction(name: str, y: NDArray[np.float64], prediction: Prediction) -> tuple[float, float]:
    """Numerator and denominator that add up over batches; see `Metric.fraction`."""
    if name in SUMS and SUMS[name].ratio:
        numerator, denominator = SUMS[name].terms(y, prediction).sum(axis=0)
        return float(numerator), float(denominator)
    value = compute(name, y, prediction)
    return (0.0, 0.0) if np.isnan(value) else (value * len(y), float(len(y)))


def resampled(name: str, y: Floats, prediction: Prediction, block: NDArray[np.intp], counts: Floats) -> Floats:
    """
    One metric under each resample of blocks.

    Args:
        name: The metric.
        y: Truth, shape (rows,).
        prediction: Of the same rows.
        block: Number of each row's block, 0 to blocks - 1, shape (rows,).
        counts: How often a resample draws each block, shape (resamples, blocks).

    Returns:
        Shape (resamples,); NaN where a resample leaves the metric undefined.
    """
    if name in SUMS:
        sums = SUMS[name]
        terms = sums.terms(y, prediction)
        by_block = np.zeros((counts.shape[1], terms.shape[1]))
        np.add.at(by_block, block, terms)
        return sums.of(counts @ by_block)
    if name == "roc_auc" and counts.shape[1] <= PAIRED_BLOCKS:
        return _by_class(y, prediction, lambda is_it, s: rankings.auc_by_blocks(is_it, s, block, counts))
    size = max(1, CHUNK // max(1, len(y)))
    parts = [
        RANKINGS[name](y, prediction, counts[start : start + size][:, block]) for start in range(0, len(counts), size)
    ]
    return np.concatenate(parts)
