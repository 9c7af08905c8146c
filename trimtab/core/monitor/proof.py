"""
Is the champion worse than allowed? Proven over its newest rows, however often one looks.

Rows come in a fixed order and are cut into blocks; each block has its own metric, turned so that greater is worse.
Null: at every time the expected badness of the next block, given everything before, is at most the limit. What is
proven is so no bare estimate, and what rows have in common over time is inside blocks or given by the past.

A proof is about the newest rows only: a fresh e-process begins every half window and is given up when it spans a whole
one. The j-th gets the share 1 / (j (j + 1)) of alpha, and these sum to 1, so that a champion that never becomes worse
is accused with a chance of at most alpha in all its life.

Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024 (the e-process:
trimtab.core.sequential.betting).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trimtab.core.metrics import Metric
from trimtab.core.scoring import Floats, Prediction
from trimtab.core.sequential.betting import Bets, update

BLOCKS = 100  # of a whole window
LEAST_ROWS = 20  # of a block: with fewer, its metric is mostly noise, or of one class
HALVINGS = 30  # of the interval that holds the bound: nine digits


@dataclass(frozen=True, slots=True)
class Proof:
    """
    Attributes:
        bound: Of the badness: it is greater than this, for certain to the asked level; 0 where nothing is known.
        blocks: That it rests on.
        crossed: Whether the bound is beyond the limit, or was since this e-process began.
    """

    bound: float
    blocks: int
    crossed: bool


def badness(metric: Metric, value: float) -> float:
    """
    The metric turned so that greater is worse and 0 is best.

    >>> from trimtab.core.metrics import METRICS
    >>> round(badness(METRICS["accuracy"], 0.9), 3), badness(METRICS["mean_absolute_error"], 3.0)
    (0.1, 3.0)
    """
    return metric.high - value if metric.greater_is_better else value


def from_badness(metric: Metric, bad: float) -> float:
    """The metric's own value."""
    return metric.high - bad if metric.greater_is_better else bad


def rows_a_block(over_rows: int) -> int:
    """
    How many rows make a block of a window.

    >>> rows_a_block(5000), rows_a_block(300)
    (50, 20)
    """
    return max(LEAST_ROWS, over_rows // BLOCKS)


def block_badness(metric: Metric, y: Floats, prediction: Prediction, rows: int) -> Floats:
    """
    Badness of each whole block of `rows` rows, in order; blocks that leave the metric undefined are left out.

    Of r2 the squared error of the block over the variance of all rows: a block's own variance is not the question.
    """
    found = []
    variance = float(np.var(y)) if len(y) else 0.0
    for start in range(0, len(y) - rows + 1, rows):
        keep = np.zeros(len(y), dtype=np.bool_)
        keep[start : start + rows] = True
        if metric.name == "r2":
            found.append(float(np.mean((y[keep] - prediction.values[keep]) ** 2)) / variance if variance else np.nan)
        else:
            found.append(badness(metric, metric.compute(y[keep], prediction.rows(keep))))
    values = np.array(found, dtype=np.float64)
    return values[np.isfinite(values)]


def prove(blocks: Floats, limit: float, window_blocks: int, alpha: float) -> Proof:
    """
    What the blocks prove of the newest window.

    Args:
        blocks: Badness of every block since the evidence began, in order.
        limit: What is allowed.
        window_blocks: Blocks of a window.
        alpha: Chance of accusing a champion that is within the limit.
    """
    half = max(1, window_blocks // 2)
    newest = max(0, (len(blocks) - 1) // half)
    found = []
    for number in range(max(0, newest - 1), newest + 1):
        part, needed = blocks[number * half :], math.log((number + 1) * (number + 2) / alpha)
        found.append((len(part) > 0 and limit < math.inf and _peak(part, limit) >= needed, len(part), part, needed))
    # The one that proves it; else the longer one.
    crossed, length, part, needed = max(found, key=lambda each: each[:2])
    return Proof(lower_bound(part, needed), length, crossed)


def lower_bound(blocks: Floats, needed: float) -> float:
    """The greatest limit that the blocks prove to be exceeded: the e-process against it reached exp(`needed`)."""
    if not len(blocks):
        return 0.0
    low, high = 0.0, float(blocks.max())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle > 0 and _peak(blocks, middle) >= needed else (low, middle)
    return low


def _peak(blocks: Floats, limit: float) -> float:
    """
    Highest log e-value against "the badness is at most `limit`".

    A bet on a value that may be any number above 0 is cut off at twice the limit: what is proven of the smaller value
    holds of the greater one.
    """
    relative = np.minimum(blocks / max(limit, 1e-12), 2.0) - 1.0
    return update(Bets(margin=0.0), np.maximum(relative, -1.0)).peak
