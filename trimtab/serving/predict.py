"""A fitted pipeline's prediction, uniform over tasks and estimators, in the schema's order of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.core.errors import Invalid
from trimtab.core.scoring import Prediction
from trimtab.serving.columns import Columns

Classes = tuple[str, ...] | tuple[bool, bool] | tuple[()]


def predict(pipeline: Any, columns: Columns, classes: Classes = ()) -> Prediction:
    """
    What the model says of the rows.

    Args:
        pipeline: As `loader.load` or `assembly.fit` gives it.
        columns: The features by name.
        classes: The target's classes in the schema's order ((False, True) for a boolean); empty for a regression.
            A class that the model never learned gets probability 0.

    Raises:
        Invalid: If a column is missing, or a predicted number is not finite, or a class is not among `classes`.
    """
    if not classes:
        values = np.asarray(pipeline.predict(columns), dtype=np.float64).reshape(-1)
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise Invalid(f"the model predicts no finite number for {bad} of {len(values)} rows")
        return Prediction(values)
    scores, probability = _scores(pipeline, columns, classes)
    values = _codes(pipeline.predict(columns), classes)
    return Prediction(values, scores, probability, len(classes))


def _codes(labels: Any, classes: Classes) -> NDArray[np.float64]:
    position: dict[Any, int] = {label: code for code, label in enumerate(classes)}
    try:
        return np.array([position[label] for label in np.asarray(labels).tolist()], dtype=np.float64)
    except KeyError as error:
        raise Invalid(
            f"the model predicts class {error.args[0]!r}; the schema knows {', '.join(map(str, classes))}",
            "keep the values of the target in the schema while models that learned them serve",
        ) from error


def _scores(pipeline: Any, columns: Columns, classes: Classes) -> tuple[NDArray[np.float64] | None, bool]:
    """Scores by class in the schema's order, and whether they are probabilities."""
    if hasattr(pipeline, "predict_proba"):
        found, probability, absent = np.asarray(pipeline.predict_proba(columns)), True, 0.0
    elif hasattr(pipeline, "decision_function"):
        found, probability, absent = np.asarray(pipeline.decision_function(columns)), False, -np.inf
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1)
    else:
        return None, False
    scores = np.full((len(found), len(classes)), absent)
    scores[:, _codes(pipeline.classes_, classes).astype(np.intp)] = found
    return scores, probability
