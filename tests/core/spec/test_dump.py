"""A model is written to YAML that reads back to the same model."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.spec import document, load
from trimtab.core.spec.digests import training_digest
from trimtab.core.spec.dump import block, dump

# Everything that text may hold but half characters, with what YAML could mistake for something else.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["no", "true", "1", "1e3", "~", "", " a", "a ", "a: b", "# c", "- d", "<<", "2024-01-01", "\x85"]),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_the_sound_spec_reads_back_to_itself(sound: str) -> None:
    model = load(sound)
    assert load(dump(model)) == model


def test_writing_twice_gives_the_same_text(sound: str) -> None:
    once = dump(load(sound))
    assert dump(load(once)) == once


@settings(deadline=None)  # the machine is shared
@given(st.dictionaries(TEXT.filter(lambda key: key != "<<"), VALUES, min_size=1, max_size=4))
def test_any_parameters_read_back_to_themselves(parameters: dict[str, Any]) -> None:
    read = document.read(block({"training": {"parameters": parameters}}), "a.yaml")
    assert read.value == {"training": {"parameters": parameters}}


@settings(deadline=None)  # the machine is shared
@given(st.lists(TEXT.filter(bool), min_size=2, max_size=6, unique=True))
def test_any_categories_read_back_to_themselves(values: list[str]) -> None:
    model = load(MINIMAL)
    data = model.spec.data
    column = data.described["kind"].model_copy(update={"values": tuple(values)})
    changed = data.model_copy(update={"columns": {**data.described, "kind": column}})
    varied = model.model_copy(update={"spec": model.spec.model_copy(update={"data": changed})})
    again = load(dump(varied))
    assert again == varied
    assert training_digest(again, "", "1") == training_digest(varied, "", "1")


MINIMAL = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: demand}
spec:
  data:
    source: s3://demand/
    format: csv
    timestamp: ts
    target: count
    schema:
      kind: {type: category, values: [a, b]}
      count: {type: int}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {primary: mean_absolute_error}
"""


def test_what_is_left_out_takes_the_defaults_of_the_reference() -> None:
    spec = load(MINIMAL).spec
    assert spec.rollout.strategy == "immediate"
    assert spec.window.strategy == "all"
    assert spec.training.mode == "offline"
    assert spec.triggers.upload is None
    assert spec.evaluation.reported == ("mean_absolute_error",)
    assert spec.rollout.analysis.model_dump() == {
        "alpha": 0.05,
        "max_error_ratio_increase": 0.01,
        "max_latency_exceedance_increase": 0.02,
        "max_loss_increase": 0.02,
    }
