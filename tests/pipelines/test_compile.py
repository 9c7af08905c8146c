"""The compiled pipeline: what `trimtab compile` writes, and what the SDK sends of it."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from trimtab.adapters.environment import pipeline_image
from trimtab.adapters.kfp_package import compile_package
from trimtab.app.cli import cli
from trimtab.core.errors import Invalid

PIPELINE = "trimtab.pipelines.continuous_training:continuous_training"
STEPS = ("ingest", "validate", "detect-drift", "select-window", "train", "evaluate", "register", "deploy")
ARGUMENTS = {"model": "bikes", "spec": "s3://state/default/bikes/specs/1.yaml", "state": "s3://state/default"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory):
    return compile_package(PIPELINE, tmp_path_factory.mktemp("package") / "continuous_training.yaml")


@pytest.fixture(scope="module")
def spec(package):
    return YAML(typ="safe").load(package.path)


def tasks_of(component: dict, spec: dict) -> dict[str, dict]:
    """Every task that runs something, by name."""
    tasks = {}
    for name, task in component["dag"]["tasks"].items():
        child = spec["components"][task["componentRef"]["name"]]
        tasks |= tasks_of(child, spec) if "dag" in child else {name: task}
    return tasks


def test_the_steps_run_in_the_order_of_the_loop(package):
    assert package.steps == STEPS


def test_the_signature_is_the_public_one(spec):
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: value.get("defaultValue") for name, value in inputs.items()} == {
        "model": None,
        "spec": None,
        "state": None,
        "objects": [],
        "reason": "sdk",
        "run_key": "",
        "image": f"trimtab/pipeline:{version('trimtab')}",
    }


def test_the_default_image_is_the_one_that_the_manifests_name():
    base = YAML(typ="safe").load(Path(__file__).parents[2] / "manifests" / "base" / "kustomization.yaml")
    named = [each for made in base["configMapGenerator"] for each in made["literals"]]
    assert f"TRIMTAB_PIPELINE_IMAGE={pipeline_image({})}" in named


def test_no_step_is_ever_answered_from_kfps_cache(spec):
    tasks = tasks_of(spec["root"], spec)
    assert {name: task["cachingOptions"] for name, task in tasks.items()} == {name: {} for name in STEPS}


def test_every_step_runs_in_the_image_of_the_run(spec):
    images = {executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}
    assert images == {"{{$.inputs.parameters['pipelinechannel--image']}}"}


def test_training_waits_for_sound_data_registering_for_acceptance_and_deploying_for_a_challenger(spec):
    gates = {
        task["taskInfo"]["name"]: task["triggerPolicy"]["condition"]
        for component in [spec["root"], *spec["components"].values()]
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "triggerPolicy" in task
    }
    assert gates == {
        "data-is-sound": "inputs.parameter_values['pipelinechannel--detect-drift-Output'] == true",
        "candidate-is-accepted": "inputs.parameter_values['pipelinechannel--evaluate-Output'] == true",
        "it-is-challenger": "inputs.parameter_values['pipelinechannel--register-Output'] == true",
    }


def test_every_step_emits_typed_artifacts_that_name_what_it_made(spec):
    emitted = {
        name: {key: value["artifactType"]["schemaTitle"] for key, value in artifacts.items()}
        for name in STEPS
        if (artifacts := spec["components"][f"comp-{name}"].get("outputDefinitions", {}).get("artifacts"))
    }
    assert emitted == {
        "ingest": {"batch": "system.Dataset"},
        "validate": {"report": "system.HTML"},
        "detect-drift": {"report": "system.HTML"},
        "select-window": {"window": "system.Dataset"},
        "train": {"candidate": "system.Model"},
        "evaluate": {
            "refitted": "system.Model",
            "metrics": "system.Metrics",
            "classification": "system.ClassificationMetrics",
        },
        "register": {"version": "system.Model", "card": "system.HTML"},
        "deploy": {"rollout": "system.Artifact"},
    }


def test_equal_sources_compile_to_equal_bytes(package, tmp_path):
    assert compile_package(PIPELINE, tmp_path / "again.yaml").digest == package.digest


def test_the_image_is_settled_when_compiling(tmp_path):
    image = f"example.org/mine@sha256:{'1' * 64}"
    assert compile_package(PIPELINE, tmp_path / "p.yaml", image=image).image == image


def test_manifests_name_the_version_by_its_content(tmp_path):
    file = compile_package(PIPELINE, tmp_path / "m.yaml", namespace="team-a").path
    pipeline, version = YAML(typ="safe").load_all(file)
    assert (pipeline["kind"], pipeline["metadata"]) == (
        "Pipeline",
        {"name": "continuous-training", "namespace": "team-a"},
    )
    assert version["kind"] == "PipelineVersion"
    assert re.fullmatch(r"continuous-training-[0-9a-f]{12}", version["metadata"]["name"])
    assert version["spec"]["pipelineName"] == "continuous-training"
    assert set(tasks_of(version["spec"]["pipelineSpec"]["root"], version["spec"]["pipelineSpec"])) == set(STEPS)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("no_such_module:f", "could not load the pipeline 'no_such_module:f': No module named 'no_such_module'"),
        ("json", "could not load the pipeline 'json': it must be module:attribute"),
        ("json:dumps", "json:dumps is function, not a KFP pipeline"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path, setting, message):
    with pytest.raises(Invalid) as refused:
        compile_package(setting, tmp_path / "p.yaml")
    assert refused.value.message == message
    assert refused.value.hint


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="could not write"):
        compile_package(PIPELINE, tmp_path / "file" / "p.yaml")


def test_the_command_prints_a_line_that_submits_it(tmp_path, pipelines_api):
    path = tmp_path / "build" / "p.yaml"
    shown = CliRunner().invoke(cli, ["compile", "-o", str(path)], catch_exceptions=False).output
    command = shown[shown.index("python -c") :].replace("http://localhost:8080", pipelines_api.url)
    (tmp_path / "model.yaml").write_text("kind: ContinuousModel\n")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path, env=env, capture_output=True)
    (run,) = pipelines_api.runs.values()
    parameters = {"model": "NAME", "spec": "kind: ContinuousModel\n", "state": "s3://BUCKET/NAMESPACE"}
    assert run["runtime_config"]["parameters"] == parameters
    assert run["pipeline_spec"] == YAML(typ="safe").load(path)


def test_the_command_answers_in_json(tmp_path):
    path = tmp_path / "p.yaml"
    answer = json.loads(CliRunner().invoke(cli, ["compile", "-o", str(path), "--json"]).output)
    assert answer["path"] == str(path)
    assert tuple(answer["steps"]) == STEPS


def test_the_sdk_submits_the_function_with_its_parameters(pipelines_api):
    import kfp

    from trimtab.pipelines.continuous_training import continuous_training

    client = kfp.Client(host=pipelines_api.url)
    run = client.create_run_from_pipeline_func(
        continuous_training,
        arguments={**ARGUMENTS, "objects": ["s3://landing/a.csv"]},
        run_name="bikes-5",
        experiment_name="bikes",
    )
    recorded = pipelines_api.runs[run.run_id]
    assert recorded["display_name"] == "bikes-5"
    assert recorded["runtime_config"]["parameters"] == {**ARGUMENTS, "objects": ["s3://landing/a.csv"]}
    tasks = tasks_of(recorded["pipeline_spec"]["root"], recorded["pipeline_spec"])
    assert {name: task["cachingOptions"] for name, task in tasks.items()} == {name: {} for name in STEPS}
    assert [e["display_name"] for e in pipelines_api.experiments.values()] == ["bikes"]
    assert client.get_run(run.run_id).state == "PENDING"


def test_a_parameter_that_the_pipeline_does_not_have_is_refused(package, pipelines_api):
    import kfp
    import kfp_server_api

    client = kfp.Client(host=pipelines_api.url)
    with pytest.raises(kfp_server_api.ApiException, match="not required by pipeline: rows"):
        client.create_run_from_pipeline_package(str(package.path), arguments={**ARGUMENTS, "rows": 5})
    assert pipelines_api.runs == {}


def test_a_secret_reaches_every_step_and_changes_the_versions_name(tmp_path):
    plain = compile_package(PIPELINE, tmp_path / "plain.yaml", namespace="team-a").path
    file = compile_package(PIPELINE, tmp_path / "m.yaml", namespace="team-a", secret="trimtab-s3").path
    versions = [list(YAML(typ="safe").load_all(each))[1] for each in (plain, file)]
    assert versions[0]["metadata"]["name"] != versions[1]["metadata"]["name"]
    assert "platformSpec" not in versions[0]["spec"]
    executors = versions[1]["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == {f"exec-{name}" for name in STEPS}
    assert executors["exec-train"]["secretAsEnv"][0]["secretName"] == "trimtab-s3"


def test_the_command_writes_objects_for_kubectl_and_notes_a_tag_that_may_move(tmp_path):
    path = tmp_path / "p.yaml"
    shown = CliRunner().invoke(cli, ["compile", "--kubernetes", "-n", "shop", "-o", str(path)]).output
    assert "note        a tag may move" in shown
    assert [each["metadata"]["namespace"] for each in YAML(typ="safe").load_all(path)] == ["shop", "shop"]
    fixed = ["--image", f"example.org/mine@sha256:{'1' * 64}"]
    assert "note" not in CliRunner().invoke(cli, ["compile", "--kubernetes", *fixed, "-o", str(path)]).output


@pytest.mark.parametrize(
    "words",
    [
        ("--namespace", "Bad Name!"),
        ("--namespace", "n" * 64),
        ("--namespace", ""),
        ("--secret", "Bad Name!"),
        ("--image", " bad image"),
        ("--image", "example.org/mine@sha256:123"),
    ],
)
def test_the_command_refuses_names_that_no_cluster_takes(tmp_path, words):
    path = tmp_path / "p.yaml"
    done = CliRunner().invoke(cli, ["compile", "--kubernetes", *words, "-o", str(path)])
    assert isinstance(done.exception, Invalid)
    assert done.exception.message == f"{words[0]}: found {words[1]!r}"
    assert not path.exists()


@pytest.mark.parametrize("image", ["registry.example.org:5000/team/pipe_line:V1.2-rc", "localhost/p", "python"])
def test_the_command_takes_images_of_any_registry(tmp_path, image):
    path = tmp_path / "p.yaml"
    assert CliRunner().invoke(cli, ["compile", "--image", image, "--secret", "s3.keys", "-o", str(path)]).exit_code == 0
