"""Digests of what a spec asks for: of its data, which names partitions, and of its recipe, which starts runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from trimtab.core.records import digest
from trimtab.core.spec.model import ContinuousModel

# What a partition's rows depend on. The source is outside: the same file under another prefix has the same rows.
DATA_FIELDS = ("format", "timestamp", "key", "target", "exclude", "schema", "quality")
EVALUATION_FIELDS = ("holdout", "refit", "primary")


def data_digest(model: ContinuousModel) -> str:
    """
    SHA-256 over what decides which rows of a file are valid and how they are kept.

    Raises:
        Invalid: If the schema stands behind `schemaRef` and has not been read yet.
    """
    return digest("data", _data(model))


def partition_id(sha256: str, model: ContinuousModel) -> str:
    """Names the rows of a file with this SHA-256 under this spec, wherever it is uploaded."""
    return digest(sha256, data_digest(model))


def training_digest(model: ContinuousModel, code: str, sklearn_version: str) -> str:
    """
    SHA-256 over the recipe: equal recipes on equal data give equal models, so a changed one starts a run.

    Triggers, rollout, alerts, resources and trimtab's own version are outside it.

    Args:
        model: The spec.
        code: Digest of the user's own estimator module, empty for scikit-learn's own.
        sklearn_version: As `sklearn.__version__`.

    Raises:
        Invalid: If the schema stands behind `schemaRef` and has not been read yet.
    """
    spec = model.spec
    training = _chosen(spec.training)
    training.pop("resources", None)
    evaluation = _chosen(spec.evaluation)
    return digest(
        "training",
        _data(model),
        _chosen(spec.window),
        training,
        {name: evaluation.get(name) for name in EVALUATION_FIELDS},
        code,
        sklearn_version,
    )


def _data(model: ContinuousModel) -> dict[str, Any]:
    data = _chosen(model.spec.data)
    data["schema"] = {name: _chosen(column) for name, column in model.spec.data.described.items()}
    return {name: data.get(name) for name in DATA_FIELDS}


def _chosen(section: BaseModel) -> dict[str, Any]:
    """What differs from the defaults: a field that a later trimtab adds must not retrain every model."""
    return section.model_dump(mode="json", by_alias=True, exclude_defaults=True)
