"""The model card as plain values: what a version is, how well it does, where it comes from."""

from __future__ import annotations

from typing import Any

from trimtab.core.evaluation import Evaluation
from trimtab.core.records import ModelVersion


def describe(model: str, version: ModelVersion) -> dict[str, Any]:
    """
    The card of a version, for JSON.

    Intervals stand as `{point, low, high}` in each metric's own unit; times are ISO 8601 in UTC.
    """
    evaluation = Evaluation.model_validate(version.evaluation)
    window = version.lineage["window"]
    return {
        "name": f"{model}/v{version.number}",
        "model": model,
        "version": version.number,
        "estimator": version.estimator,
        "parameters": version.lineage["parameters"],
        "seed": version.seed,
        "evaluation": evaluation.model_dump(mode="json", by_alias=True),
        "data": {
            "trainedFrom": version.trained_from.isoformat(),
            "trainedUntil": version.trained_until.isoformat(),
            "rows": version.rows,
            "window": window["why"],
            "judgedFrom": window["cut"],
            "judgedUntil": window["end"],
            "dataset": version.dataset,
            "partitions": version.lineage["partitions"],
            "classShares": window["classShares"],
            "reference": version.reference,
        },
        "training": {
            "reason": version.lineage["reason"],
            "decision": version.lineage["decision"],
            "decidedAt": version.lineage["decidedAt"],
            "seconds": version.training_seconds,
            "fits": version.fits,
        },
        "digests": {
            "artifact": version.artifact,
            "evaluatedArtifact": version.evaluated_artifact,
            "training": version.training_digest,
            "spec": version.spec,
            "code": version.lineage["code"],
            "run": version.run_key,
        },
        "packages": version.lineage["packages"],
    }
