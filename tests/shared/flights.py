"""Model `flights` in a cluster, whose versions are rolled out."""

from __future__ import annotations

from typing import Any

from trimtab.adapters.kubernetes.kinds import MODEL

Object = dict[str, Any]
STEPS = [{"setWeight": 10, "minRequests": 20}, {"setWeight": 50, "minRequests": 40}]


def continuous_model(namespace: str, rollout: Object) -> Object:
    """The ContinuousModel, with this rollout section."""
    spec = {
        "data": {
            "source": "s3://landing/in/",
            "format": "csv",
            "timestamp": "ts",
            "target": "late",
            "schema": {"heat": {"type": "float"}, "late": {"type": "boolean"}},
        },
        "training": {"estimator": "sklearn.linear_model:LogisticRegression"},
        "evaluation": {"primary": "log_loss", "maxLatencyP99Milliseconds": 50},
        "rollout": rollout,
    }
    meta = {"name": "flights", "namespace": namespace}
    return {"apiVersion": MODEL.api_version, "kind": MODEL.name, "metadata": meta, "spec": spec}
