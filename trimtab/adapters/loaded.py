"""A registered model in a notebook: it takes the frame one has and answers in the target's own values."""

from __future__ import annotations

from typing import Any

from trimtab.adapters.models import Champion
from trimtab.core.errors import Invalid
from trimtab.core.records import ModelVersion


class LoadedModel:
    """
    A model version, verified and loaded.

    Attributes:
        version: What the registry holds of it: metrics, evaluation, lineage.
    """

    def __init__(self, model: str, loaded: Champion) -> None:
        self.name = model
        self.version: ModelVersion = loaded.version
        self.pipeline = loaded.pipeline

    def __repr__(self) -> str:
        return f"<trimtab model {self.name}/v{self.version.number}: {self.version.estimator}>"

    @property
    def features(self) -> list[str]:
        """The columns it needs, in the schema's order; others may stand in the frame too."""
        return [name for name, _, _ in self.pipeline.named_steps["encode"].columns]

    @property
    def classes(self) -> list[Any]:
        """The classes it knows, in the order of `predict_proba`'s columns; empty for a regression."""
        return list(getattr(self.pipeline, "classes_", ()))

    def predict(self, frame: Any) -> Any:
        """
        A NumPy array with one value a row: a number, or the class.

        Args:
            frame: A data frame of pandas or polars, or arrays by column name.

        Raises:
            Invalid: If a column is missing or holds values of another type.
        """
        return self.pipeline.predict(frame)

    def predict_proba(self, frame: Any) -> Any:
        """
        Probabilities by row and class, the classes in the order of `classes`.

        Raises:
            Invalid: If the estimator gives none, or as `predict`.
        """
        if not hasattr(self.pipeline, "predict_proba"):
            raise Invalid(f"{self.version.estimator} gives no probabilities", "call predict, or train one that does")
        return self.pipeline.predict_proba(frame)
