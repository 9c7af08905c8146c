"""ContinuousModels as the API server holds them, and the models that they say."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.specs import Connect, read
from trimtab.core.spec.document import Document
from trimtab.core.spec.dump import dump
from trimtab.core.spec.in_cluster import refuse_sources
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import from_document

PREFIX = "trimtab.dev/"
ARRIVED = f"{PREFIX}arrived"  # annotation: the listener took something in
MEASURED = f"{PREFIX}measured"  # annotation: the monitor measured something that decisions are made from
ROLLBACK_TO = f"{PREFIX}rollback-to"  # annotation: people ask for this version back
MANAGER = "trimtab-controller"  # field manager of what the controller writes
Key = tuple[str, str]  # namespace and name


def key_of(resource: Object) -> Key:
    """Namespace and name."""
    meta = resource["metadata"]
    return meta["namespace"], meta["name"]


def model_of(resource: Object) -> ContinuousModel:
    """
    The model that a ContinuousModel says: what people wrote, without what the server and other tools keep beside it.

    Labels and annotations are left out, so that a touched object is the same model, with the same text.

    Raises:
        Invalid: With every problem, as `trimtab check` tells it.
    """
    meta = resource["metadata"]
    written = {
        "apiVersion": resource.get("apiVersion"),
        "kind": resource.get("kind"),
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": resource.get("spec"),
    }
    return from_document(Document(written, {}), f"{meta['namespace']}/{meta['name']}")


def spec_text(model: ContinuousModel) -> str:
    """The spec as text, as the state keeps it and a run is started with it; equal for equal models."""
    return dump(model)


def resolved(resource: Object, connect: Connect, settings: ClusterSettings) -> tuple[str, ContinuousModel]:
    """
    The spec's text and the model, with the columns of its `schemaRef` in place.

    Raises:
        Invalid: If the spec or its schema is wrong, there is no schema at the address, or it names what models of its
            namespace may not read.
        Unavailable: If the schema's store does not answer.
    """
    model = model_of(resource)
    refuse_sources(model, key_of(resource)[0], settings.state_bucket, settings.sources)
    text = spec_text(model)
    return (text, model) if model.spec.data.schema_ref is None else read(text, connect, model.name)


def annotations_of(resource: Object) -> Mapping[str, str]:
    return resource["metadata"].get("annotations") or {}


def accepted(resource: Object) -> bool:
    """Whether the controller has accepted the spec as it stands now: before that, nothing acts on it."""
    status = resource.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Accepted":
            current = condition.get("observedGeneration") == resource["metadata"].get("generation")
            return bool(condition.get("status") == "True" and current)
    return False


def owner_reference(resource: Object) -> Object:
    """The owner reference to an object: what carries it goes when the object is deleted, and never blocks that."""
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
