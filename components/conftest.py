"""What the steps' own tests share: a small spec, rows that fit it, and a state in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.window import TrainingWindow

START = datetime(2012, 1, 1, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "x": {"type": "float"},
    "kind": {"type": "category", "values": ["a", "b", "c"]},
    "late": {"type": "boolean"},
    "cost": {"type": "float"},
}


@pytest.fixture
def make_model() -> Callable[..., ContinuousModel]:
    """A spec for `make_rows`: a regression on `cost`, or with `target="late"` a classification."""

    def make(target: str = "cost", **sections: dict[str, Any]) -> ContinuousModel:
        numbers = target == "cost"
        kind = "Regressor" if numbers else "Classifier"
        spec: dict[str, Any] = {
            "data": {
                "source": "s3://landing/rows/",
                "format": "csv",
                "timestamp": "ts",
                "target": target,
                "exclude": ["late"] if numbers else ["cost"],
                "schema": COLUMNS,
            },
            "window": {"minRows": 100},
            "training": {
                "estimator": f"sklearn.ensemble:HistGradientBoosting{kind}",
                "parameters": {"max_iter": 20},
                "seed": 3,
            },
            "evaluation": {"primary": "mean_absolute_error" if numbers else "roc_auc"},
        }
        for name, section in sections.items():
            spec[name] = spec.get(name, {}) | section
        document = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ContinuousModel",
            "metadata": {"name": "costs"},
            "spec": spec,
        }
        return ContinuousModel.model_validate(document, by_alias=True, by_name=False)

    return make


@pytest.fixture
def make_rows() -> Callable[..., pl.DataFrame]:
    """Hourly rows; `cost` follows x, kind and `shift`, `late` is whether it is above 1."""

    def make(days: int, start: datetime = START, seed: int = 0, shift: float = 0.0, noise: float = 0.1) -> pl.DataFrame:
        random, hours = np.random.default_rng(seed), days * 24
        x, kind = random.normal(size=hours), random.choice(["a", "b", "c"], hours)
        cost = x + 2 * (kind == "a") + shift + noise * random.normal(size=hours)
        return pl.DataFrame(
            {
                "ts": [start + timedelta(hours=hour) for hour in range(hours)],
                "x": x,
                "kind": kind.astype(str),
                "late": cost > 1,
                "cost": cost,
            },
            schema_overrides={"ts": pl.Datetime("us", "UTC"), "kind": pl.String},
        )

    return make


@pytest.fixture
def state(tmp_path: Path) -> State:
    """An empty state in memory."""
    return State.open(MemoryBuckets(), "s3://state/default", "costs", tmp_path / "cache")


@pytest.fixture
def choose() -> Callable[..., TrainingWindow]:
    """The window of some rows by a spec; steps' tests may use another step, steps may not."""
    from trimtab.components.select_window.window import select

    return lambda rows, model: select(rows, model, "d1")


@pytest.fixture
def train(choose: Callable[..., TrainingWindow]) -> Callable[..., tuple[TrainingWindow, Any]]:
    """Window and fitted pipeline of some rows by a spec."""
    from trimtab.adapters import estimators
    from trimtab.components.train.training import fit

    def fitted(rows: pl.DataFrame, model: ContinuousModel) -> tuple[TrainingWindow, Any]:
        window = choose(rows, model)
        return window, fit(rows, model, window, estimators.build(model.spec.training, "")).pipeline

    return fitted
