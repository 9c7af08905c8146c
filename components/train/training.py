"""Fitting the candidate: pure, from rows and the spec to one fitted pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.window import TrainingWindow
from trimtab.serving import assembly


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline; `seconds` are wall seconds of the fit alone, `rows` those it learned from."""

    pipeline: Any
    rows: int
    seconds: float


def fit(rows: pl.DataFrame, model: ContinuousModel, window: TrainingWindow, estimator: Any) -> Fitted:
    """
    Fit the spec's estimator on the window, up to its cut.

    Args:
        rows: Of the dataset, in order of event time; rows outside the window and unlabelled ones are left out.
        model: The spec.
        window: As select_window chose it.
        estimator: As `adapters.estimators.build` gives it, unfitted.

    Raises:
        Invalid: If there is no row, or the estimator refuses them: what it said, and how many rows it was given.
    """
    data, training = model.spec.data, model.spec.training
    when = pl.col(data.timestamp)
    learned = tables.labelled(rows.filter((when >= window.start) & (when < window.cut)), data)
    if learned.is_empty():
        raise Invalid(f"found no labelled row from {window.start:%Y-%m-%d} to {window.cut:%Y-%m-%d}")
    columns = tables.schema_columns(data)
    pipeline = assembly.assemble(columns, estimator, training.input)
    target = tables.labels(tables.truth(learned, data), tables.classes(data))
    began = time.perf_counter()
    try:
        assembly.fit(pipeline, tables.to_columns(learned, columns), target, training.threads)
    except (TrimtabError, MemoryError):
        raise
    except Exception as error:
        raise Invalid(
            f"{training.estimator} failed on {learned.height} rows: {type(error).__name__}: {error}",
            "look at training.parameters and at the columns' types; `trimtab backtest` tries the same without a run",
        ) from error
    return Fitted(pipeline, learned.height, time.perf_counter() - began)
