"""The predictors that trimtab writes: of a registered model, and of a rollout without one."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.kubernetes.predictor import FreePredictors, ModelPredictors, ServedModel
from trimtab.core.errors import Invalid
from trimtab.core.rollout.pinning import pins
from trimtab.core.rollout.predictors import Found

OWNER = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "ContinuousModel",
    "metadata": {"name": "flights", "namespace": "air", "uid": "u1"},
}


def served(**more: Any) -> ServedModel:
    known = {"image": "trimtab/serving@sha256:1", "state_bucket": "state", "secret": "s3", "account": "models", **more}
    return ServedModel(namespace="air", model="flights", owner=OWNER, **known)


def pod(predictor: Any) -> dict[str, Any]:
    found: dict[str, Any] = predictor["componentSpecs"][0]["spec"]
    return found


def test_v7_serves_version_7_and_other_names_are_nobodys() -> None:
    predictors = ModelPredictors(served())
    assert predictors.name(7) == "v7"
    assert [predictors.number(name) for name in ("v7", "v07", "v7a", "main", "v0")] == [7, None, None, None, None]


def test_the_server_is_told_what_to_serve_and_where_its_state_is() -> None:
    container = pod(ModelPredictors(served(trusted_types=("mine.Encoder",))).template(7))["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert (variables["TRIMTAB_MODEL"], variables["TRIMTAB_VERSION"]) == ("flights", "7")
    assert (variables["TRIMTAB_STATE_BUCKET"], variables["TRIMTAB_NAMESPACE"]) == ("state", "air")
    assert variables["TRIMTAB_TRUSTED_TYPES"] == "mine.Encoder"
    assert container["image"] == "trimtab/serving@sha256:1"
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "256Mi"}}
    assert not any("KEY" in name or "SECRET" in name for name in variables)


def test_all_that_it_writes_to_is_a_volume_and_it_may_do_nothing_else() -> None:
    found = pod(ModelPredictors(served()).template(7))
    container = found["containers"][0]
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = [each["mountPath"] for each in container["volumeMounts"]]
    variables = {each["name"]: each["value"] for each in container["env"]}
    for name in ("TRIMTAB_LOG_FOLDER", "TRIMTAB_CACHE"):
        assert any(variables[name].startswith(path) for path in paths)
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in found["volumes"]}


def test_who_loads_for_minutes_on_a_busy_node_is_not_restarted_for_it() -> None:
    container = pod(ModelPredictors(served()).template(7))["containers"][0]
    starting = container["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] == 600
    assert starting["httpGet"] == container["livenessProbe"]["httpGet"]


def test_the_operator_has_nothing_left_to_choose_but_the_replicas() -> None:
    template = {**ModelPredictors(served()).template(7), "replicas": 1}
    assert pins(Found((template,))) == []


def test_without_an_image_the_next_move_is_told() -> None:
    with pytest.raises(Invalid, match="TRIMTAB_SERVING_IMAGE"):
        ModelPredictors(served(image="")).template(7)


def test_a_models_deployment_goes_with_the_model() -> None:
    found = ModelPredictors(served()).deployment()
    assert found is not None
    assert found["metadata"]["name"] == "flights"
    assert [each["uid"] for each in found["metadata"]["ownerReferences"]] == ["u1"]


def test_a_challenger_of_another_says_its_ports_and_is_else_as_it_was_written() -> None:
    graph = {"name": "first", "children": [{"name": "second"}]}
    containers: list[dict[str, Any]] = [
        {"name": "first", "image": "a", "ports": [{"name": "http", "containerPort": 8080}]},
        {"name": "second", "image": "b"},
        {"name": "sidecar", "image": "c"},
    ]
    author = {"name": "next", "graph": graph, "componentSpecs": [{"spec": {"containers": containers}}]}
    predictors = FreePredictors({1: "main", 2: "next"}, 2, author)
    first, second, sidecar = pod(predictors.template(2))["containers"]

    def ports(container: dict[str, Any]) -> dict[str, int]:
        return {each["name"]: each["containerPort"] for each in container["ports"]}

    assert ports(first) == {"http": 8080, "metrics": 6000, "grpc": 9500}
    assert ports(second) == {"metrics": 6001, "http": 9001, "grpc": 9501}, "in one pod no port is taken twice"
    assert "ports" not in sidecar
    assert "ports" not in containers[1], "what its author wrote is not changed"
    assert predictors.deployment() is None


def test_a_champion_that_is_gone_is_not_made_up() -> None:
    with pytest.raises(Invalid, match="main is gone"):
        FreePredictors({1: "main", 2: "next"}, 2, {"name": "next"}).template(1)
