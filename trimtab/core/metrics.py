"""
The closed list of metrics: scikit-learn's names as for `scoring`, without `neg_`, and one of our own.

What a name means stands here and imports nothing; how it is computed stands in `trimtab.core.scoring`, imported when
a metric is computed. To add a metric: a line here, its formula there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trimtab.core.scoring import Prediction

Task = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric: its direction, its range [low, high], and what it needs of an estimator.

    `needs` is "label" (the predicted class or number) or "score" (a value by class that ranks rows); with
    `probability` the scores must be probabilities.
    """

    name: str
    task: Task
    greater_is_better: bool
    low: float
    high: float
    needs: Literal["label", "score"] = "label"
    probability: bool = False

    def compute(self, y: NDArray, prediction: Prediction) -> float:  # type: ignore[type-arg]
        """
        The metric over all rows; NaN where it is not defined (a ranking of one class only, no rows).

        Args:
            y: Truth, shape (rows,): numbers, or codes of classes in the schema's order (false 0, true 1).
            prediction: As `trimtab.serving.predict.predict` gives it.
        """
        from trimtab.core import scoring

        return scoring.compute(self.name, y, prediction)

    def fraction(self, y: NDArray, prediction: Prediction) -> tuple[float, float]:  # type: ignore[type-arg]
        """
        Numerator and denominator, so that batches add up: sum of numerators / sum of denominators.

        Exactly the metric over all rows where it is a ratio of sums over rows; otherwise (rankings, roots) the mean
        of the batches weighted by their rows. (0, 0) where the metric is not defined.
        """
        from trimtab.core import scoring

        return scoring.fraction(self.name, y, prediction)

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b` in this metric's direction."""
        return a > b if self.greater_is_better else a < b


def _of_classes(name: str, greater_is_better: bool, high: float = 1.0, **needs: object) -> Metric:
    return Metric(name, "classification", greater_is_better, 0.0, high, **needs)  # type: ignore[arg-type]


def _of_numbers(name: str, greater_is_better: bool = False, low: float = 0.0, high: float = inf) -> Metric:
    return Metric(name, "regression", greater_is_better, low, high)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _of_classes("roc_auc", True, needs="score"),
        _of_classes("average_precision", True, needs="score"),
        _of_classes("log_loss", False, inf, needs="score", probability=True),
        _of_classes("brier_score", False, needs="score", probability=True),
        _of_classes("accuracy", True),
        _of_classes("balanced_accuracy", True),
        _of_classes("f1", True),
        _of_classes("precision", True),
        _of_classes("recall", True),
        _of_numbers("mean_absolute_error"),
        _of_numbers("mean_squared_error"),
        _of_numbers("root_mean_squared_error"),
        _of_numbers("median_absolute_error"),
        _of_numbers("mean_absolute_percentage_error"),
        _of_numbers("weighted_absolute_percentage_error"),
        _of_numbers("r2", True, low=-inf, high=1.0),
    )
}
