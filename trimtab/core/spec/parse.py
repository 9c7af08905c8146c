"""A document's text to a checked ContinuousModel or ModelRollout, or every problem it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trimtab.core.spec import document
from trimtab.core.spec.data import Column, Columns
from trimtab.core.spec.document import Document
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.problems import InvalidSpec, Problem, from_pydantic, show
from trimtab.core.spec.rules import broken_rules, broken_rules_of_rollout

# What an API server keeps beside what people wrote: `kubectl get -o yaml` shows it, and `kubectl apply` ignores it.
OF_THE_SERVER = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
)


def load(text: str, source: str = "model.yaml") -> ContinuousModel:
    """
    The model that a spec's text describes.

    Args:
        text: YAML 1.2, one document.
        source: What to call it in errors, such as the file's name.

    Raises:
        Invalid: With every problem: its line and path, what was found, what is allowed, the next move. Mistakes in
            single fields are told first, contradictions between fields once every field is right.
    """
    return from_document(document.read(text, source), source)


def from_document(written: Document, source: str = "model.yaml") -> ContinuousModel:
    """As `load`, for a document that has been read."""
    _need_mapping(written.value, source)
    try:
        # by_alias only: a spec has one spelling, though Python code may construct sections by attribute names.
        model = ContinuousModel.model_validate(as_written(written.value), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = from_pydantic(error, ContinuousModel)
        raise InvalidSpec(source, (_placed(problem, written) for problem in problems)) from None
    problems = broken_rules(model.spec)
    if problems:
        raise InvalidSpec(source, (_placed(problem, written) for problem in problems))
    return model


def rollout_from_document(written: Document, source: str = "rollout.yaml") -> ModelRollout:
    """
    The ModelRollout that a document describes.

    Raises:
        Invalid: With every problem, as `load`.
    """
    _need_mapping(written.value, source)
    try:
        found = ModelRollout.model_validate(as_written(written.value), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = from_pydantic(error, ModelRollout)
        raise InvalidSpec(source, (_placed(problem, written) for problem in problems)) from None
    problems = broken_rules_of_rollout(found.spec)
    if problems:
        raise InvalidSpec(source, (_placed(problem, written) for problem in problems))
    return found


def load_columns(text: str, source: str) -> dict[str, Column]:
    """
    The columns of a schema that stands in a file of its own, for `schemaRef`.

    Raises:
        Invalid: With every problem, as `load`.
    """
    written = document.read(text, source)
    _need_mapping(written.value, source)
    try:
        adapter = TypeAdapter(Columns)
        return adapter.validate_python(written.value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = from_pydantic(error, Columns)
        raise InvalidSpec(source, (_placed(problem, written) for problem in problems)) from None


def resolve_schema(model: ContinuousModel, columns: Mapping[str, Column]) -> ContinuousModel:
    """
    The model with the columns of its `schemaRef` in place, as if they had been written in it.

    Raises:
        Invalid: If the columns contradict the rest of the spec.
    """
    spec = model.spec
    data = spec.data.model_copy(update={"columns": dict(columns), "schema_ref": None})
    resolved = model.model_copy(update={"spec": spec.model_copy(update={"data": data})})
    problems = broken_rules(resolved.spec)
    if problems:
        raise InvalidSpec(f"{model.name} with the schema of {spec.data.schema_ref}", problems)
    return resolved


def as_written(value: Mapping[str, Any]) -> dict[str, Any]:
    """
    A document without what an API server adds to it.

    >>> as_written({"kind": "ContinuousModel", "metadata": {"name": "a", "uid": "1"}, "status": {}})
    {'kind': 'ContinuousModel', 'metadata': {'name': 'a'}}
    """
    kept = {name: part for name, part in value.items() if name != "status"}
    meta = kept.get("metadata")
    if isinstance(meta, dict):
        kept["metadata"] = {name: part for name, part in meta.items() if name not in OF_THE_SERVER}
    return kept


def _need_mapping(value: Any, source: str) -> None:
    if not isinstance(value, dict):
        problem = Problem(
            (),
            f"found {show(value)}; it is a mapping that begins with apiVersion, kind, metadata and spec",
            "write one with `trimtab init FILE`",
            1,
        )
        raise InvalidSpec(source, [problem])


def _placed(problem: Problem, written: Document) -> Problem:
    """The problem with the line of its path."""
    return replace(problem, line=written.line(problem.parts))
