"""
Contradictions within the data section, and between it and the sections that name its columns.

Each function answers one rule of `rules.RULES`: it yields what was found and the next move, for each breach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trimtab.core.spec.data import Column
from trimtab.core.spec.document import Path
from trimtab.core.spec.model import ModelSpec
from trimtab.core.spec.problems import near

NUMERIC = ("float", "int")
CLASSES = ("boolean", "category")


@dataclass(frozen=True)
class Breach:
    """What was found against a rule, the next move, and where below the rule's own path."""

    found: str
    hint: str
    at: Path = ()


def one_schema(spec: ModelSpec) -> Iterator[Breach]:
    if spec.data.columns is not None and spec.data.schema_ref is not None:
        yield Breach("found both", "remove schemaRef, or move the schema into the file it names")
    if spec.data.columns is None and spec.data.schema_ref is None:
        yield Breach("found neither", "`trimtab init FILE` writes the schema of a data file")


def names_once(spec: ModelSpec) -> Iterator[Breach]:
    lists: list[tuple[Path, tuple[str, ...]]] = [
        (("data", "key"), spec.data.key),
        (("data", "exclude"), spec.data.exclude),
        (("evaluation", "metrics"), spec.evaluation.metrics),
        (("evaluation", "slices"), spec.evaluation.slices),
        *((("data", "schema", name, "values"), column.values) for name, column in _columns(spec).items()),
    ]
    for at, names in lists:
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            yield Breach(f"found {name} {names.count(name)} times", "keep one", at)


def roles_differ(spec: ModelSpec) -> Iterator[Breach]:
    data = spec.data
    if data.target == data.timestamp:
        yield Breach(f"target and timestamp are both {data.target}", "name the column to predict", ("target",))
    if data.target in data.key:
        yield Breach(f"key holds the target {data.target}", "name what identifies a row before its label", ("key",))
    for role, names in (("target", (data.target,)), ("timestamp", (data.timestamp,)), ("key", data.key)):
        for name in names:
            if name in data.exclude:
                hint = f"remove {name} from exclude: {role} columns are never features anyway"
                yield Breach(f"exclude holds {name}, which is {role}", hint, ("exclude",))


def target_described(spec: ModelSpec) -> Iterator[Breach]:
    columns, target = _columns(spec), spec.data.target
    if not columns:
        return
    if target not in columns:
        close = near(target, columns)
        hint = f"did you mean {close}?" if close else f"add `{target}: {{type: …}}` to spec.data.schema"
        yield Breach(f"{target} is not in the schema", hint)
    elif columns[target].type not in (*NUMERIC, *CLASSES):
        hint = "declare it as boolean or category (classification), or as float or int (regression)"
        yield Breach(f"{target} has type {columns[target].type}", hint)
    elif columns[target].type == "category" and len(columns[target].values) == 1:
        yield Breach(f"{target} has a single class, {columns[target].values[0]}", "list the other classes too")


def timestamp_typed(spec: ModelSpec) -> Iterator[Breach]:
    column = _columns(spec).get(spec.data.timestamp)
    if column is not None and column.type != "timestamp" and spec.data.timestamp != spec.data.target:
        hint = "write type: timestamp, or remove the entry: the event time needs none"
        yield Breach(f"{spec.data.timestamp} has type {column.type}", hint, (spec.data.timestamp, "type"))


def values_of_categories(spec: ModelSpec) -> Iterator[Breach]:
    for name, column in _columns(spec).items():
        if column.type == "category" and not column.values:
            hint = "list them as `values: [a, b]`; `trimtab init FILE` writes those of a file"
            yield Breach("found a category without values", hint, (name,))
        if column.type != "category" and column.values:
            yield Breach(f"found values on type {column.type}", "write type: category", (name, "values"))
        if column.type != "category" and column.on_new == "missing":
            yield Breach(f"found onNew on type {column.type}", "remove onNew", (name, "onNew"))


def bounds_of_numbers(spec: ModelSpec) -> Iterator[Breach]:
    for name, column in _columns(spec).items():
        if column.type not in NUMERIC and (column.min is not None or column.max is not None):
            yield Breach(f"found min or max on type {column.type}", "remove them, or write type: float", (name,))
        elif column.min is not None and column.max is not None and column.min > column.max:
            yield Breach(f"found min {column.min:g} above max {column.max:g}", "swap the two", (name, "min"))


def text_in_frames_only(spec: ModelSpec) -> Iterator[Breach]:
    if spec.training.input == "frame" or spec.data.columns is None:
        return
    for name in spec.data.features:
        column = spec.data.columns[name]
        if column.type in ("string", "timestamp"):
            hint = f"add {name} to exclude, make it a category, or write training.input: frame"
            yield Breach(f"{name} is a feature of type {column.type}", hint, (name, "type"))


def some_feature(spec: ModelSpec) -> Iterator[Breach]:
    if spec.data.columns is not None and not spec.data.features:
        yield Breach("no column of the schema is left as a feature", "add the columns to learn from", ("schema",))


def labels_joined(spec: ModelSpec) -> Iterator[Breach]:
    if spec.data.labels.join_by == "key" and not spec.data.key:
        yield Breach("found joinBy: key and an empty key", "name the key's columns in spec.data.key", ("joinBy",))


def labels_apart(spec: ModelSpec) -> Iterator[Breach]:
    labels = spec.data.labels.source
    if labels is not None and (labels.startswith(spec.data.source) or spec.data.source.startswith(labels)):
        hint = "give labels a prefix of their own, such as s3://BUCKET/labels/"
        yield Breach(f"found {labels} inside or around {spec.data.source}", hint, ("source",))


def slices_described(spec: ModelSpec) -> Iterator[Breach]:
    columns = _columns(spec)
    if not columns:
        return
    usable = [name for name, column in columns.items() if column.type in CLASSES and name != spec.data.target]
    for index, name in enumerate(spec.evaluation.slices):
        if name not in usable:
            what = f"{name} has type {columns[name].type}" if name in columns else f"{name} is not in the schema"
            what = f"{name} is the target" if name == spec.data.target else what
            close = near(name, usable)
            hint = f"did you mean {close}?" if close else f"take one of: {', '.join(usable) or 'none is declared'}"
            yield Breach(what, hint, (index,))


def _columns(spec: ModelSpec) -> dict[str, Column]:
    """The schema's columns; none while they stand behind an unread `schemaRef`."""
    return spec.data.columns or {}
