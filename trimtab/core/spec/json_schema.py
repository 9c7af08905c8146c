"""The spec's JSON Schema, from the pydantic models: what the CRDs, editors and the reference page are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from trimtab.core.spec.units import format_duration


class _WrittenDefaults(GenerateJsonSchema):
    """Durations that are defaults stand as a user writes them, not as ISO 8601."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of the document, with a description of every field and without pydantic's titles."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_WrittenDefaults)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        section["description"] = " ".join(section["description"].split())
    for section in sections:
        for field in section.get("properties", {}).values():
            field.pop("title", None)
            if "$ref" in field:  # pydantic leaves out a description that repeats the section's own
                field.setdefault("description", schema["$defs"][reference(field)[0]]["description"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference(field: dict[str, Any]) -> tuple[str, str]:
    """The section that a field holds, if it does, and how its path goes on: a list's `[]`, a mapping's `.NAME`."""
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option:
            return option["$ref"].rpartition("/")[2], ""
        for key, below in (("items", "[]"), ("additionalProperties", ".NAME")):
            inner = option.get(key)
            if isinstance(inner, dict) and "$ref" in inner:
                return inner["$ref"].rpartition("/")[2], below
    return "", ""
