"""`trimtab init` and `trimtab check`, as a user meets them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from trimtab.app.cli import main
from trimtab.core.spec import load

EXAMPLES = Path(__file__).parents[2] / "examples"
BIKES = str(EXAMPLES / "bikeshare" / "data" / "2011.csv")
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://small/
    format: csv
    timestamp: ts
    target: 'y'
    schema: {x: {type: float}, 'y': {type: float}}
  training: {estimator: "sklearn.linear_model:Ridge", parameters: {alpha: 2}}
  evaluation: {primary: r2}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_check_says_ok_with_figures_and_the_next_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(EXAMPLES / name / "model.yaml")
    main(["check", "-f", file])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"OK {name}: 1")
    assert said[-1] == f"next: trimtab up -f {file}"


def test_check_tells_every_problem_and_exits_with_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text(SPEC.replace("format: csv", "format: cvs").replace("primary: r2", "primary: r3"))
    assert fails("check", "-f", "model.yaml") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: model.yaml has 2 problems" in said.err
    assert (
        "  line 7: spec.data.format: found 'cvs'; it is one of csv, parquet, jsonl\n    hint: did you mean csv?"
        in said.err
    )
    assert "Traceback" not in said.err


def test_check_tells_a_wrong_parameter_of_the_estimator(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text(SPEC.replace("alpha: 2", "alhpa: 2"))
    assert fails("check", "-f", "model.yaml") == 2
    assert "spec.training.parameters.alhpa" in (said := capsys.readouterr().err)
    assert "hint: did you mean alpha?" in said


def test_check_finds_a_users_module_beside_the_spec_not_in_the_working_directory(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "models"
    folder.mkdir()
    (folder / "model.yaml").write_text(SPEC.replace("sklearn.linear_model:Ridge", "beside:build"))
    (here / "beside.py").write_text("raise RuntimeError('the wrong one')\n")
    (folder / "beside.py").write_text("from sklearn.linear_model import Ridge\ndef build(alpha): return Ridge(alpha)\n")
    main(["check", "-f", "models/model.yaml"])
    assert "OK small" in capsys.readouterr().out


def test_check_reads_standard_input(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
    main(["check", "-f", "-"])
    assert "OK small: 1 feature, target y (regression)" in capsys.readouterr().out


SERVERS_OWN = """
  uid: 0c1f5a2e-7d2b-4a55-9a07-5d3b8f6c1e22
  resourceVersion: "4711"
  generation: 3
  creationTimestamp: "2024-03-01T12:00:00Z"
  namespace: shop
  annotations:
    trimtab.dev/arrived: "2024-03-01T12:00:01.000000Z"
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"trimtab.dev/v1alpha1","kind":"ContinuousModel"}
  finalizers: []
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: site, uid: 7e0f}]
  managedFields:
  - {manager: kubectl, operation: Apply, fieldsV1: {"f:spec": {.: {}, "f:training": {}}}}
"""
STATUS = """
status:
  observedGeneration: 3
  champion: 4
  conditions: [{type: Accepted, status: "True", reason: Accepted, message: the spec is sound}]
