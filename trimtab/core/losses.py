"""The loss that a rollout is judged by: 0/1 error of classes; of numbers the absolute error on the target's scale."""

from __future__ import annotations

import numpy as np

from trimtab.core.scoring import Floats


def losses(truth: Floats, predicted: Floats, scale: float, classes: int) -> Floats:
    """
    Loss by row, in [0, 1]; NaN where a row has no truth or no prediction.

    Args:
        truth: Numbers, or codes of classes, shape (rows,).
        predicted: The same of the predictions.
        scale: The absolute error that counts as 1, `RolloutSpec.loss_scale`.
        classes: Number of classes; 0 for a regression.

    >>> losses(np.array([1.0, 3.0]), np.array([1.5, 9.0]), scale=2.0, classes=0).tolist()
    [0.25, 1.0]
    """
    if classes:
        wrong: Floats = np.where(np.isnan(truth) | np.isnan(predicted), np.nan, truth != predicted)
        return wrong
    clipped: Floats = np.minimum(np.abs(truth - predicted) / scale, 1.0)
    return clipped
