"""Judging the candidate and, once it is accepted, fitting the same recipe on all the rows: pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from sklearn.base import clone

from trimtab.adapters import columns as tables
from trimtab.adapters.judging import judge
from trimtab.adapters.models import Champion
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.evaluation import Evaluation
from trimtab.core.serving_check import ServingCheck
from trimtab.core.spec.model import ContinuousModel, Data
from trimtab.core.window import TrainingWindow
from trimtab.serving import assembly


@dataclass(frozen=True)
class Assessment:
    """
    What became of a candidate.

    Attributes:
        evaluation: How it was judged.
        pipeline: What is to serve: the refitted one, the candidate itself without a refit, None if rejected.
        learned: The rows that `pipeline` learned from; empty if rejected.
        seconds: Wall seconds of the refit alone.
        fits: 1 with a refit, else 0.
    """

    evaluation: Evaluation
    pipeline: Any
    learned: pl.DataFrame
    seconds: float
    fits: int


def assess(
    rows: pl.DataFrame, model: ContinuousModel, window: TrainingWindow, candidate: Any, champion: Champion | None
) -> Assessment:
    """
    Judge the candidate on the holdout, beside the champion; if it is accepted, refit it on window and holdout.

    Args:
        rows: Of the dataset, in order of event time, from the window's start to its end.
        model: The spec.
        window: As select_window chose it.
        candidate: The pipeline that was fitted up to the cut.
        champion: Which serves now, or None.

    Raises:
        Invalid: If the candidate cannot be judged by the spec's metrics, or the refit fails.
    """
    evaluation = judge(rows, model, window, candidate, champion)
    data, evaluated = model.spec.data, model.spec.evaluation
    if not evaluation.accepted:
        return Assessment(evaluation, None, rows.clear(), 0.0, 0)
    until = window.end if evaluated.refit else window.cut
    when = pl.col(data.timestamp)
    learned = tables.labelled(rows.filter((when >= window.start) & (when < until)), data)
    if not evaluated.refit:
        return Assessment(evaluation, candidate, learned, 0.0, 0)
    began = time.perf_counter()
    refitted = _refit(candidate, learned, model)
    return Assessment(evaluation, refitted, learned, time.perf_counter() - began, 1)


def _refit(candidate: Any, rows: pl.DataFrame, model: ContinuousModel) -> Any:
    data, training = model.spec.data, model.spec.training
    target = tables.labels(tables.truth(rows, data), tables.classes(data))
    columns = tables.to_columns(rows, tables.schema_columns(data))
    try:
        return assembly.fit(clone(candidate), columns, target, training.threads)
    except (TrimtabError, MemoryError):
        raise
    except Exception as error:
        raise Invalid(
            f"{training.estimator} failed in the refit on {rows.height} rows: {type(error).__name__}: {error}",
            "the candidate could be fitted without the holdout: look at the newest rows, or write refit: false",
        ) from error


def held_back(rows: pl.DataFrame, window: TrainingWindow, data: Data) -> pl.DataFrame:
    """The rows of the holdout, labelled or not: what the candidate had not learned."""
    return rows.filter((pl.col(data.timestamp) >= window.cut) & (pl.col(data.timestamp) < window.end))


def checked(found: Assessment, check: ServingCheck) -> Assessment:
    """The assessment after the serving check: one that cannot serve is rejected, whatever it can predict."""
    evaluation = found.evaluation.model_copy(update={"serving": check})
    if check.passed:
        return replace(found, evaluation=evaluation)
    evaluation = evaluation.model_copy(update={"state": "rejected", "reason": check.problem})
    return replace(found, evaluation=evaluation, pipeline=None, learned=found.learned.clear())


def conclusion(found: Assessment, artifact: str, reference: str, data: Data) -> dict[str, Any]:
    """
    What the step keeps.

    Args:
        found: The assessment.
        artifact: Digest of what is to serve; of the candidate, if it was rejected.
        reference: Digest of the profile of what it learned; empty if it was rejected.
        data: The spec's.
    """
    times = found.learned[data.timestamp]
    learned = {} if times.is_empty() else {"from": times[0].isoformat(), "until": times[-1].isoformat()}
    return {
        "evaluation": found.evaluation.model_dump(mode="json", by_alias=True),
        "artifact": artifact,
        "reference": reference,
        "learned": {"rows": len(times), **learned},
        "seconds": found.seconds,
        "fits": found.fits,
    }
