"""What is generated is in step with the code, and is right by its own measure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from trimtab.app import generated, spec_reference
from trimtab.core.metrics import METRICS
from trimtab.core.spec.json_schema import json_schema
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.status import ROLLOUT_STATUS

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(ContinuousModel)


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for title, section in [("document", schema), *schema["$defs"].items()]:
        for name, field in section.get("properties", {}).items():
            yield f"{title}.{name}", field


def test_all_that_is_generated_is_in_step_with_the_code() -> None:
    # In a process of its own: click keeps the help option of a command's first use, whoever used it here before.
    command = [sys.executable, "-m", "trimtab.app.generated", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_the_schema_accepts_the_examples(name: str, schema: dict[str, Any]) -> None:
    document = YAML(typ="safe", pure=True).load((EXAMPLES / name / "model.yaml").read_text())
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "data", "formt"), "csv"),
        (("spec", "data", "format"), "xml"),
        (("spec", "window", "size"), "26 weeks"),
        (("spec", "window", "size"), "0d"),
        (("spec", "evaluation", "primary"), "roc"),
        (("spec", "evaluation", "holdout"), 14),
        (("spec", "training", "threads"), 0),
        (("metadata", "name"), "Flights"),
    ],
)
def test_the_schema_refuses_what_check_refuses(path: tuple[str, ...], value: Any, schema: dict[str, Any]) -> None:
    document = YAML(typ="safe", pure=True).load((EXAMPLES / "flights" / "model.yaml").read_text())
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    assert [name for name, field in fields(schema) if not field.get("description", "").endswith(".")] == []


def test_defaults_stand_as_a_user_writes_them(schema: dict[str, Any]) -> None:
    defaults = dict(fields(schema))
    assert defaults["Evaluation.holdout"]["default"] == "2w"
    assert defaults["UploadTrigger.settle"]["default"] == "30s"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_field_and_metric_stands_in_the_reference(schema: dict[str, Any]) -> None:
    page, metrics = spec_reference.of_model(schema), generated.render()[generated.REFERENCE / "metrics.md"]
    assert [name for name, _ in fields(schema) if f"| `{name.partition('.')[2]}` |" not in page] == []
    rollout = json_schema(ModelRollout)
    page_of_rollouts = spec_reference.of_rollout(rollout, ROLLOUT_STATUS)
    assert [name for name, _ in fields(rollout) if f"| `{name.partition('.')[2]}` |" not in page_of_rollouts] == []
    assert [name for name in METRICS if f"| `{name}` |" not in metrics] == []


def test_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(generated, "COMMANDS", {"check": ("spec:check", "Check a spec")})
    assert generated.main(["--check"]) == 1
    generated.main([])
    assert generated.main(["--check"]) == 0
    (tmp_path / "docs" / "reference" / "spec.md").write_text("old")
    capsys.readouterr()
    assert generated.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/reference/spec.md is stale\nhint: run `make generated`, and commit it\n"


def test_a_command_without_a_module_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(generated, "COMMANDS", {"fly": ("flying:fly", "Fly")})
    generated.main([])
    assert generated.main(["--check"]) == 1
    assert "has fly in COMMANDS and no module for it" in capsys.readouterr().err


def test_the_schema_is_one_json_document() -> None:
    text = generated.render()[generated.REFERENCE / "continuousmodel.schema.json"]
    assert json.loads(text)["title"] == "ContinuousModel"
