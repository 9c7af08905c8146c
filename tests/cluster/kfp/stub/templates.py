"""Pipeline specs and their parameters, as the server judges them."""

from __future__ import annotations

import re
from typing import Any

from messages import Json
from refusals import Refused

VERSION = "2.1.0"
SPEC_FIELDS = {
    *("components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion"),
    *("defaultPipelineRoot", "deployment_spec", "pipeline_info", "schema_version", "sdk_version"),
    "default_pipeline_root",
}
WORDS = {
    "STRING": ("string", str),
    "NUMBER_INTEGER": ("double or integer", (int, float)),
    "NUMBER_DOUBLE": ("double or integer", (int, float)),
    "BOOLEAN": ("bool", bool),
    "LIST": ("list", list),
    "STRUCT": ("struct", dict),
}
JSON_WORDS = {"string": "string", "double or integer": "number", "bool": "bool", "list": "list", "struct": "struct"}
RUN_PREFIX = "Failed to create a new run: Failed to fetch a template"


def split(given: Any) -> tuple[Json, Json]:
    """The pipeline and its platform part: a request holds either both by name, or the pipeline alone."""
    if isinstance(given, dict) and "pipeline_spec" in given:
        return given["pipeline_spec"], given.get("platform_spec") or {}
    return given, {}


def fault(spec: Any) -> str:
    """What is wrong with a spec, empty when nothing is."""
    if not isinstance(spec, dict) or not spec:
        return "InvalidInputError: unknown template format: pipeline spec is invalid"
    unknown = set(spec) - SPEC_FIELDS
    if unknown or "pipelineInfo" not in spec or "root" not in spec:
        return "InvalidInputError: unknown template format: pipeline spec is invalid"
    if spec.get("schemaVersion") != VERSION:
        return (
            f"Invalid input error: KFP only supports schema version {VERSION}, but the pipeline spec has version "
            f"{spec.get('schemaVersion')}"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(spec["pipelineInfo"].get("name", ""))):
        return (
            "Invalid input error: pipeline's name must contain only lowercase alphanumeric characters or '-' and must "
            "start with alphanumeric characters"
        )
    return ""


def check_parameters(spec: Json, parameters: Json) -> None:
    """Unknown names and wrong types; one that is missing is not looked for."""
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(parameters) - set(inputs))
    if unknown:
        raise Refused(3, f"parameter(s) provided are not required by pipeline: {', '.join(unknown)}")
    for name, value in parameters.items():
        word, kinds = WORDS[inputs[name].get("parameterType", "STRING")]
        right = isinstance(value, kinds) and (word == "bool" or not isinstance(value, bool))
        if not right:
            raise Refused(
                3,
                f"input parameter {name} requires type {word}, but the parameter value is not of "
                f"{JSON_WORDS[word]} value type",
            )
