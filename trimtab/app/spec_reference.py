"""The reference pages of the ContinuousModel and the ModelRollout, from their JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trimtab.core.metrics import METRICS
from trimtab.core.spec.json_schema import reference as reference_of
from trimtab.core.spec.later import LATER
from trimtab.core.spec.problems import dotted
from trimtab.core.spec.rules import REQUEST_RULES, ROLLOUT_RULES, RULES
from trimtab.core.spec.units import DURATION_PATTERN, HOLDOUT_PATTERN, POSITIVE_PATTERN

OF_MODEL = """\
# ContinuousModel

Generated from `trimtab/core/spec`; `trimtab check -f model.yaml` says all of this of your own file, with lines.
An editor that knows YAML completes and checks it with this first line:

```yaml
# yaml-language-server: $schema=docs/reference/continuousmodel.schema.json
```

A *duration* is a whole number and one unit of `s`, `m`, `h`, `d`, `w`: `30s`, `6h`, `2w`. The text is
YAML 1.2; what kubectl, which reads YAML 1.1, would take for something else (`y`, `no`, `on`, `012`, `1_000`) needs
quotes, and so does a name that looks like a number. Fields without a default must be given; any other
key is refused.
"""
OF_ROLLOUT = """\
# ModelRollout

Generated from `trimtab/core/spec`; `kubectl explain modelrollout.spec` says it in the cluster, `trimtab check -f
rollout.yaml` checks a file.

One rollout as a custom resource (`kubectl get mro`). Those of a ContinuousModel are made by its runs, and are there to
be read and steered: `paused`, `approved`, `promoted`, `aborted`; deleting one ends it. One that names
`target.champion` and `target.challenger` instead leads a canary on any SeldonDeployment, without a model. Its policy
is what it was when it began: another policy is another rollout. *Durations* are a whole number and one unit of `s`,
`m`, `h`, `d`, `w`.
"""

TIMES = {
    DURATION_PATTERN: "duration",
    POSITIVE_PATTERN: "duration above `0s`",
    HOLDOUT_PATTERN: "duration, or `N rows`",
}


def of_model(schema: dict[str, Any]) -> str:
    """The ContinuousModel's reference page: a table a section, then rules, then what comes later."""
    rules = [f"- `{dotted(('spec', *rule.path))}`: {rule.says}." for rule in RULES]
    later = [f"- `{dotted(one.path)}`: {one.what}. Until then: {one.hint}." for one in LATER]
    return "\n".join(
        [
            OF_MODEL,
            *_tables(schema),
            "## What must hold between fields\n",
            *rules,
            "\n## Accepted, and refused at use in this version\n",
            *later,
            "",
        ]
    )


def of_rollout(schema: dict[str, Any], status: dict[str, Any]) -> str:
    """The ModelRollout's reference page: a table a section, rules, and what its status says."""
    rules = [f"- `{dotted(('spec', *rule.path[1:]))}`: {rule.says}." for rule in ROLLOUT_RULES]
    rules += [f"- `{dotted(('spec', *rule.path))}`: {rule.says}." for rule in REQUEST_RULES]
    said = [f"| `{name}` | {field['description']} |" for name, field in status.items()]
    return "\n".join(
        [
            OF_ROLLOUT,
            *_tables(schema),
            "## What must hold between fields\n",
            *rules,
            "\n## status\n\nWritten by the controller; made again from the state where it is lost.\n",
            "| field | meaning |\n| --- | --- |",
            *said,
            "",
        ]
    )


def _tables(schema: dict[str, Any]) -> list[str]:
    """A heading, a description and a table for each section."""
    parts = []
    for path, section in _sections(schema, schema, ""):
        parts.append(f"## {path or 'the document'}\n\n{section['description']}\n")
        fields = section.get("properties", {})
        if fields:
            rows = [_row(name, field, section, schema, path) for name, field in fields.items()]
            parts.append("\n".join(["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows]) + "\n")
    return parts


def _sections(schema: dict[str, Any], section: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every section with its path, from the outside in."""
    yield path, section
    for name, field in section.get("properties", {}).items():
        reference, below = reference_of(field)
        if reference:
            inner = f"{path}.{name}" if path else name
            yield from _sections(schema, schema["$defs"][reference], inner + below)


def _row(name: str, field: dict[str, Any], section: dict[str, Any], schema: dict[str, Any], path: str) -> str:
    default = "**required**" if name in section.get("required", ()) else f"`{json.dumps(field.get('default'))}`"
    reference, below = reference_of(field)
    if reference:
        inner = f"{path}.{name}{below}" if path else name
        anchor = "".join(letter for letter in inner.lower() if letter.isalnum() or letter in "-_")
        holds = {"": "section", "[]": "list of sections", ".NAME": "section by name"}[below]
        kind = f"[{holds}](#{anchor})"
        if isinstance(field.get("default"), dict):
            default = "its own defaults"
    else:
        kind = " or ".join(_kind(option) for option in field.get("anyOf", (field,)) if option.get("type") != "null")
    return f"| `{name}` | {kind} | {default} | {field['description']} |"


def _kind(field: dict[str, Any]) -> str:
    """A type in words, with its limits."""
    if field.get("enum") == list(METRICS):
        return "[metric](metrics.md)"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("pattern") in TIMES:
        return TIMES[field["pattern"]]
    match field.get("type"):
        case "array":
            return f"list of {_kind(field['items'])}"
        case "object":
            inner = field.get("additionalProperties")
            return f"mapping of {_kind(inner)}" if isinstance(inner, dict) else "mapping"
        case "string" if str(field.get("pattern", "")).startswith("^s3://"):
            return "s3:// address"
        case "string":
            return "text"
        case other:
            words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
            return words.get(str(other), "any value") + _limits(field)


def _limits(field: dict[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {field[key]}" for key, word in words.items() if key in field]
    return f", {', '.join(limits)}" if limits else ""
