"""What a model says of its columns, and the two examples."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from trimtab.core.errors import Invalid
from trimtab.core.spec import load, resolve_schema
from trimtab.core.spec.later import used_later
from trimtab.core.spec.parse import load_columns
from trimtab.core.spec.problems import InvalidSpec

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_features_are_the_schema_without_target_time_key_and_excluded(sound: str) -> None:
    columns = "      id: {type: string}\n      ts: {type: timestamp}\n      dep_delay: {type: float}\n"
    text = sound.replace("      delayed:", f"{columns}      delayed:")
    assert load(text).spec.data.features == ("carrier", "distance")


@pytest.mark.parametrize(
    ("column", "metric", "task"),
    [
        ("{type: boolean}", "accuracy", "classification"),
        ("{type: category, values: [a, b]}", "accuracy", "classification"),
        ("{type: float}", "r2", "regression"),
        ("{type: int}", "r2", "regression"),
    ],
)
def test_the_task_follows_the_type_of_the_target(column: str, metric: str, task: str) -> None:
    assert load(SMALL.format(column=column, metric=metric, holdout="2w")).spec.data.task == task


def test_a_holdout_is_a_duration_or_rows() -> None:
    by_time = load(SMALL.format(column="{type: int}", metric="r2", holdout="3d")).spec.evaluation
    by_rows = load(SMALL.format(column="{type: int}", metric="r2", holdout="5000 rows")).spec.evaluation
    assert (by_time.holdout, by_time.holdout_rows) == (timedelta(days=3), None)
    assert (by_rows.holdout, by_rows.holdout_rows) == (5000, 5000)


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_the_examples_are_sound_and_use_nothing_that_comes_later(name: str) -> None:
    model = load((EXAMPLES / name / "model.yaml").read_text(), name)
    assert model.name == name
    assert used_later(model) == ()


def test_a_schema_from_elsewhere_takes_its_place() -> None:
    model = load(APART)
    columns = load_columns("x: {type: float}\n'y': {type: int}\n", "s3://b-1/schema.yaml")
    resolved = resolve_schema(model, columns)
    assert resolved.spec.data.features == ("x",)
    assert resolved.spec.data.schema_ref is None


def test_a_schema_from_elsewhere_must_fit_the_rest_of_the_spec() -> None:
    columns = load_columns("x: {type: float}\nz: {type: int}\n", "s3://b-1/schema.yaml")
    with pytest.raises(InvalidSpec, match="y is not in the schema"):
        resolve_schema(load(APART), columns)


def test_a_schema_from_elsewhere_is_checked_as_one_in_the_spec() -> None:
    with pytest.raises(InvalidSpec) as refused:
        load_columns("x: {type: float, mim: 3}\n", "s3://b-1/schema.yaml")
    (problem,) = refused.value.problems
    assert (problem.path, problem.line, problem.hint) == ("x.mim", 1, "did you mean min?")


def test_nothing_is_asked_of_a_schema_that_was_not_read() -> None:
    with pytest.raises(Invalid, match=r"schemaRef: the schema at .* has not been read"):
        _ = load(APART).spec.data.features


SMALL = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: small}}
spec:
  data:
    {{source: s3://small/, format: csv, timestamp: ts, target: 'y', schema: {{x: {{type: float}}, 'y': {column}}}}}
  training: {{estimator: sklearn.linear_model:Ridge}}
  evaluation: {{primary: {metric}, holdout: {holdout}}}
"""
APART = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data: {source: s3://small/, format: csv, timestamp: ts, target: 'y', schemaRef: s3://b-1/schema.yaml}
  training: {estimator: sklearn.linear_model:Ridge}
  evaluation: {primary: r2}
"""
