"""
The custom resources' definitions, from the pydantic models: structural schema, defaults, rules, columns of kubectl.

A custom resource's schema knows no references and no alternatives of types, and what a rule in it may cost is bounded
by the lengths that the schema bounds. So every list, map and text has a limit here, also where a laptop's file has
none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from trimtab.core.spec.cel import RULES_OF_MODEL, RULES_OF_ROLLOUT, Validation
from trimtab.core.spec.json_schema import json_schema, reference
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.status import MODEL_COLUMNS, MODEL_STATUS, ROLLOUT_COLUMNS, ROLLOUT_STATUS, Column
from trimtab.core.spec.units import DURATION_PATTERN, HOLDOUT_PATTERN

GROUP, VERSION = "trimtab.dev", "v1alpha1"
Schema = dict[str, Any]

MOST_ITEMS, MOST_TEXT = 2000, 2048
# Of lists whose names are compared with each other: what a rule costs grows with their square.
MOST_NAMES = 200
LIMITS: Mapping[str, int] = {
    "key": 50,
    "exclude": MOST_NAMES,
    "metrics": 50,
    "slices": 50,
    "values": MOST_ITEMS,
    "alerts": 50,
}
LENGTHS = {DURATION_PATTERN: 13, HOLDOUT_PATTERN: 20}  # of texts that match: digits and a unit
KEPT = ("type", "enum", "minimum", "maximum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "default")
CONDITIONS: Schema = {
    "type": "array",
    "description": "What holds and what does not, in Kubernetes' own form.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"type": "string", "maxLength": 316, "description": "What is said something of."},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
            "reason": {"type": "string", "maxLength": 1024, "description": "Why, in one word."},
            "message": {"type": "string", "maxLength": 32768, "description": "Why, for people."},
            "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status changed."},
            "observedGeneration": {"type": "integer", "format": "int64", "description": "Of the spec it speaks of."},
        },
    },
}
GENERATION: Schema = {
    "type": "integer",
    "format": "int64",
    "description": "metadata.generation of the spec that the controller last took up.",
}

SHARED_STATUS: Schema = {"conditions": CONDITIONS, "observedGeneration": GENERATION}


def definition(
    model: type[BaseModel],
    plural: str,
    short: str,
    rules: Sequence[Validation],
    columns: Sequence[Column],
    status: Schema,
) -> Schema:
    """
    The CustomResourceDefinition of a document's model.

    Args:
        model: With the fields apiVersion, kind, metadata and spec.
        columns: Of `kubectl get`.
        status: Properties of the status.
    """
    kind = model.__name__
    schema = json_schema(model)
    spec = structural(schema["properties"]["spec"], schema["$defs"])
    for rule in rules:
        _place(spec, rule)
    name = schema["$defs"][reference(schema["properties"]["metadata"])[0]]["properties"]["name"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "trimtab"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["trimtab"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": each.title, "type": each.type, "jsonPath": each.path, "priority": int(each.wide)}
                        for each in columns
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": schema["description"],
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string", "description": "Version of this format."},
                                "kind": {"type": "string", "description": "Kind of this document."},
                                "metadata": {
                                    "type": "object",
                                    "properties": {
                                        "name": {
                                            "type": "string",
                                            "maxLength": name["maxLength"],
                                            "pattern": name["pattern"],
                                        }
                                    },
                                },
                                "spec": spec,
                                "status": {
                                    "type": "object",
                                    "description": "How it stands, as the controller last saw it.",
                                    "properties": status,
                                    "x-kubernetes-preserve-unknown-fields": True,
                                },
                            },
                        }
                    },
                }
            ],
        },
    }


def structural(field: Schema, sections: Mapping[str, Schema], name: str = "") -> Schema:
    """A field of a JSON Schema as a structural schema: references put in, `or null` as nullable, everything bounded."""
    described = field.get("description")
    if "$ref" in field:
        field = {**sections[field["$ref"].rpartition("/")[2]], **{k: v for k, v in field.items() if k != "$ref"}}
    nullable = False
    if "anyOf" in field:
        some = [each for each in field["anyOf"] if each.get("type") != "null"]
        nullable = len(some) < len(field["anyOf"])
        rest = {key: value for key, value in field.items() if key != "anyOf"}
        inner = structural({**some[0], **rest}, sections, name) if len(some) == 1 else _any(rest)
        if nullable:
            inner["nullable"] = True
        if inner.get("default", "") is None:
            del inner["default"]  # a null that is written is kept; one that is not stays away
        return inner
    found: Schema = {key: field[key] for key in KEPT if key in field}
    if "const" in field:
        found |= {"type": "string", "enum": [field["const"]]}
    if "exclusiveMinimum" in field:
        found |= {"minimum": field["exclusiveMinimum"], "exclusiveMinimum": True}
    if "exclusiveMaximum" in field:
        found |= {"maximum": field["exclusiveMaximum"], "exclusiveMaximum": True}
    if described or "description" in field:
        found["description"] = described or field["description"]
    if "type" not in field and "const" not in field:
        return {**found, **_any({})}
    if field.get("type") == "object":
        _of_object(found, field, sections)
    elif field.get("type") == "array":
        found["items"] = structural(field["items"], sections)
        found.setdefault("maxItems", LIMITS.get(name, MOST_ITEMS))
    elif field.get("type") == "string" and "enum" not in found:
        found.setdefault("maxLength", LENGTHS.get(field.get("pattern", ""), MOST_TEXT))
    elif field.get("type") == "integer":
        found["format"] = "int64"
    return found


def _of_object(found: Schema, field: Schema, sections: Mapping[str, Schema]) -> None:
    more = field.get("additionalProperties")
    if "properties" in field:
        found["properties"] = {name: structural(each, sections, name) for name, each in field["properties"].items()}
        if field.get("required"):
            found["required"] = list(field["required"])
        if more:
            found["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(more, dict):
        found["additionalProperties"] = structural(more, sections)
        found["maxProperties"] = min(field.get("maxProperties", MOST_ITEMS), MOST_ITEMS)
        if "minProperties" in field:
            found["minProperties"] = field["minProperties"]
    elif more:
        found["x-kubernetes-preserve-unknown-fields"] = True  # an estimator's own parameters, a pod's resources
    else:
        found["maxProperties"] = 0  # `pause: {}`


def _any(rest: Schema) -> Schema:
    kept: Schema = {key: rest[key] for key in ("description", "default") if key in rest}
    return {**kept, "x-kubernetes-preserve-unknown-fields": True}


def _place(spec: Schema, rule: Validation) -> None:
    """Put a rule where it holds: below `spec`, by property names, `*` for items and values."""
    place = spec
    for part in rule.path:
        inner = place.get("items") or place.get("additionalProperties") or {}
        place = inner if part == "*" else place["properties"][part]
    place.setdefault("x-kubernetes-validations", []).append({"rule": rule.expression, "message": rule.message})


def definitions() -> dict[str, Schema]:
    """Both definitions, by plural."""
    return {
        "continuousmodels": definition(
            ContinuousModel, "continuousmodels", "ctm", RULES_OF_MODEL, MODEL_COLUMNS, {**MODEL_STATUS, **SHARED_STATUS}
        ),
        "modelrollouts": definition(
            ModelRollout, "modelrollouts", "mro", RULES_OF_ROLLOUT, ROLLOUT_COLUMNS, {**ROLLOUT_STATUS, **SHARED_STATUS}
        ),
    }
