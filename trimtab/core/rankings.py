"""Metrics that need rows in order, under many weightings of the rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def divide(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0."""
    quotient: Floats = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b != 0)
    return quotient


def auc(positive: Floats, score: Floats, weights: Floats) -> Floats:
    """
    Share of pairs ranked rightly, ties half.

    Args:
        positive: 1 where the row is of the class, else 0, shape (rows,).
        score: Greater is likelier, shape (rows,).
        weights: Shape (resamples, rows).

    Returns:
        Shape (resamples,), in [0, 1]; NaN where only one class has weight.
    """
    order, starts = _ties(score)
    right = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    wrong = np.add.reduceat((weights * (1 - positive))[:, order], starts, axis=1)
    below = wrong.sum(axis=1, keepdims=True) - np.cumsum(wrong, axis=1) + wrong / 2
    return divide((right * below).sum(axis=1), right.sum(axis=1) * wrong.sum(axis=1))


def auc_by_blocks(positive: Floats, score: Floats, block: NDArray[np.intp], counts: Floats) -> Floats:
    """
    As `auc`, where a row's weight is how often its block is drawn: exact, and the rows are looked at only once.

    A pair counts as often as both its blocks are drawn, so the rightly ranked pairs of each two blocks are enough.

    Args:
        positive: As for `auc`; so is `score`.
        block: Number of each row's block, shape (rows,).
        counts: Shape (resamples, blocks).
    """
    blocks = counts.shape[1]
    is_positive = positive == 1
    theirs, of = score[is_positive], block[is_positive]
    pairs = np.zeros((blocks, blocks))
    for number in range(blocks):
        others = np.sort(score[(block == number) & ~is_positive])
        beaten = (np.searchsorted(others, theirs, "left") + np.searchsorted(others, theirs, "right")) / 2
        pairs[:, number] = np.bincount(of, weights=beaten, minlength=blocks)
    right = np.bincount(of, minlength=blocks)
    wrong = np.bincount(block[~is_positive], minlength=blocks)
    return divide(((counts @ pairs) * counts).sum(axis=1), (counts @ right) * (counts @ wrong))


def average_precision(positive: Floats, score: Floats, weights: Floats) -> Floats:
    """Sum of precision times gained recall over falling thresholds; arguments and result as for `auc`."""
    order, starts = _ties(score)
    right = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    seen = np.cumsum(np.add.reduceat(weights[:, order], starts, axis=1), axis=1)
    precision = np.nan_to_num(divide(np.cumsum(right, axis=1), seen))
    return divide((precision * right).sum(axis=1), right.sum(axis=1))


def median(values: Floats, weights: Floats) -> Floats:
    """The weighted median, the mean of both middles where the weight splits evenly; NaN without weight."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    last = len(order) - 1
    lower = values[order][np.minimum((reached < half).sum(axis=1), last)]
    upper = values[order][np.minimum((reached <= half).sum(axis=1), last)]
    return np.where(half[:, 0] > 0, (lower + upper) / 2, np.nan)


def _ties(score: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows by falling score, and where each run of equal scores starts."""
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
