"""What a version is held to: its own evaluation, and how hard the rows of that evaluation were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters.judged import HISTORY, event_micros
from trimtab.adapters.rows import load_rows
from trimtab.core.errors import Invalid
from trimtab.core.evaluation import Evaluation
from trimtab.core.monitor.naive import naive
from trimtab.core.monitor.performance import Yardstick

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.metrics import Metric
    from trimtab.core.records import ModelVersion
    from trimtab.core.spec.model import Data


def yardstick_of(state: State, version: ModelVersion, metric: Metric, data: Data) -> Yardstick:
    """
    The metric in a version's own evaluation, and the naive baseline's on the same rows.

    None for what is not known: the evaluation did not compute the metric, or its rows were read by another schema.

    Raises:
        Unavailable: If the store does not answer.
    """
    if not version.evaluation:
        return Yardstick()
    evaluation = Evaluation.model_validate(version.evaluation)
    own = evaluation.candidate.get(metric.name)
    try:
        baseline = _naive_on(state, version, evaluation, metric, data)
    except (Invalid, pl.exceptions.PolarsError):
        baseline = None
    return Yardstick(own.point if own else None, baseline)


def _naive_on(state: State, version: ModelVersion, evaluation: Evaluation, metric: Metric, data: Data) -> float | None:
    start, end = evaluation.holdout_start, evaluation.holdout_end
    dataset = state.data.dataset(version.dataset)
    rows = load_rows(state, dataset, data, start - HISTORY, end, columns=(data.timestamp, data.target))
    rows = tables.labelled(rows, data)
    times, y = event_micros(rows[data.timestamp]), tables.truth(rows, data)
    held_out = times >= int(start.timestamp() * 1e6)
    said = naive(times[held_out], times, y, len(tables.classes(data)))
    if said is None:
        return None
    says = ~np.isnan(said.values)
    value = metric.compute(y[held_out][says], said.rows(says))
    return float(value) if np.isfinite(value) else None
