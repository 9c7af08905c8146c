"""What a run's pipeline is given besides, as data."""

from __future__ import annotations

import copy

import pytest

from trimtab.adapters.kfp_spec import CompiledPipeline, furnished, kfp_resources, manifests, read_package
from trimtab.core.errors import Invalid


def pipeline(**executors: dict) -> CompiledPipeline:
    named = executors or {name: {} for name in ("ingest", "train", "evaluate")}
    containers = {
        f"exec-{name}": {"container": {"image": "i", "command": ["sh"], **given}} for name, given in named.items()
    }
    return CompiledPipeline(
        {
            "pipelineInfo": {"name": "tiny"},
            "root": {},
            "components": {},
            "deploymentSpec": {"executors": containers},
            "schemaVersion": "2.1.0",
        }
    )


def containers_of(found: CompiledPipeline) -> dict[str, dict]:
    return {name: each["container"] for name, each in found.spec["deploymentSpec"]["executors"].items()}


def test_only_the_steps_that_fit_get_the_trainings_resources():
    found = containers_of(furnished(pipeline(), resources={"requests": {"cpu": 2}, "limits": {"memory": "8Gi"}}))
    expected = {
        "cpuRequest": 2.0,
        "resourceCpuRequest": "2",
        "memoryLimit": 8.589934592,
        "resourceMemoryLimit": "8Gi",
    }
    assert found["exec-train"]["resources"] == found["exec-evaluate"]["resources"] == expected
    assert "resources" not in found["exec-ingest"]


def test_variables_are_added_and_the_compiled_pipeline_stays_as_it_was():
    given = pipeline(train={"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
    before = copy.deepcopy(given)
    found = containers_of(furnished(given, "s", {"B": "3", "C": "4"}, {"limits": {"cpu": "1"}}))
    assert found["exec-train"]["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": "4"},
    ]
    assert given == before


def test_a_platform_part_that_was_compiled_in_is_kept():
    given = CompiledPipeline(
        pipeline().spec,
        {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train": {"nodeSelector": {"a": "b"}}}}}}},
    )
    found = furnished(given, "store").platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert found["exec-train"]["nodeSelector"] == {"a": "b"}
    assert found["exec-train"]["secretAsEnv"][0]["optional"] is True
    assert set(found) == {"exec-ingest", "exec-train", "exec-evaluate"}


def test_without_anything_for_kubernetes_the_body_is_the_pipeline_alone():
    given = pipeline()
    assert furnished(given).body() == given.spec
    assert set(furnished(given, "s").body()) == {"pipeline_spec", "platform_spec"}


@pytest.mark.parametrize(
    ("resources", "path"),
    [
        ({"request": {"cpu": 1}}, "spec.training.resources.request"),
        ({"limits": 3}, "spec.training.resources.limits"),
        ({"limits": {"ephemeral-storage": "1Gi"}}, "spec.training.resources.limits.ephemeral-storage"),
        ({"limits": {"cpu": "lots"}}, "spec.training.resources.limits.cpu"),
        ({"limits": {"memory": "4GB"}}, "spec.training.resources.limits.memory"),
        ({"limits": {"nvidia.com/gpu": 1, "amd.com/gpu": 1}}, "spec.training.resources.limits.amd.com/gpu"),
    ],
)
def test_resources_that_kfp_cannot_pass_on_are_refused_by_their_path(resources, path):
    with pytest.raises(Invalid) as refused:
        kfp_resources(resources)
    assert refused.value.message.startswith(f"{path}: ")
    assert refused.value.hint


def test_a_request_for_a_device_beside_its_limit_is_left_to_the_limit():
    same = {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}
    assert set(kfp_resources(same)) == {"accelerator"}


def test_a_version_is_named_by_all_that_is_in_it():
    names = {
        manifests(each, "shop")[1]["metadata"]["name"]
        for each in (pipeline(), furnished(pipeline(), "a"), furnished(pipeline(), "b"))
    }
    assert len(names) == 3
    assert manifests(pipeline(), "shop") == manifests(pipeline(), "shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "found no pipeline package at"),
        ("a: [", "is no pipeline package"),
        ("a: 1", "holds 0 pipelines; a package holds one"),
        ("pipelineInfo: {name: x}\nschemaVersion: 2.0.0", "has schema version 2.0.0; KFP takes 2.1.0 alone"),
    ],
)
def test_a_file_that_is_no_package_is_refused(tmp_path, text, message):
    file = tmp_path / "p.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Invalid, match=message):
        read_package(file)
