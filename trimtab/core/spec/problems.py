"""What is wrong with a spec, as a person reads it: the path, what was found, what is allowed, the next move."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trimtab.core.errors import Invalid
from trimtab.core.spec.document import Path

HIDDEN = "://"  # shown as an address is: not at all
REFERENCE = "docs/reference/spec.md lists every field"


@dataclass(frozen=True)
class Problem:
    """One mistake at `parts`, the path in YAML names. `line` is 0 where the spec did not come as text."""

    parts: Path
    message: str
    hint: str = ""
    line: int = 0

    @property
    def path(self) -> str:
        return dotted(self.parts)

    def __str__(self) -> str:
        place = f"line {self.line}: {self.path}" if self.line else self.path
        return f"{place}: {self.message}" + (f"\n    hint: {self.hint}" if self.hint else "")


class InvalidSpec(Invalid):
    """A spec with all its problems, each with its own hint; one without lines is told from the first line on."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        number = len(self.problems)
        counted = "a problem" if number == 1 else f"{number} problems"
        told = [f"{source} has {counted}", *(f"  {problem}" for problem in self.problems)]
        if number and not self.problems[0].line:  # of a resource, of which a list shows a line
            told[:2] = [f"{told[0]}: {self.problems[0]}"]
        super().__init__("\n".join(told))


def dotted(path: Iterable[str | int]) -> str:
    """
    A path as people write it.

    >>> dotted(("spec", "rollout", "steps", 0, "setWeight"))
    'spec.rollout.steps[0].setWeight'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the document"


def show(value: object) -> str:
    """
    A found value, short, as YAML writes it. Addresses are not shown, for they may hold a token.

    >>> show(None), show("x"), show(True), show({"a": 1}), show("https://x/T0KEN")
    ('null', "'x'", 'true', 'a mapping with a', 'a value that is not shown, for it may hold a token')
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() if "://" in value and not value.startswith("s3://"):
            return "a value that is not shown, for it may hold a token"
        case Mapping():
            return f"a mapping with {', '.join(map(str, list(value)[:5]))}" if value else "an empty mapping"
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            text = repr(value)
            return text if len(text) <= 80 else f"{text[:76]}…{text[-1]}"


