"""What a ModelRollout without a model asks for, read from its object: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.adapters.kubernetes.api import Object
from trimtab.core.errors import Invalid
from trimtab.core.spec.document import Document
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.parse import rollout_from_document
from trimtab.core.spec.rollout import Rollout

CHAMPION, CHALLENGER = 1, 2  # the two predictors as versions


def request_of(resource: Object) -> ModelRollout:
    """
    The request.

    Raises:
        Invalid: If it is none, or one that cannot be led.
    """
    meta = resource["metadata"]
    written = {
        "apiVersion": resource.get("apiVersion"),
        "kind": resource.get("kind"),
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": resource.get("spec"),
    }
    found = rollout_from_document(Document(written, {}), f"{meta['namespace']}/{meta['name']}")
    if found.spec.model is not None:
        # One that trimtab made has the model's controller as its owner, and never comes here.
        model = found.spec.model
        raise Invalid(
            f"found model: {model}; rollouts of a model's versions are made by its runs",
            f"kubectl trimtab rollback {model} --to vN makes a registered version champion",
        )
    return found


def names_of(resource: Object) -> Mapping[int, str]:
    """The predictors' names, by version."""
    target: dict[str, Any] = resource["spec"]["target"]
    return {CHAMPION: target["champion"], CHALLENGER: target["challenger"]["predictor"]["name"]}


def policy_of(request: ModelRollout) -> dict[str, Any]:
    """The rollout section that it stands for, as in YAML."""
    names = set(Rollout.model_fields)
    return request.spec.model_dump(mode="json", by_alias=True, include=names)
