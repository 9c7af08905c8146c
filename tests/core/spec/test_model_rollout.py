"""A ModelRollout is checked as a model's spec is: each mistake with its path, what was found, the next move."""

from __future__ import annotations

import pytest
from contradictory_specs import CONTRADICTORY_ROLLOUTS, FREE, edited_rollout

from trimtab.core.spec import document
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.parse import rollout_from_document
from trimtab.core.spec.problems import InvalidSpec


def load(text: str) -> ModelRollout:
    return rollout_from_document(document.read(text, "rollout.yaml"))


@pytest.mark.parametrize("case", CONTRADICTORY_ROLLOUTS)
def test_a_contradiction_is_told_with_path_found_and_hint(case: str) -> None:
    changes, (path, found, hint) = CONTRADICTORY_ROLLOUTS[case]
    with pytest.raises(InvalidSpec) as refused:
        load(edited_rollout(*changes))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert found in problem.message
    assert hint in problem.hint
    assert problem.line > 1


def test_either_form_is_sound() -> None:
    free = load(edited_rollout())
    assert free.spec.model is None
    of_model = load(
        edited_rollout(
            (FREE, ""),
            ("spec:\n", "spec:\n  model: iris\n  version: 7\n  champion: 6\n"),
            ("{setWeight: 5}", "{shadow: {}}, {setWeight: 5}"),
        )
    )
    assert (of_model.spec.version, of_model.spec.champion) == (7, 6)


@pytest.mark.parametrize(
    ("written", "path", "found"),
    [
        (("name: canary, ", ""), "spec.target.challenger.predictor.name", "is missing"),
        (("name: canary, ", "name: New_X, "), "spec.target.challenger.predictor.name", "found 'New_X'"),
        ((", graph: {name: model}", ""), "spec.target.challenger.predictor.graph", "is missing"),
        (("seldonDeployment: iris", "seldonDeployment: Bad_Name"), "spec.target.seldonDeployment", "found 'Bad_Name'"),
        (("seldonDeployment: iris", "seldonDeployment: 1iris"), "spec.target.seldonDeployment", "found '1iris'"),
    ],
)
def test_what_seldon_cannot_serve_is_refused(written: tuple[str, str], path: str, found: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        load(edited_rollout(written))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert found in problem.message
    assert problem.hint


def test_a_predictor_says_whatever_seldon_knows() -> None:
    rollout = load(edited_rollout(("graph: {name: model}", "graph: {name: model}, replicas: 2")))
    assert rollout.spec.target.challenger is not None
    assert rollout.spec.target.challenger.predictor.model_extra == {"replicas": 2}


def test_a_wrong_field_is_told_with_its_line_and_what_is_meant() -> None:
    with pytest.raises(InvalidSpec) as refused:
        load(edited_rollout(("maxDuration: 24h", "maxDuraton: 24h")))
    (problem,) = refused.value.problems
    assert (problem.line, problem.hint) == (7, "did you mean maxDuration?")


def test_a_rollout_may_be_named_after_the_longest_model() -> None:
    assert len(load(edited_rollout(("iris-canary", "m" * 53 + "-v12345678"))).name) == 63
