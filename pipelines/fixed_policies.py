"""
What the spec's policy is measured against: never retrained, always retrained, and no model at all.

They learn from the same valid, labelled rows as the spec's policy, with the same estimator, and check nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.adapters import columns as table
from trimtab.core.baselines import same_hour_last_week
from trimtab.core.comparison import BatchScore, PolicyName, PolicyResult, TrainingRun
from trimtab.core.metrics import METRICS, Metric
from trimtab.core.rows import combine
from trimtab.core.scoring import Prediction
from trimtab.core.spec.units import format_duration

if TYPE_CHECKING:
    import polars as pl

    from trimtab.core.spec import ContinuousModel

LONG = timedelta(days=365_000)  # a window that holds everything


@dataclass(frozen=True)
class Taken:
    """
    One batch as intake left it.

    Attributes:
        rows: Valid and labelled: what every policy learns from.
        judged: Those of them that every policy is scored on; none before a first model serves.
    """

    rows: pl.DataFrame
    judged: pl.DataFrame


Step = Callable[[], None]  # called after each batch of each policy, for progress


def fixed_policies(model: ContinuousModel, estimator: Callable[[], Any], taken: Sequence[Taken], step: Step) -> list[
    PolicyResult
]:  # fmt: skip
    """
    Every baseline over the same batches.

    Args:
        estimator: Makes the spec's estimator anew, unfitted.
    """
    window = model.spec.window.size
    policies = [
        _retrained(model, estimator, taken, "never", "never retrained", NEVER, LONG, always=False, step=step),
        _retrained(model, estimator, taken, "everything", "always, on everything", EVERYTHING, LONG, True, step),
    ]
    if window is not None:
        size = format_duration(window)
        policies.append(
            _retrained(
                model,
                estimator,
                taken,
                "window",
                f"always, on the last {size}",
                WINDOW.format(size),
                window,
                True,
                step,
            )
        )
    if model.spec.data.task == "regression":
        policies.append(_last_week(model, taken, step))
    return policies


NEVER = "Trained once, on everything before the first judged batch"
EVERYTHING = "Trained again after every batch, on all rows so far, and never checked"
WINDOW = "Trained again after every batch, on the last {}, and never checked"
LAST_WEEK = "No model: what was seen at the same hour a week earlier, even where a model could not know it yet"


def _retrained(
    model: ContinuousModel,
    estimator: Callable[[], Any],
    taken: Sequence[Taken],
    name: PolicyName,
    title: str,
    what: str,
    window: timedelta,
    always: bool,
    step: Step,
) -> PolicyResult:
    metric = METRICS[model.spec.evaluation.primary]
    scores: list[BatchScore] = []
    runs: list[TrainingRun] = []
    fitted: Any = None
    for place, batch in enumerate(taken):
        if batch.judged.height:
            if fitted is None or always:
                fitted, run = _fit(model, estimator, taken[:place], window, first=fitted is None)
                runs.append(run)
            scores.append(_score(model, metric, batch, _predict(model, fitted, batch.judged)))
        step()
    return PolicyResult(name=name, title=title, what=what, batches=tuple(scores), runs=tuple(runs))


def _fit(
    model: ContinuousModel, estimator: Callable[[], Any], seen: Sequence[Taken], window: timedelta, first: bool
) -> tuple[Any, TrainingRun]:
    """A pipeline fitted on the newest `window` of what was seen."""
    from trimtab.serving.assembly import assemble, fit

    data, training = model.spec.data, model.spec.training
    rows = combine([batch.rows for batch in seen], data)
    until: Any = rows[data.timestamp].max()
    rows = rows.filter(rows[data.timestamp] > until - window)
    schema = table.schema_columns(data)
    pipeline = assemble(schema, estimator(), training.input)
    labels = table.labels(table.truth(rows, data), table.classes(data))
    began = time.perf_counter()
    fit(pipeline, table.to_columns(rows, schema), labels, training.threads)
    seconds = time.perf_counter() - began
    run = TrainingRun(
        at=until,
        reason="once" if first else "always",
        why=f"{rows.height:,} rows",
        outcome="champion",
        seconds=seconds,
    )
    return pipeline, run


def _predict(model: ContinuousModel, fitted: Any, rows: pl.DataFrame) -> Prediction:
    from trimtab.serving.predict import predict

    data = model.spec.data
    return predict(fitted, table.to_columns(rows, table.schema_columns(data)), table.classes(data))


def _last_week(model: ContinuousModel, taken: Sequence[Taken], step: Step) -> PolicyResult:
    data, metric = model.spec.data, METRICS[model.spec.evaluation.primary]
    known_times = np.concatenate([_times(batch.rows, data.timestamp) for batch in taken])
    known = np.concatenate([table.truth(batch.rows, data) for batch in taken])
    scores = []
    for batch in taken:
        if batch.judged.height:
            times = _times(batch.judged, data.timestamp)
            # Later rows are never looked up: the forecast looks back only.
            forecast = same_hour_last_week(times, known_times, known)
            scores.append(_score(model, metric, batch, Prediction(np.nan_to_num(forecast, nan=float(known[0])))))
        step()
    return PolicyResult(name="lastWeek", title="same hour last week", what=LAST_WEEK, batches=tuple(scores))


def _times(rows: pl.DataFrame, timestamp: str) -> Any:
    return rows[timestamp].dt.replace_time_zone(None).to_numpy()


def _score(model: ContinuousModel, metric: Metric, batch: Taken, prediction: Prediction) -> BatchScore:
    y = table.truth(batch.judged, model.spec.data)
    times: Any = batch.judged[model.spec.data.timestamp]
    numerator, denominator = metric.fraction(y, prediction)
    return BatchScore(
        start=times.min(),
        end=times.max(),
        rows=len(y),
        value=metric.compute(y, prediction),
        numerator=numerator,
        denominator=denominator,
    )
