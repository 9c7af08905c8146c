"""What is fitted and how it is judged: the training and evaluation sections."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from trimtab.core.spec.fields import ColumnName, Holdout, ImportPath, MetricName, Parameters, PositiveDuration, Section


class Training(Section):
    """The recipe of a model."""

    estimator: ImportPath = Field(
        description="module:Class of scikit-learn, or module:Class or module:function of a file beside the spec; a "
        "function returns the estimator."
    )
    parameters: Parameters = Field(
        default={}, description="Keyword arguments of the estimator; `step__name` reaches into a pipeline."
    )
    mode: Literal["offline", "warmStart", "incremental", "transfer"] = Field(
        default="offline", description="offline: each candidate learns from nothing but its window."
    )
    input: Literal["matrix", "frame"] = Field(
        default="matrix",
        description="matrix: float64, encoded by the schema. frame: pandas, for pipelines that pick columns by name.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Given to every random_state of the estimator.")
    threads: int = Field(
        default=1, ge=1, le=1024, description="Threads of a fit. More than 1 helps above about 100,000 rows."
    )
    image: str | None = Field(
        default=None,
        description="In a cluster: an image by digest that holds your own code. A laptop uses the code beside the "
        "spec.",
        pattern=r"^\S+@sha256:[0-9a-f]{64}$",
    )
    resources: dict[str, Any] = Field(
        default={}, description="In a cluster: requests and limits of the training step, as in a Pod."
    )


class Evaluation(Section):
    """How a candidate is judged before it is registered."""

    holdout: Holdout = Field(
        default=timedelta(weeks=2),
        description="The newest stretch, judged before it is learned from: a duration of event time, or `5000 rows`.",
    )
    refit: bool = Field(
        default=True, description="Once accepted, fit the same recipe again on the window and the holdout."
    )
    metrics: tuple[MetricName, ...] = Field(
        default=(), strict=False, description="Metrics that are reported; empty: the primary one."
    )
    primary: MetricName = Field(description="Metric that decides.")
    floor: float | None = Field(
        default=None, description="A first model short of this is rejected; in the metric's unit and direction."
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        description="A candidate proven worse than the champion by more than this is rejected; in the metric's unit.",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence of every interval, 0.5 to 1.")
    block: PositiveDuration = Field(
        default=timedelta(days=1),
        description="The bootstrap resamples whole blocks of event time this long: neighbouring rows are alike.",
    )
    slices: tuple[ColumnName, ...] = Field(
        default=(), strict=False, description="category or boolean columns reported by value; they never decide."
    )
    max_latency_p99_milliseconds: float | None = Field(
        default=None, gt=0, description="Latency a prediction may take in the serving environment, milliseconds."
    )

    @property
    def holdout_rows(self) -> int | None:
        """Rows held out, where the holdout is a number of rows."""
        return self.holdout if isinstance(self.holdout, int) else None

    @property
    def reported(self) -> tuple[str, ...]:
        """Metrics to compute: `metrics`, or the primary one where none are named."""
        return self.metrics or (self.primary,)
