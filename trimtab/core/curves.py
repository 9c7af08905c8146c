"""What a person wants to see of a classifier besides figures: confusion and ROC curve."""

from __future__ import annotations

import numpy as np

from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction

POINTS = 100  # of a curve; more cannot be told apart on a screen


class Curves(Record):
    """
    A classifier on the holdout.

    Attributes:
        classes: In the order of the rows and columns of `confusion`.
        confusion: Rows by true class, columns by predicted class.
        roc: (false positive rate, true positive rate, threshold) of the second of two classes, thresholds falling;
            empty for more classes, without scores, or where only one class was seen.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc: tuple[tuple[float, float, float], ...]


def curves(y: Floats, prediction: Prediction, classes: tuple[object, ...]) -> Curves:
    """Confusion and, for two classes with scores, the ROC curve."""
    cells = np.bincount((y * len(classes) + prediction.values).astype(np.intp), minlength=len(classes) ** 2)
    table = cells.reshape(len(classes), len(classes))
    names = tuple(str(name).lower() if isinstance(name, bool) else str(name) for name in classes)
    return Curves(classes=names, confusion=tuple(map(tuple, table.tolist())), roc=_roc(y, prediction))


def _roc(y: Floats, prediction: Prediction) -> tuple[tuple[float, float, float], ...]:
    if prediction.scores is None or prediction.classes != 2 or len(np.unique(y)) < 2:
        return ()
    score = prediction.scores[:, 1]
    order = np.argsort(-score, kind="stable")
    # A threshold only where the score changes: rows with one score are taken together.
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    right, wrong = np.cumsum(y[order])[last], np.cumsum(1 - y[order])[last]
    chosen = np.unique(np.linspace(0, len(last) - 1, POINTS).round().astype(np.intp))
    # The first threshold lies above every score, so that nothing is called positive; JSON has no infinity.
    points = [(0.0, 0.0, float(score.max()) + 1.0)]
    points += [(wrong[i] / wrong[-1], right[i] / right[-1], score[order][last[i]]) for i in chosen]
    return tuple((float(a), float(b), float(c)) for a, b, c in points)
