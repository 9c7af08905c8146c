"""Fields that are right by themselves and contradict each other are refused with both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contradictory_specs import COLUMNS, CONTRADICTIONS

from trimtab.core.spec import load
from trimtab.core.spec.problems import InvalidSpec

Edited = Callable[..., str]


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_told_with_path_found_and_hint(case: str, edited: Edited) -> None:
    changes, (path, found, hint) = CONTRADICTIONS[case]
    with pytest.raises(InvalidSpec) as refused:
        load(edited(*changes))
    assert [problem.path for problem in refused.value.problems] == [path]
    (problem,) = refused.value.problems
    assert found in problem.message
    assert hint in problem.hint
    assert problem.line > 1


def test_the_sound_spec_has_no_contradiction(sound: str) -> None:
    assert load(sound).name == "flights"


def test_text_is_a_feature_of_a_frame(edited: Edited) -> None:
    text = edited(
        ("delayed: {type: boolean}", "delayed: {type: boolean}\n      remark: {type: string}"),
        ("    seed: 0\n", "    seed: 0\n    input: frame\n"),
    )
    assert "remark" in load(text).spec.data.features


def test_rules_about_columns_wait_for_a_schema_that_stands_apart(edited: Edited) -> None:
    model = load(edited((COLUMNS, "    schemaRef: s3://flights/schema.yaml\n")))
    assert model.spec.data.schema_ref == "s3://flights/schema.yaml"
