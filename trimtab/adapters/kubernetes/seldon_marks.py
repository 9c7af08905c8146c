"""
What is written beside the predictors of a SeldonDeployment: what was asked for last, and whose it is.

Annotations and labels of the object restart no pod.
"""

from __future__ import annotations

import json

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL_LABEL
from trimtab.core.errors import Invalid
from trimtab.core.ports import Serving
from trimtab.core.rollout.predictors import Book, Operation, Write

BOOK = "trimtab.dev/serving"  # annotation: what was asked for last
CLAIM = "trimtab.dev/rollout"  # annotation: the rollout without a model that works on it, as name/uid
ADOPT = "trimtab.dev/adopt"  # annotation, "true": the model of its name may replace its predictors
BOOK_PATH = "/metadata/annotations/" + BOOK.replace("/", "~1")
LABEL_PATH = "/metadata/labels/" + MODEL_LABEL.replace("/", "~1")


# What was asked for


def book_of(found: Object) -> Book:
    """What was written down beside the predictors; empty where somebody wrote something else there."""
    text = (found["metadata"].get("annotations") or {}).get(BOOK)
    try:
        kept = json.loads(text or "{}")
        asked = (
            Serving(**{**kept["asked"], "versions": tuple(kept["asked"]["versions"])}) if kept.get("asked") else None
        )
        return Book(asked, tuple(kept.get("former", ())), tuple(kept.get("letGo", ())))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Book()


def written(book: Book) -> str:
    """The annotation's text."""
    asked = book.asked
    fields = ("champion", "challenger", "weight_percent", "shadow", "sticky_header", "versions")
    kept = {name: getattr(asked, name) for name in fields} if asked else None
    return json.dumps({"asked": kept, "former": book.former, "letGo": book.let_go}, sort_keys=True)


def unchanged(resource: Object) -> list[Operation]:
    """Spec and book are still what was read; the operator's status, which it writes all the time, may be another."""
    meta = resource["metadata"]
    book = (meta.get("annotations") or {}).get(BOOK)
    guards: list[Operation] = [{"op": "test", "path": "/metadata/generation", "value": meta["generation"]}]
    if book is not None:
        guards.append({"op": "test", "path": BOOK_PATH, "value": book})
    return guards


def noted(resource: Object, write: Write) -> list[Operation]:
    """The book, where it changes: annotations of the object restart no pod, those of its spec do."""
    if write.book == book_of(resource):
        return []
    path = "/metadata/annotations"
    first: list[Operation] = (
        [] if resource["metadata"].get("annotations") else [{"op": "add", "path": path, "value": {}}]
    )
    return [*first, {"op": "add", "path": BOOK_PATH, "value": written(write.book)}]


# Whose it is


def refuse_strangers(resource: Object, new: Object) -> None:
    """
    A model works on what it made, or marked as its own, or may adopt.

    Args:
        resource: The SeldonDeployment that stands by the model's name.
        new: The one that the model would have made.

    Raises:
        Invalid: If that is somebody else's.
    """
    if is_marked(resource):
        return
    meta, annotations = resource["metadata"], resource["metadata"].get("annotations") or {}
    name, place = meta["name"], meta["namespace"]
    uids = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
    if uids & {owner["uid"] for owner in new["metadata"]["ownerReferences"]}:
        return
    if rollout := annotations.get(CLAIM, "").partition("/")[0]:
        raise Invalid(
            f"ModelRollout {rollout} works on SeldonDeployment {name}: the model of that name waits",
            f"it goes on once that has ended; `kubectl -n {place} get mro {rollout}` shows how far it is",
        )
    if annotations.get(ADOPT) != "true":
        there = ", ".join(each["name"] for each in resource["spec"].get("predictors") or ()) or "no predictor"
        raise Invalid(
            f"found a SeldonDeployment {name} ({there}) that is not of this model",
            f"`kubectl -n {place} annotate sdep {name} {ADOPT}=true` lets the model's versions take its predictors' "
            "place, each once it is ready; or give the model another name",
        )


def is_marked(resource: Object) -> bool:
    """Whether it says that it belongs to the model of its name."""
    meta = resource["metadata"]
    return bool((meta.get("labels") or {}).get(MODEL_LABEL) == meta["name"])


def marked(resource: Object) -> list[Operation]:
    """
    From now on it belongs to the model of its name, and says so to rollouts without a model.

    Guarded by the whole object's version: a claim that such a rollout makes meanwhile changes no generation.
    """
    labels, path = resource["metadata"].get("labels"), "/metadata/labels"
    version = resource["metadata"]["resourceVersion"]
    first: list[Operation] = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
    if not labels:
        first.append({"op": "add", "path": path, "value": {}})
    return [*first, {"op": "add", "path": LABEL_PATH, "value": resource["metadata"]["name"]}]


def unmarked(resource: Object) -> list[Operation]:
    """It belongs to no model any more, and what was asked for last goes with that."""
    operations: list[Operation] = [
        *unchanged(resource),
        {"op": "test", "path": LABEL_PATH, "value": resource["metadata"]["name"]},
        {"op": "remove", "path": LABEL_PATH},
    ]
    if BOOK in (resource["metadata"].get("annotations") or {}):
        operations.append({"op": "remove", "path": BOOK_PATH})
    return operations
