"""The custom resources' definitions on the real API server: what is refused there is what `trimtab check` refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.core.errors import Invalid
from trimtab.core.spec.cel import EXPRESSIONS
from trimtab.core.spec.document import Document
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import from_document
from trimtab.core.spec.problems import InvalidSpec
from trimtab.core.spec.rules import RULES

EXAMPLES = Path(__file__).parents[2] / "examples"


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
# By what the rule says: a document that breaks it and no other.
BROKEN: dict[str, dict[str, Any]] = {
    "exactly one of schema and schemaRef is given": document(data__schemaRef="s3://landing/schema.yaml"),
    "a list of names holds each name once": document(data__key=["a", "a"]),
    "target, timestamp, key and exclude name different columns": document(data__exclude=["ts"]),
    "the target is a column of the schema that can be learned": document(data__target="delayed"),
    "the event time, where it is declared, has type timestamp": document(data__schema__ts={"type": "string"}),
    "a category lists its values; no other type has values": document(data__schema__carrier={"type": "category"}),
    "min and max belong to float and int, min at most max": document(
        data__schema__distance={"type": "float", "min": 3, "max": 2}
    ),
    "joinBy: key needs a key": document(data__labels={"joinBy": "key"}),
    "labels and uploads lie under different prefixes": document(data__labels={"source": "s3://landing/in/labels/"}),
    "exactly one of worseThan and dropFromBaseline": document(triggers={"performance": {"metric": "roc_auc"}}),
    "a fixed window has a size, and no other has": document(window={"strategy": "fixed"}),
    "a dynamic window has two candidates or more, and no other has": document(window={"candidates": ["2w"]}),
    "the primary metric is one of metrics": document(evaluation__metrics=["log_loss"]),
    "a metric fits the type of the target": document(evaluation__primary="r2"),
    "a threshold lies in its metric's range": document(evaluation__floor=1.5),
    "a margin is smaller than its metric's range": document(evaluation__margin=1.0),
    "a holdout holds at least two blocks": document(evaluation__block="1w", evaluation__holdout="10d"),
    "a slice is a category or boolean column of the schema": document(evaluation__slices=["distance"]),
    "a step is exactly one of shadow, setWeight and pause": document(
        rollout={"strategy": "canary", "steps": [{"setWeight": 5, "pause": {}}]}
    ),
    "steps are those of their strategy": document(rollout={"strategy": "canary", "steps": [{"pause": {}}]}),
    "weights rise from step to step, shadow before them": document(
        rollout={"strategy": "canary", "steps": [{"setWeight": 50}, {"setWeight": 5}]}
    ),
    "the steps fit into maxDuration": document(
        rollout={"strategy": "canary", "maxDuration": "1h", "steps": [{"setWeight": 5, "minDuration": "2h"}]}
    ),
    "abTest needs stickyHeader": document(rollout={"strategy": "abTest", "steps": [{"setWeight": 50}]}),
}


def checked(body: dict[str, Any]) -> ContinuousModel:
    return from_document(Document(body, {}), "model.yaml")


def apply(cluster: Any, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    body = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
    kind = MODEL if body["kind"] == "ContinuousModel" else ROLLOUT
    return cluster.api.apply(kind, body, "tests", force=True)


def test_every_rule_that_stands_in_the_schema_is_tried() -> None:
    assert {rule.says for rule in RULES if rule.breaches in EXPRESSIONS} == set(BROKEN)


@pytest.mark.parametrize("says", BROKEN)
def test_a_contradiction_is_refused_at_apply_in_the_sentence_of_check(cluster, namespace, says):
    with pytest.raises(InvalidSpec) as by_check:
        checked(BROKEN[says])
    assert says in by_check.value.message
    with pytest.raises(Invalid) as by_server:
        apply(cluster, namespace, BROKEN[says])
    assert says in by_server.value.message


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_the_examples_are_accepted(cluster, namespace, name):
    body = yaml.safe_load((EXAMPLES / name / "model.yaml").read_text())
    assert apply(cluster, namespace, body)["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "body", [document(), document(rollout=CANARY), document(window={"strategy": "all", "size": None})]
)
def test_the_servers_defaults_are_the_models_own(cluster, namespace, body):
    stored = apply(cluster, namespace, body)
    assert checked({**body, "spec": stored["spec"]}) == checked(body)


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


def rollout(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": "flights-v7"},
        "spec": {"target": {"seldonDeployment": "flights"}, **CANARY, **spec},
    }


def test_a_rollout_has_one_of_two_forms(cluster, namespace):
    apply(cluster, namespace, rollout(model="flights", version=7, champion=6))
    with pytest.raises(Invalid, match="either model, version and champion, or"):
        apply(cluster, namespace, rollout(model="flights", version=7))
    predictor = {"name": "canary", "graph": {"name": "model"}}
    free = {"seldonDeployment": "iris", "champion": "main", "challenger": {"predictor": predictor}}
    assert apply(cluster, namespace, rollout(target=free))["spec"]["target"] == free
    with pytest.raises(Invalid, match="either model"):
        apply(cluster, namespace, rollout(target=free, model="flights", version=7, champion=6))


def test_kubectl_explains_and_lists_by_short_names(cluster, namespace):
    apply(cluster, namespace, document())
    explained = cluster.kubectl("explain", "continuousmodel.spec.rollout.analysis.alpha").stdout
    assert "Chance of rolling back a harmless model" in explained
    listed = cluster.kubectl("get", "ctm", "-n", namespace).stdout
    assert listed.split()[:4] == ["NAME", "CHAMPION", "RUN", "ROLLOUT"]
    assert "flights" in listed
    assert "modelrollouts" in cluster.kubectl("api-resources", "--categories=trimtab").stdout
