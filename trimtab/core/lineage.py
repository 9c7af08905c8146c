"""Where a model version comes from: everything that is needed to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trimtab.core.evaluation import Evaluation
from trimtab.core.records import DatasetVersion, Decision, ModelVersion
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.window import TrainingWindow


def version_of_run(
    number: int,
    model: ContinuousModel,
    decision: Decision,
    window: TrainingWindow,
    trained: Mapping[str, Any],
    judged: Mapping[str, Any],
    evaluation: Evaluation,
    *,
    dataset: DatasetVersion,
    code: str,
    packages: Mapping[str, str],
    recorded_at: datetime,
) -> ModelVersion:
    """
    The version that a run registers, without its card.

    Args:
        number: Which it gets.
        model: The spec.
        decision: What the run executes.
        window: What select_window concluded.
        trained: What train concluded.
        judged: What evaluate concluded.
        evaluation: The one that counts: evaluate's, or a later one beside another champion.
        dataset: The version of the dataset.
        code: Digest of the user's own module, empty for scikit-learn's estimators.
        packages: Versions by package, Python's included.
        recorded_at: Wall clock.
    """
    learned = judged["learned"]
    return ModelVersion(
        number=number,
        run_key=decision.run_key,
        artifact=judged["artifact"],
        evaluated_artifact=trained["artifact"],
        dataset=decision.dataset,
        training_digest=decision.training_digest,
        spec=decision.spec,
        trained_from=datetime.fromisoformat(learned["from"]),
        trained_until=datetime.fromisoformat(learned["until"]),
        rows=learned["rows"],
        estimator=model.spec.training.estimator,
        seed=model.spec.training.seed,
        metrics={name: value.point for name, value in evaluation.candidate.items() if value.point is not None},
        evaluation=evaluation.model_dump(mode="json", by_alias=True),
        reference=judged["reference"],
        lineage={
            "decision": decision.number,
            "reason": decision.reason,
            "decidedAt": decision.decided_at.isoformat(),
            "entries": list(decision.entries),
            "partitions": [partition.id for partition in dataset.partitions],
            "window": window.model_dump(mode="json", by_alias=True),
            "parameters": model.spec.training.parameters,
            "code": code,
            "packages": dict(packages),
        },
        training_seconds=trained["seconds"] + judged["seconds"],
        fits=trained["fits"] + judged["fits"],
        recorded_at=recorded_at,
    )
