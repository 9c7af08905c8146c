"""A model back to YAML that `load` reads to the same model."""

from __future__ import annotations

import json
import re
from typing import Any

from trimtab.core.spec.document import elsewhere, scalar
from trimtab.core.spec.model import ContinuousModel

# Text that needs no quotes in any YAML, inside flow collections as well.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
# Control characters and line breaks that JSON leaves as they are.
SPECIAL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def dump(model: ContinuousModel) -> str:
    """
    The spec as YAML, without what is left at its default.

    It is equal text for equal models, so that its digest can name it.
    """
    return block(model.model_dump(mode="json", by_alias=True, exclude_defaults=True)) + "\n"


def block(value: dict[str, Any], indent: str = "") -> str:
    """A mapping as indented lines; what fits on a line goes in flow style."""
    lines = []
    for key, inner in value.items():
        written = f"{indent}{text(key)}: {flow(inner)}"
        if isinstance(inner, dict) and inner and (len(written) > 100 or not indent or key in ("data", "schema")):
            written = f"{indent}{text(key)}:\n{block(inner, indent + '  ')}"
        lines.append(written)
    return "\n".join(lines)


def flow(value: Any) -> str:
    """
    A value on one line.

    >>> flow({"type": "category", "values": ["AA", "no", "9"], "min": None})
    '{type: category, values: [AA, "no", "9"], min: null}'
    """
    match value:
        case dict():
            return "{" + ", ".join(f"{text(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(flow(inner) for inner in value) + "]"
        case str():
            return text(value)
        case _:
            return json.dumps(value)


def text(value: str) -> str:
    """
    Text, in quotes where a reader of any YAML could take it for something else.

    >>> text("Light Rain"), text("true"), text("2w"), text("module:Class")
    ('Light Rain', '"true"', '"2w"', '"module:Class"')
    """
    plain = PLAIN.fullmatch(value) and isinstance(scalar(value), str) and not elsewhere(value)
    if plain:
        return value
    # JSON's escapes are YAML's too, but for pairs of surrogates: so only what YAML refuses or folds is escaped.
    return SPECIAL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
