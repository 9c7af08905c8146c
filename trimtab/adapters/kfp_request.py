"""The request that starts one training run in KFP: its pipeline, its parameters, and the experiment it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimtab.adapters.kfp_rest import NAME_CHARACTERS, Json
from trimtab.adapters.kfp_spec import furnished
from trimtab.core.errors import Invalid
from trimtab.core.ports import RunRequest
from trimtab.core.spec.in_cluster import refuse_resources

if TYPE_CHECKING:
    from trimtab.adapters.kfp_api import Kfp


def run_body(
    kfp: Kfp, namespace: str, model: str, image: str, resources: Mapping[str, Any], request: RunRequest
) -> Json:
    """
    The body of the POST.

    Args:
        namespace: Of the ContinuousModel.
        image: Of the steps, unless the request names one.
        resources: Of the steps that fit, as in a Pod.

    Raises:
        Unavailable: If KFP does not answer.
        Invalid: If there is no such pipeline, or it cannot be given these resources.
    """
    place = kfp.place(namespace)
    parameters: Json = {
        "model": request.model,
        "spec": request.spec,
        "state": request.state,
        "objects": list(request.objects),
        "reason": request.reason,
        "run_key": request.run_key,
    }
    if image := request.image or image:
        parameters["image"] = image
    return {
        "run_id": request.run_id,
        "display_name": f"{request.model} {request.reason} {request.run_key[:8]}"[:NAME_CHARACTERS],
        "experiment_id": experiment(kfp, namespace, model),
        **_pipeline(kfp, place, resources),
        "runtime_config": {"parameters": parameters},
        **({"service_account": kfp.service_account} if kfp.service_account else {}),
    }


def _pipeline(kfp: Kfp, place: str, resources: Mapping[str, Any]) -> Json:
    """The pipeline itself, furnished for this model, or the reference to what stands in KFP."""
    if not kfp.version:
        return {"pipeline_spec": furnished(kfp.pipeline, kfp.secret, kfp.environment, resources).body()}
    refuse_resources(resources, kfp.version)
    return {"pipeline_version_reference": kfp.service.pipeline_version(kfp.version, place)}


def experiment(kfp: Kfp, namespace: str, model: str) -> str:
    """The id of the model's own, made if need be: its runs stand together in KFP's pages."""
    place = kfp.place(namespace)
    name = model if place == namespace else f"{namespace}.{model}"
    known = kfp.experiments.get((place, name))
    if known is None:
        service = kfp.service
        known = service.experiment(name, place)
        if known is None:
            try:
                known = service.create_experiment(name, place)
            except Invalid:
                known = service.experiment(name, place)  # another made it in this moment
                if known is None:
                    raise
        kfp.experiments[place, name] = known
    return known