"""


def test_check_takes_what_kubectl_shows_of_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "metadata: {name: small}\n"
    assert name in SPEC
    Path("model.yaml").write_text(SPEC.replace(name, f"metadata:\n  name: small{SERVERS_OWN}") + STATUS)
    main(["check", "-f", "model.yaml"])
    assert capsys.readouterr().out.startswith("OK small: 1 feature")


def test_check_still_refuses_what_no_server_adds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text(SPEC.replace("metadata: {name: small}", "metadata: {name: small, lables: {}}"))
    assert fails("check", "-f", "model.yaml") == 2
    assert "metadata.lables" in capsys.readouterr().err


def test_check_lists_what_is_accepted_and_refused_at_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text(SPEC + "  window: {strategy: representative}\n")
    main(["check", "-f", "model.yaml"])
    said = capsys.readouterr().out
    assert said.startswith("OK small")
    assert "accepted, refused at use: spec.window.strategy: choosing the window by itself comes later" in said


def test_check_answers_a_machine_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text(SPEC)
    main(["check", "-f", "model.yaml", "--json"])
    sound = json.loads(capsys.readouterr().out)
    assert (sound["ok"], sound["features"], sound["task"], sound["later"]) == (True, 1, "regression", {})
    Path("model.yaml").write_text(SPEC.replace("format: csv", "format: cvs"))
    assert fails("check", "-f", "model.yaml", "--json") == 2
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {
        "ok": False,
        "problems": [
            {
                "path": "spec.data.format",
                "line": 7,
                "message": "found 'cvs'; it is one of csv, parquet, jsonl",
                "hint": "did you mean csv?",
            }
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "found"), [(("-f", "nothing.yaml"), "found no file nothing.yaml"), ((), "Missing option '-f'")]
)
def test_check_without_a_spec_exits_with_2(
    arguments: tuple[str, ...], found: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails("check", *arguments) == 2
    assert found in capsys.readouterr().err


def test_init_writes_a_spec_that_check_passes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", BIKES, "--target", "cnt", "--name", "bikes"])
    said = capsys.readouterr().out
    assert "wrote model.yaml: 12 features, target cnt (int, regression)" in said
    assert "look at registered: it follows cnt" in said
    assert said.endswith("next: trimtab check -f model.yaml\n")
    main(["check", "-f", "model.yaml"])
    assert "OK bikes" in capsys.readouterr().out
    data = load(Path("model.yaml").read_text()).spec.data
    assert (data.timestamp, data.described["weathersit"].values) == (
        "ts",
        ("Clear", "Heavy Rain", "Light Rain", "Mist"),
    )
    assert data.described["weathersit"].nullable
    assert not data.described["temp"].nullable


def test_init_of_the_same_file_writes_the_same_spec(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for _ in range(2):
        main(["init", BIKES, "--target", "cnt", "-o", "-"])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert load(texts[0]).name == "model"


def test_init_keeps_an_existing_file_unless_forced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.yaml").write_text("mine")
    assert fails("init", BIKES, "--target", "cnt") == 2
    assert "--force" in capsys.readouterr().err
    assert Path("model.yaml").read_text() == "mine"
    main(["init", BIKES, "--target", "cnt", "--force"])
    assert load(Path("model.yaml").read_text())


INIT = {
    "no target": ((BIKES,), "found no --target; the file's columns are: hour (int), season (category)", "--target cnt"),
    "a misspelt target": ((BIKES, "--target", "cnnt"), "the file has no column cnnt", "did you mean cnt?"),
    "the event time as target": ((BIKES, "--target", "ts"), "ts is the event time", "a number, a boolean"),
    "a timestamp that is none": ((BIKES, "--target", "cnt", "--timestamp", "temp"), "temp does not read as", "try ts"),
    "a name with capitals": ((BIKES, "--target", "cnt", "--name", "My Bikes"), "'My Bikes'", "take --name my-bikes"),
    "no file": (("nothing.csv", "--target", "y"), "found no file nothing.csv", "csv, parquet or jsonl"),
    "a folder": (("..", "--target", "y"), ".. is a folder", "name one csv"),
    "another kind of file": ((__file__, "--target", "y"), "ends in none of .csv", "export it as csv"),
}


@pytest.mark.parametrize("case", INIT)
def test_init_tells_what_it_needs(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, found, hint = INIT[case]
    assert fails("init", *arguments) == 2
    said = capsys.readouterr().err
    assert found in said
    assert hint in said
    assert list(here.iterdir()) == []


def test_check_takes_a_model_rollout_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
apiVersion: trimtab.dev/v1alpha1
kind: ModelRollout
metadata: {name: iris-canary}
spec:
  steps: [{setWeight: 10}, {setWeight: 50}]
  target: {seldonDeployment: iris, champion: main, challenger: {predictor: {name: canary, graph: {name: model}}}}
"""
    Path("rollout.yaml").write_text(text)
    main(["check", "-f", "rollout.yaml"])
    assert capsys.readouterr().out.splitlines() == [
        "OK iris-canary: canary of canary beside main on iris, 2 steps",
        "next: kubectl apply -f rollout.yaml",
    ]
    Path("rollout.yaml").write_text(text.replace("setWeight: 10", "setWeight: 60"))
    assert fails("check", "-f", "rollout.yaml", "--json") == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["path"], problem["line"]) == ("spec.steps[1].setWeight", 5)
