"""What a ModelRollout without a model asks for, read from its object: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trimtab.adapters.kubernetes.api import Object
from trimtab.core.errors import Invalid
from trimtab.core.spec.model_rollout import ModelRollout
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
    try:
        found = ModelRollout.model_validate(written, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{path}: {first['msg']}", "kubectl explain modelrollout.spec describes the fields") from None
    problem = _problem(found)
    if problem:
        raise Invalid(*problem)
    return found


def _problem(found: ModelRollout) -> tuple[str, str] | None:
    spec = found.spec
    if spec.model is not None:
        # One that trimtab made has the model's controller as its owner, and never comes here.
        return (
            f"found model: {spec.model}; rollouts of a model's versions are made by its runs",
            f"kubectl trimtab rollback {spec.model} --to vN makes a registered version champion",
        )
    if spec.strategy == "immediate" or not spec.steps:
        return "found no steps; a rollout without a model needs one at least", "write steps: [{setWeight: 10}]"
    if any(step.shadow is not None for step in spec.steps):
        # Mirrored answers are counted by trimtab's own model server, which these predictors need not be.
        return (
            "found a shadow step; mirrored requests are counted by the prediction log, which only models have",
            "begin with a small setWeight instead",
        )
    predictor = spec.target.challenger.predictor if spec.target.challenger else {}
    name = predictor.get("name")
    if not isinstance(name, str) or not name:
        return "found no spec.target.challenger.predictor.name", "name the challenger's predictor"
    if name == spec.target.champion:
        return f"found {name} as champion and as challenger", "give the challenger a name of its own"
    return None


def names_of(resource: Object) -> Mapping[int, str]:
    """The predictors' names, by version."""
    target: dict[str, Any] = resource["spec"]["target"]
    return {CHAMPION: target["champion"], CHALLENGER: target["challenger"]["predictor"]["name"]}


def policy_of(request: ModelRollout) -> dict[str, Any]:
    """The rollout section that it stands for, as in YAML."""
    names = set(Rollout.model_fields)
    return request.spec.model_dump(mode="json", by_alias=True, include=names)
