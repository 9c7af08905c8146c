"""Registered versions as a run's last steps leave them, without a run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression

from trimtab.adapters import columns as tables
from trimtab.adapters.models import store_artifact
from trimtab.adapters.state import State
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.spec.model import ContinuousModel
from trimtab.serving import assembly


def version_of(number: int, now: datetime, **changed: Any) -> ModelVersion:
    """A version that nobody can load, trained until the day before."""
    values: dict[str, Any] = {
        "number": number,
        "run_key": f"run {number}",
        "artifact": "a" * 64,
        "evaluated_artifact": "a" * 64,
        "dataset": "d",
        "training_digest": "t",
        "spec": "s",
        "trained_from": now - timedelta(days=9),
        "trained_until": now - timedelta(days=1),
        "rows": 100,
        "estimator": "sklearn.linear_model:LogisticRegression",
        "seed": 0,
        "metrics": {},
        "evaluation": {},
        "reference": "",
        "lineage": {},
        "training_seconds": 1.0,
        "fits": 2,
        "recorded_at": now,
    }
    return ModelVersion(**(values | changed))


def register(state: State, alias: str, now: datetime, **changed: Any) -> ModelVersion:
    """Another version, made by a run of its own, under an alias; with these fields instead of `version_of`'s."""
    made = state.registry.add_version(lambda number: version_of(number, now, **changed))

    def moved(before: Manifest | None) -> Manifest:
        first = Manifest(number=0, champion=None, challenger=None, previous=None, cause="", recorded_at=now)
        found = before or first
        update: dict[str, Any] = {alias: made.number, "cause": f"run {made.number}", "recorded_at": now}
        if alias == "champion":
            update["previous"] = found.champion
        return found.model_copy(update=update)

    state.registry.publish(moved)
    return made


def register_line(state: State, model: ContinuousModel, slope: float, learned: datetime) -> ModelVersion:
    """
    A version that says `slope` times the heat.

    Args:
        learned: The newest row that it learned.
    """
    pipeline = assembly.assemble(tables.schema_columns(model.spec.data), LinearRegression(), "matrix")
    heat = np.linspace(0, 10, 20)
    assembly.fit(pipeline, {"heat": heat}, slope * heat, 1)
    digest = store_artifact(state, pipeline)

    def build(number: int) -> ModelVersion:
        return version_of(
            number,
            learned,
            run_key=f"run-{slope}-{learned}",
            artifact=digest,
            evaluated_artifact=digest,
            trained_from=learned - timedelta(days=10),
            trained_until=learned,
            estimator="sklearn.linear_model:LinearRegression",
        )

    return state.registry.add_version(build)