def near(word: str, known: Iterable[str]) -> str:
    """The closest of the known words, ignoring case and underscores, or nothing."""
    folded = {_fold(name): name for name in known}
    found = get_close_matches(_fold(word), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def _fold(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def suggest(word: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean …?` where a known word is close, else the other hint."""
    close = near(word, known)
    return f"did you mean {close}?" if close else otherwise


def from_pydantic(error: ValidationError, described_by: Any) -> list[Problem]:
    """
    Every error of a validation as a problem.

    Args:
        error: What pydantic raised.
        described_by: The model, or a type that holds models, that the input was validated against.
    """
    problems = []
    errors = error.errors(include_url=False)
    for details in errors:
        inside = any(other["loc"][:-1] == details["loc"] for other in errors)
        if details["type"] == "too_short" and inside:
            continue  # pydantic counts only the items that are right
        location = details["loc"][:-1] if details["loc"][-1:] == ("[key]",) else details["loc"]
        message, hint = _explain(details, described_by, location)
        problems.append(Problem(location, message, hint))
    return problems


def _explain(details: ErrorDetails, model: Any, location: Path) -> tuple[str, str]:
    kind, found, limits = details["type"], details["input"], details.get("ctx", {})
    if "urlFrom" in location and kind != "extra_forbidden" and kind != "missing":
        found = HIDDEN
    name = str(location[-1]) if location else ""
    if kind == "extra_forbidden":
        known = _keys(model, location[:-1])
        parent = dotted(location[:-1])
        what = f"there is no field {name} in {parent}; its fields are {', '.join(known)}"
        return (what if known else f"there is no field {name}: {parent} has none"), suggest(
            name, known, _moved(model, name) or REFERENCE
        )
    if kind == "missing":
        return "is missing, and has no default", f"add `{name}: …` ({_description(model, location)})"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", limits["expected"])
        return f"found {show(found)}; it is {_one_of(allowed)}", suggest(str(found), allowed, "take one of these")
    if kind == "value_error":
        return f"found {show(found)}; {limits['error']}", getattr(limits["error"], "hint", REFERENCE)
    if kind == "string_pattern_mismatch":
        meaning = _description(model, location)
        return f"found {show(found)}; it is text that matches {limits['pattern']}", f"{name}: {meaning}"
    if kind in WORDED:
        needed, hint = WORDED[kind]
        limits = {key: f"{value:g}" if isinstance(value, float) else value for key, value in limits.items()}
        return f"found {show(found)}; it is {needed.format(**limits)}", hint.format(found=found, **limits)
    return f"found {show(found)}; {details['msg'][:1].lower()}{details['msg'][1:]}", REFERENCE


# By pydantic's own error type: what is needed, and the next move.
WORDED: dict[str, tuple[str, str]] = {
    "greater_than": ("a number above {gt}", "raise it above {gt}"),
    "greater_than_equal": ("at least {ge}", "raise it to {ge} or more"),
    "less_than": ("a number below {lt}", "lower it below {lt}"),
    "less_than_equal": ("at most {le}", "lower it to {le} or less"),
    "finite_number": ("a finite number", "write a number, or leave the field out"),
    "int_type": ("a whole number", "write it without quotes or a fraction"),
    "int_from_float": ("a whole number", "write it without a fraction"),
    "float_type": ("a number", "write it without quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "string_type": ("text", 'put quotes around it: "{found}"'),
    "string_too_short": ("text of at least {min_length} characters", "write its name"),
    "string_too_long": ("text of at most {max_length} characters", "shorten it to {max_length} characters"),
    "too_short": ("at least {min_length} long", "add one, or leave the field out"),
    "too_long": ("at most {max_length} long", "shorten it to {max_length}"),
    "tuple_type": ("a list", "write it as [first, second] or as lines that begin with `- `"),
    "dict_type": ("a mapping", "write it as {{name: value}} or as indented lines `name: value`"),
    "model_type": ("a mapping", "write it as {{name: value}} or as indented lines `name: value`; " + REFERENCE),
    "model_attributes_type": ("a mapping", "write it as {{name: value}}; " + REFERENCE),
}


def _one_of(allowed: list[str]) -> str:
    return allowed[0] if len(allowed) == 1 else f"one of {', '.join(allowed)}"


def _keys(annotation: Any, path: Path) -> list[str]:
    """The YAML names of the fields that may stand at `path`."""
    section = _section_at(annotation, path)
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def _section_at(annotation: Any, path: Path) -> type[BaseModel] | None:
    """The section that describes `path`: through optional, tuple and dict to the model within."""
    model = next(iter(_models(annotation)), None)
    if model is None or not path:
        return model
    if not _is_section(annotation):  # a list or mapping of sections: an index or a name stands first
        return _section_at(model, path[1:])
    for name, field in model.model_fields.items():
        if path[0] == (field.alias or name):
            return _section_at(field.annotation, path[1:])
    return None


def _description(annotation: Any, path: Path) -> str:
    """What the field at `path` means, as its reference says."""
    section = _section_at(annotation, path[:-1])
    fields = section.model_fields.items() if section else ()
    meanings = [field.description for name, field in fields if path[-1] == (field.alias or name)]
    return (meanings[0] or "").rstrip(".") if meanings else REFERENCE


def _is_section(annotation: Any) -> bool:
    """Whether the annotation is a section itself, or an optional one."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return any(_is_model(part) for part in parts)


def _is_model(annotation: Any) -> bool:
    return get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if _is_model(annotation):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _moved(annotation: Any, name: str) -> str:
    """Where a field of this name stands, when it stands in another section."""
    places = [dotted(path) for model in _models(annotation) for path in _paths(model, ()) if path[-1] == name]
    return f"{name} stands at {places[0]}" if places else ""


def _paths(model: type[BaseModel], prefix: Path) -> Iterator[Path]:
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        yield path
        if _is_section(field.annotation):
            for inner in _models(field.annotation):
                yield from _paths(inner, path)
