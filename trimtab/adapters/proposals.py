"""Proposing the rollout of a registered challenger: by the run that made it, or by the controller where that died."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.core.records import ModelVersion
from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec.model import ContinuousModel

LOSS_QUANTILE = 0.99  # of the absolute target: an error as large as that is a whole loss
JUST_AFTER = timedelta(microseconds=1)  # an end is exclusive, and the newest row belongs to the reference


def propose(
    state: State,
    model: ContinuousModel,
    version: ModelVersion,
    champion: int,
    cause: str,
    now: Callable[[], datetime] = wall_clock,
) -> RolloutSpec:
    """
    The rollout of `version` beside `champion`; the one that stands already, where it was proposed before.

    Args:
        model: The spec: what decides is copied from it, so that an edit meanwhile changes the next rollout only.
        cause: Why there is one, in a sentence.

    Raises:
        NotFound: If the rows that the version learned are gone: of a regression, the loss is measured on their scale.
    """
    for earlier in state.rollouts.all():
        if (earlier.run_key, earlier.version, earlier.champion) == (version.run_key, version.number, champion):
            return earlier
    labels = model.spec.data.labels
    return state.rollouts.propose(
        RolloutSpec(
            number=0,
            name="",
            model=model.name,
            version=version.number,
            champion=champion,
            rollout=model.spec.rollout.model_dump(mode="json", by_alias=True),
            max_latency_milliseconds=model.spec.evaluation.max_latency_p99_milliseconds,
            loss_scale=loss_scale(state, model, version),
            maturity_seconds=labels.maturity.total_seconds(),
            depend_on_prediction=labels.depend_on_prediction,
            run_key=version.run_key,
            cause=cause,
            recorded_at=now(),
        )
    )


def loss_scale(state: State, model: ContinuousModel, version: ModelVersion) -> float:
    """
    The absolute error that counts as loss 1: the 99th percentile of the absolute target that the version learned.

    1 for classes, whose loss is 0 or 1, and for a target that is always 0.
    """
    data = model.spec.data
    if data.task == "classification":
        return 1.0
    # Only a regression needs the rows, and with them polars.
    import polars as pl

    from trimtab.adapters.rows import load_rows

    learned = (version.trained_from, version.trained_until + JUST_AFTER)
    target = load_rows(state, state.data.dataset(version.dataset), data, *learned, columns=[data.target])[data.target]
    scale = target.cast(pl.Float64).drop_nulls().drop_nans().abs().quantile(LOSS_QUANTILE, "linear")
    return float(scale) if scale else 1.0
