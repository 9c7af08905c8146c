"""
One model version ready to answer: its schema, its estimator, and the shortest way between them.

The version's encoder reads any frame and checks each column as it goes; a request has been checked already, so its
matrix is made here in one step, equal to the encoder's to the bit.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.core.scoring import Prediction
from trimtab.core.spec.data import Data
from trimtab.serving.predict import predict
from trimtab.serving.schema import Checked, Schema
from trimtab.serving.tabulated import tabulate

# Their predict is the likeliest class of predict_proba, by their own code: asking both would double the work.
LIKELIEST = {
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
}


@dataclass(frozen=True, slots=True)
class Predicted:
    """By row the number or class, and of a classification its probabilities in the schema's order of classes."""

    values: list[Any]
    scores: list[list[float]] | None


class Served:
    """
    A loaded version.

    Args:
        name: The model's.
        version: Its number.
        data: The data section of the spec that the version was trained by.
        pipeline: As `loader.load` gives it.
    """

    def __init__(self, name: str, version: int, data: Data, pipeline: Any) -> None:
        encoder = pipeline.named_steps["encode"]
        self.name = name
        self.version = version
        self.schema = Schema(data, encoder.columns)
        self._pipeline = pipeline
        self._encodes = encoder.output == "frame"
        self._used = [column for column, _, _ in encoder.used]
        self._empty = [place for place, column in enumerate(self._used) if column in encoder.empty_]
        if self._encodes:
            self._prepare, self._rest = None, pipeline
        else:
            self._prepare, self._rest = _hastened(pipeline, [len(values) for _, _, values in encoder.used])
        kind = type(self._rest)
        self._likeliest = bool(self.schema.classes) and f"{kind.__module__}.{kind.__qualname__}" in LIKELIEST
        # Trees let go of the interpreter hundreds of times a row: two requests at once would hand it to and fro.
        self._one = threading.Lock()

    @property
    def variant(self) -> str:
        return f"v{self.version}"

    def predict(self, checked: Checked) -> Predicted:
        """
        What the model says of the rows. Whatever it raises is its own fault.

        Raises:
            Invalid: If it predicts no finite number, or a class that the schema does not know.
        """
        with self._one:
            said = self._predict(checked)
        classes = self.schema.classes
        if not classes:
            return Predicted(said.values.tolist(), None)
        values = [classes[int(code)] for code in said.values.tolist()]
        return Predicted(values, said.scores.tolist() if said.scores is not None and said.probability else None)

    def warm_up(self) -> None:
        """
        Predict a row of which nothing is known: the first prediction takes many times what the next ones do.

        A model that refuses such a row is no worse for it.
        """
        unknown = {name: [None] for name in self.schema.features}
        for name, kind, _ in self.schema.columns:
            if kind == "timestamp":
                unknown[name] = np.array(["NaT"], dtype="datetime64[us]")  # type: ignore[assignment]
        try:
            self.predict(Checked(unknown, {}, {}, 1, 0))
        except Exception:
            return

    def _predict(self, checked: Checked) -> Prediction:
        classes = self.schema.classes
        if self._encodes:
            return predict(self._pipeline, self.schema.arrays(checked.encoded), classes)
        matrix = self._matrix(checked.encoded, checked.rows)
        if self._prepare is not None:
            matrix = self._prepare.transform(matrix)
        if not self._likeliest:
            return predict(self._rest, matrix, classes)  # type: ignore[arg-type]
        return self._likeliest_of(np.asarray(self._rest.predict_proba(matrix)))

    def _matrix(self, encoded: dict[str, Sequence[float | None]], rows: int) -> NDArray[np.float64]:
        matrix = np.array([encoded[name] for name in self._used], dtype=np.float64).reshape(len(self._used), rows).T
        if self._empty:
            matrix[:, self._empty] = 0.0
        return np.ascontiguousarray(matrix)

    def _likeliest_of(self, found: NDArray[np.float64]) -> Prediction:
        """As `predict` with `predict_proba` alone: ties go to the class that the estimator has first."""
        classes = self.schema.classes
        learned: list[Any] = self._rest.classes_.tolist()
        place = [classes.index(each) for each in learned]
        scores = np.zeros((len(found), len(classes)))
        scores[:, place] = found
        values = np.array(place, dtype=np.float64)[found.argmax(axis=1)]
        return Prediction(values, scores, True, len(classes))


def _hastened(pipeline: Any, categories: list[int]) -> tuple[Any, Any]:
    """
    What prepares a matrix (None where nothing does), and the estimator behind it.

    Args:
        pipeline: The encoder, maybe a ColumnTransformer of ours, the estimator.
        categories: Number of codes by column of the encoder's matrix, 0 for numbers.
    """
    steps = dict(pipeline.steps[1:])
    if not set(steps) <= {"prepare", "estimate"}:
        return None, pipeline[1:]
    estimator = steps["estimate"]
    # Gradient boosting keeps a ColumnTransformer of its own before its trees.
    inner = getattr(estimator, "_preprocessor", None)
    if "prepare" not in steps and type(inner).__name__ == "ColumnTransformer":
        estimator._preprocessor = tabulate(inner, categories)
    return tabulate(steps["prepare"], categories) if "prepare" in steps else None, estimator
