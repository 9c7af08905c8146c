"""A candidate and the champion on the rows that neither has learned: predictions, and what core.evaluation says."""

from __future__ import annotations

from typing import Any

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters.models import Champion, predict_rows
from trimtab.core.errors import Invalid
from trimtab.core.evaluation import Evaluation, Holdout, Rival, evaluate
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.model import Evaluation as Policy
from trimtab.core.window import TrainingWindow


def judge(
    rows: pl.DataFrame, model: ContinuousModel, window: TrainingWindow, candidate: Any, champion: Champion | None
) -> Evaluation:
    """
    Judge a candidate on the holdout of its window.

    Args:
        rows: Of the dataset; only labelled ones from the cut on are looked at.
        model: The spec.
        window: The candidate's.
        candidate: Its fitted pipeline.
        champion: Which serves now, or None.

    Raises:
        Invalid: If the candidate cannot predict the holdout or gives no scores that a metric needs.
    """
    data, policy = model.spec.data, model.spec.evaluation
    time = pl.col(data.timestamp)
    held_out = tables.labelled(rows.filter((time >= window.cut) & (time < window.end)), data)
    holdout = Holdout(
        y=tables.truth(held_out, data),
        times=held_out[data.timestamp].dt.epoch("us").to_numpy(),
        start=window.cut,
        end=window.end,
        slices={name: tables.slice_values(held_out, name, data.described[name]) for name in policy.slices},
        classes=tables.classes(data),
    )
    return evaluate(
        holdout,
        predict_rows(candidate, held_out, data),
        None if champion is None else _rival(champion, held_out, model),
        _with_watched(model),
        immediate=model.spec.rollout.strategy == "immediate",
        seed=model.spec.training.seed,
    )


def _with_watched(model: ContinuousModel) -> Policy:
    """The evaluation's policy; the metric that the performance trigger watches is computed too, to drop from."""
    policy, watched = model.spec.evaluation, model.spec.triggers.performance
    if watched is None or watched.metric in policy.reported:
        return policy
    return policy.model_copy(update={"metrics": (*policy.reported, watched.metric)})


def _rival(champion: Champion, rows: pl.DataFrame, model: ContinuousModel) -> Rival:
    version = champion.version
    try:
        prediction, note = champion.predict(rows, model.spec.data), ""
    except Invalid as error:
        # The schema changed since, and what it needs is no longer in the rows; or it cannot be loaded any more.
        prediction, note = None, error.message
    return Rival(version.number, version.trained_until, prediction, note)
