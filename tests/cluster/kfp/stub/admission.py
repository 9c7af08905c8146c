"""The two webhooks of the Kubernetes store, on AdmissionReviews as the API server sends them."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING

from messages import Json
from templates import fault

from pipelines import LABEL

if TYPE_CHECKING:
    from world import World

INVALID = "The pipeline spec is invalid: failed to parse: no pipeline spec is provided: pipeline spec is invalid"


def validate(world: World, review: Json) -> Json:
    request = review["request"]
    message = _wrong(world, request["object"], request.get("oldObject"))
    response: Json = {"uid": request["uid"], "allowed": not message}
    if message:
        response["status"] = {"code": 400, "reason": "BadRequest", "message": message}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def mutate(world: World, review: Json) -> Json:
    request = review["request"]
    version = request["object"]
    response: Json = {"uid": request["uid"], "allowed": True}
    pipeline = _pipeline(world, version)
    if isinstance(pipeline, str):
        response |= {"allowed": False, "status": {"code": 400, "reason": "BadRequest", "message": pipeline}}
    else:
        changed = _owned(version, pipeline)
        patch = [{"op": "add", "path": "/metadata", "value": changed["metadata"]}]
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _owned(version: Json, pipeline: Json) -> Json:
    changed, meta = copy.deepcopy(version), pipeline["metadata"]
    labels = changed["metadata"].setdefault("labels", {})
    labels |= {f"{LABEL}/pipeline": meta["name"], f"{LABEL}/pipeline-id": meta["uid"]}
    changed["metadata"]["ownerReferences"] = [
        {
            "apiVersion": f"{LABEL}/v2beta1",
            "kind": "Pipeline",
            "name": meta["name"],
            "uid": meta["uid"],
            "blockOwnerDeletion": True,
        }
    ]
    return changed


def _pipeline(world: World, version: Json) -> Json | str:
    """The Pipeline that a version names, or why there is none."""
    namespace, name = version["metadata"].get("namespace", ""), version.get("spec", {}).get("pipelineName", "")
    if not name:
        return f"Failed to get the Pipeline {namespace}/: resource name may not be empty"
    for each in world.kube.objects("pipelines", namespace):
        if each["metadata"]["name"] == name:
            return each
    return "The spec.pipelineName doesn't map to an existing Pipeline object"


def _wrong(world: World, version: Json, old: Json | None) -> str:
    """What the validating webhook says against it, empty when nothing."""
    spec = version.get("spec", {})
    if old:
        fixed = ("description", "pipelineSpec", "pipelineName", "platformSpec")
        if any(spec.get(name) != old.get("spec", {}).get(name) for name in fixed):
            return "Pipeline spec is immutable; only mutable fields (display_name, tags) can be updated"
        return ""
    pipeline = _pipeline(world, version)
    if isinstance(pipeline, str):
        return pipeline
    wrong = fault(spec.get("pipelineSpec"))
    if "unknown template format" in wrong:
        return INVALID
    if "only supports schema version" in wrong:
        return f"The pipeline spec is invalid: {wrong.replace('Invalid input error: ', '')}"
    return wrong
