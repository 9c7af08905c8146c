"""The custom resources' definitions on the real API server: what is refused there is what `trimtab check` refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.core.errors import Invalid
from trimtab.core.spec.cel import EXPRESSIONS
from trimtab.core.spec.digests import training_digest
from trimtab.core.spec.document import Document, elsewhere, scalar
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import as_written, from_document, load, rollout_from_document
from trimtab.core.spec.problems import InvalidSpec
from trimtab.core.spec.rules import REQUEST_RULES, ROLLOUT_RULES, RULES

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "spec"))

from contradictory_specs import CONTRADICTIONS, CONTRADICTORY_ROLLOUTS, SOUND, edited, edited_rollout

EXAMPLES = Path(__file__).parents[2] / "examples"
# What no expression can see, or what would cost too much: the controller says it, in the condition Accepted.
LEFT_TO_THE_CONTROLLER = {
    "a category's value twice",
    "a seed among the parameters",
    "threads of a step among the parameters",
    "resources of no Pod",
    "resources of no quantity",
}

# Plain scalars of YAML, of which two readers may think differently.
WORDS = """
y Y yes Yes YES n N no No NO nO on On ON oN off Off OFF ofF true True TRUE tRUE null Null NULL ~ = 2w v7 1e Infinity
0 00 07 08 010 -010 +017 0o17 -0o17 0O17 0x1F 0X1F -0x1F 0x_1F 0b11 -0b1 0B1 0b2 1_000 1_0.5 1__0 _1 1_ 0123abc
12 -3 +12 1.50 .5 5. +.5 1.e3 1e3 1E-3 1_0e3 1e1_0 1e_1 .5_0 -.5_0 1:30 2024-01-01
"""


def document(**changes: Any) -> dict[str, Any]:
    """A small model with sections replaced or extended, by their paths: `evaluation__margin=2.0`."""
    spec: dict[str, Any] = {
        "data": {
            "source": "s3://landing/in/",
            "format": "csv",
            "timestamp": "ts",
            "target": "late",
            "schema": {
                "carrier": {"type": "category", "values": ["AA", "DL"]},
                "distance": {"type": "float"},
                "late": {"type": "boolean"},
            },
        },
        "training": {"estimator": "sklearn.ensemble:HistGradientBoostingClassifier"},
        "evaluation": {"primary": "roc_auc"},
        "rollout": {"strategy": "immediate"},
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        place = spec
        for part in above:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ContinuousModel",
        "metadata": {"name": "flights"},
        "spec": spec,
    }


CANARY = {"strategy": "canary", "steps": [{"setWeight": 5}, {"setWeight": 50}]}


def checked(body: dict[str, Any]) -> ContinuousModel:
    return from_document(Document(body, {}), "model.yaml")


def apply(cluster: Any, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    body = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
    kind = MODEL if body["kind"] == "ContinuousModel" else ROLLOUT
    return cluster.api.apply(kind, body, "tests", force=True)


def found_by_check(text: str) -> set[str]:
    """The rules that `trimtab check` finds broken."""
    body = yaml.safe_load(text)
    read = from_document if body["kind"] == "ContinuousModel" else rollout_from_document
    with pytest.raises(InvalidSpec) as refused:
        read(Document(body, {}))
    said = refused.value.message
    return {rule.says for rule in (*RULES, *REQUEST_RULES) if rule.says in said}


def test_every_rule_that_stands_in_the_schema_is_tried() -> None:
    of_models = set().union(*(found_by_check(edited(*changes)) for changes, _ in CONTRADICTIONS.values()))
    assert {rule.says for rule in RULES if rule.breaches in EXPRESSIONS} <= of_models
    of_rollouts = set().union(
        *(found_by_check(edited_rollout(*changes)) for changes, _ in CONTRADICTORY_ROLLOUTS.values())
    )
    assert {rule.says for rule in (*ROLLOUT_RULES, *REQUEST_RULES)} - of_rollouts == set()


@pytest.mark.parametrize("case", sorted(set(CONTRADICTIONS) - LEFT_TO_THE_CONTROLLER))
def test_a_contradiction_is_refused_at_apply_in_the_sentence_of_check(cluster, case):
    refused_at_apply(cluster, edited(*CONTRADICTIONS[case][0]))


@pytest.mark.parametrize("case", CONTRADICTORY_ROLLOUTS)
def test_a_contradiction_of_a_rollout_is_refused_at_apply_in_the_sentence_of_check(cluster, case):
    refused_at_apply(cluster, edited_rollout(*CONTRADICTORY_ROLLOUTS[case][0]))


def refused_at_apply(cluster: Any, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        apply(cluster, "default", yaml.safe_load(text))
    (says,) = found_by_check(text)
    assert says in refused.value.message


@pytest.mark.parametrize("case", sorted(LEFT_TO_THE_CONTROLLER))
def test_what_the_schema_cannot_state_is_left_to_the_controller(cluster, namespace, case):
    text = edited(*CONTRADICTIONS[case][0])
    assert found_by_check(text)
    apply(cluster, namespace, yaml.safe_load(text))


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_the_examples_are_accepted(cluster, namespace, name):
    body = yaml.safe_load((EXAMPLES / name / "model.yaml").read_text())
    assert apply(cluster, namespace, body)["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "body",
    [
        document(),
        document(rollout=CANARY),
        document(window={"strategy": "all", "size": None}),
        document(triggers={"upload": {}, "drift": {}, "schedule": {"cron": "0 3 * * 1"}, "budget": {}}),
        document(alerts=[{"urlFrom": {"env": "URL"}}], data__quality={}, data__labels={}),
        yaml.safe_load(SOUND),
    ],
)
def test_the_servers_defaults_are_the_models_own(cluster, namespace, body):
    stored = apply(cluster, namespace, body)
    assert checked({**body, "spec": stored["spec"]}) == checked(body)


def test_what_kubectl_shows_of_a_model_is_its_spec(cluster, namespace):
    body = yaml.safe_load((EXAMPLES / "flights" / "model.yaml").read_text())
    apply(cluster, namespace, body)
    cluster.api.merge(MODEL, namespace, "flights", {"status": {"champion": 4}}, "status")
    shown = cluster.kubectl("-n", namespace, "get", "ctm", "flights", "-o", "yaml", "--show-managed-fields")
    assert "resourceVersion" in shown.stdout
    assert load(shown.stdout).spec == checked(body).spec


def test_what_kubectl_reads_otherwise_than_check_is_refused_by_check(cluster):
    words = WORDS.split()
    written = "".join(f"  k{place}: {word}\n" for place, word in enumerate(words))
    manifest = f"apiVersion: a.b/v1\nkind: Any\nmetadata: {{name: any}}\nspec:\n{written}"
    done = cluster.kubectl("label", "--local", "-f", "-", "-o", "json", "a=b", stdin=manifest)
    assert done.returncode == 0, done.stderr
    for place, word in enumerate(words):
        theirs, ours = json.loads(done.stdout)["spec"][f"k{place}"], scalar(word)
        same = theirs == ours and isinstance(theirs, bool | str) == isinstance(ours, bool | str)
        assert same != bool(elsewhere(word)), f"{word}: {theirs!r} to kubectl, {ours!r} here"


def test_a_model_takes_the_same_columns_in_the_same_order_as_on_a_laptop(cluster, namespace):
    columns = {
        "zone": {"type": "float"},
        "Age": {"type": "int"},
        "\u00e9tat": {"type": "int"},
        "late": {"type": "boolean"},
    }
    body = document(data__schema=columns)
    kept = apply(cluster, namespace, body)
    assert list(kept["spec"]["data"]["schema"]) != list(columns)  # an API server keeps no order
    here, there = checked(body), from_document(Document(as_written(kept), {}))
    assert here.spec.data.features == there.spec.data.features == ("Age", "zone", "\u00e9tat")
    assert training_digest(here, "", "1") == training_digest(there, "", "1")


def test_what_stands_as_null_on_a_laptop_may_stand_so_in_a_cluster(cluster, namespace):
    body = document(evaluation__holdout="2w")
    body["spec"]["evaluation"]["floor"] = None
    body["spec"]["data"]["labels"] = {"source": None}
    assert checked({**body, "spec": apply(cluster, namespace, body)["spec"]}) == checked(body)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("data__format", "xml", "Unsupported value"),
        ("evaluation__block", "1 day", "should match"),
        ("data__target", 5, "string"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(cluster, namespace, path, value, said):
    with pytest.raises(Invalid, match=said) as refused:
        apply(cluster, namespace, document(**{path: value}))
    assert f"spec.{path.replace('__', '.')}" in refused.value.message


def test_an_unknown_field_is_refused_by_a_strict_apply(cluster, namespace):
    with pytest.raises(Invalid, match="typo"):
        apply(cluster, namespace, document(typo=1))


def test_the_largest_spec_is_taken_and_no_rule_costs_too_much_on_it(cluster, namespace):
    columns = {
        f"column-{number:04}-of-a-wide-table": {"type": "category", "values": ["a", "b"]} for number in range(1999)
    }
    body = document(
        data__schema={**columns, "late": {"type": "boolean"}},
        data__exclude=[f"excluded-{number:04}-of-a-wide-table" for number in range(200)],
        data__key=[f"key-{number:04}-of-a-wide-table" for number in range(50)],
        window={"minClassRatio": 0.1},
        evaluation__slices=list(columns)[-50:],
        rollout={"strategy": "canary", "steps": [{"setWeight": each, "minDuration": "1m"} for each in range(1, 51)]},
    )
    assert checked({**body, "spec": apply(cluster, namespace, body)["spec"]}) == checked(body)


def test_both_forms_of_a_rollout_are_taken_and_defaults_are_the_requests_own(cluster, namespace):
    free = yaml.safe_load(edited_rollout())
    target = {"seldonDeployment": "flights"}
    of_model = {**free, "metadata": {"name": "m" * 53 + "-v12345678"}}
    of_model["spec"] = {**CANARY, "model": "flights", "version": 7, "champion": 6, "target": target}
    for body in (free, of_model):
        stored = apply(cluster, namespace, body)
        assert stored["spec"]["target"] == body["spec"]["target"]
        read = rollout_from_document(Document({**body, "spec": stored["spec"]}, {}))
        assert read == rollout_from_document(Document(body, {}))


def test_kubectl_explains_and_lists_by_short_names(cluster, namespace):
    apply(cluster, namespace, document())
    explained = cluster.kubectl("explain", "continuousmodel.spec.rollout.analysis.alpha").stdout
    assert "Chance of rolling back a harmless model" in explained
    listed = cluster.kubectl("get", "ctm", "-n", namespace).stdout
    assert listed.split()[:4] == ["NAME", "CHAMPION", "RUN", "ROLLOUT"]
    assert "flights" in listed
    assert "modelrollouts" in cluster.kubectl("api-resources", "--categories=trimtab").stdout
