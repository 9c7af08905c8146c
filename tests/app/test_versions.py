"""`trimtab show`, `get`, `approve` and `trimtab.load_model` against a registry with real models in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

import trimtab
from trimtab.adapters.state import State
from trimtab.app.cli import cli
from trimtab.app.status import read_status
from trimtab.core.errors import Invalid, NotFound, Superseded, TrimtabError
from trimtab.core.ports import Buckets
from trimtab.core.records import Manifest, ModelVersion, Outcome
from trimtab.serving import artifact, assembly

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)
COLUMNS = (("distance", "float", ()), ("carrier", "category", ("AA", "DL", "UA")))
FRAME = {"distance": [0.1, 0.9, 0.5, None], "carrier": ["AA", "UA", "never seen", None]}
EVALUATION = {
    "result": "better",
    "state": "champion",
    "reason": "better by 0.05",
    "primary": "roc_auc",
    "greaterIsBetter": True,
    "champion": 1,
    "holdoutStart": "2012-02-01T00:00:00Z",
    "holdoutEnd": "2012-02-15T00:00:00Z",
    "rows": 1200,
    "comparedRows": 1200,
    "blocks": 14,
    "blockSeconds": 86400,
    "confidence": 0.95,
    "margin": 0.01,
    "floor": 0.6,
    "candidate": {"roc_auc": {"point": 0.75, "low": 0.71, "high": 0.79}},
    "championMetrics": {"roc_auc": {"point": 0.7, "low": 0.66, "high": 0.74}},
    "difference": {"roc_auc": {"point": 0.05, "low": 0.02, "high": 0.08}},
    "slices": [{"column": "carrier", "value": "AA", "rows": 400, "candidate": {"point": 0.8}}],
}
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: flights}
spec:
  data:
    source: s3://landing/flights/
    format: csv
    timestamp: ts
    target: late
    schema: {distance: {type: float}, carrier: {type: category, values: [AA, DL, UA]}, late: {type: boolean}}
  training: {estimator: "sklearn.ensemble:RandomForestClassifier"}
  evaluation: {primary: roc_auc}
  rollout: ROLLOUT
"""


@pytest.fixture
def state(buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return State.open(buckets, f"s3://{state_bucket}/default", "flights")


@pytest.fixture
def register(state: State, tmp_path: Path) -> Callable[..., ModelVersion]:
    """Fit a small model, register it and, if wanted, conclude its decision and make it champion."""

    def register(
        run: str,
        ended: Any = "champion",
        champion: bool = False,
        estimator: Any = None,
        card: str = "<p>card</p>",
        rollout: str = "{}",
    ) -> ModelVersion:
        generator = np.random.default_rng(len(run))
        X = {"distance": generator.random(60), "carrier": generator.choice(["AA", "DL", "UA"], 60)}  # noqa: N806
        pipeline = assembly.assemble(COLUMNS, estimator or RandomForestClassifier(3, random_state=0), "matrix")
        assembly.fit(pipeline, X, X["distance"] > 0.5, threads=1)
        artifact.save(pipeline, tmp_path / run)
        digest = state.registry.put_artifact(tmp_path / run)
        version = state.registry.add_version(
            lambda number: ModelVersion(
                number=number,
                run_key=run,
                artifact=digest,
                evaluated_artifact="b" * 64,
                dataset="d" * 64,
                training_digest="t" * 64,
                spec=state.data.put_spec(SPEC.replace("ROLLOUT", rollout)),
                trained_from=NOW,
                trained_until=NOW,
                rows=1234,
                estimator="sklearn.ensemble:RandomForestClassifier",
                seed=0,
                metrics={"roc_auc": 0.75},
                evaluation=EVALUATION,
                reference="p" * 64,
                lineage={"packages": {"scikit-learn": "1.9.1"}, "partitions": ["a", "b", "c", "d"]},
                training_seconds=0.5,
                fits=2,
                card=state.data.put_card(card),
                recorded_at=NOW,
            )
        )
        state.decisions.conclude(
            Outcome(
                number=version.number,
                run_key=run,
                state=ended,
                reason=f"{run} was judged",
                version=version.number,
                decided_at=NOW,
                recorded_at=NOW,
            )
        )
        if champion:
            state.registry.publish(
                lambda now: Manifest(
                    number=0,
                    champion=version.number,
                    challenger=None,
                    previous=now.champion if now else None,
                    cause="better",
                    recorded_at=NOW,
                )
            )
        return version

    return register


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=True)
    if result.exception:
        raise result.exception
    return result.output


def refused(*arguments: str) -> TrimtabError:
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, TrimtabError), result.output
    return result.exception


# load_model


@pytest.mark.parametrize("frame", [pd.DataFrame(FRAME), pl.DataFrame(FRAME), FRAME], ids=["pandas", "polars", "dict"])
def test_a_loaded_champion_predicts_on_any_frame(register: Callable[..., ModelVersion], frame: Any) -> None:
    register("first", champion=True)
    model = trimtab.load_model("flights@champion")
    assert list(model.predict(frame)[:2]) == [False, True]
    assert model.predict_proba(frame).shape == (4, 2)
    assert model.classes == [False, True]
    assert (model.version.number, model.features) == (1, ["distance", "carrier"])


def test_a_version_is_loaded_by_its_number_whatever_serves(register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    register("second", champion=True)
    assert trimtab.load_model("flights/v1").version.run_key == "first"
    assert trimtab.load_model("flights").version.run_key == "second"


def test_a_missing_column_is_named(register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    with pytest.raises(Invalid, match="carrier"):
        trimtab.load_model("flights").predict(pd.DataFrame({"distance": [1.0]}))


def test_an_estimator_without_probabilities_says_so(register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True, estimator=LinearSVC())
    model = trimtab.load_model("flights")
    assert list(model.predict(FRAME)[:2]) == [False, True]
    with pytest.raises(Invalid, match="gives no probabilities"):
        model.predict_proba(FRAME)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("flights@challenger", "no challenger; it has v1"),
        ("flights/v9", "no version v9"),
        ("flight", "no model flight "),
        ("flights@Champion", "NAME@champion"),
        ("flights/9", "NAME@champion"),
    ],
)
def test_a_name_that_is_nothing_is_told_with_what_there_is(
    register: Callable[..., ModelVersion], name: str, found: str
) -> None:
    register("first", champion=True)
    with pytest.raises(Invalid, match=found):
        trimtab.load_model(name)


def test_a_damaged_artifact_is_never_loaded(state: State, register: Callable[..., ModelVersion]) -> None:
    version = register("first", champion=True)
    key = state.layout.artifact(version.artifact)
    body = bytearray(state.bucket.get(key).body)
    body[len(body) // 2] ^= 1
    state.bucket.put(key, bytes(body))
    with pytest.raises(Invalid, match="not what was registered"):
        trimtab.load_model("flights")


# show


def test_show_lists_versions_with_what_they_stand_as(register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    register("second", champion=True)
    register("third", ended="awaitingApproval")
    output = run("show", "flights")
    lines = [line.split() for line in output.splitlines()[:4]]
    assert [line[0] for line in lines] == ["version", "flights/v3", "flights/v2", "flights/v1"]
    assert "awaitingApproval" in lines[1]
    assert "champion" in lines[2]
    assert "previous" in lines[3]
    listed = json.loads(run("show", "flights", "--json"))
    assert [(one["number"], one["aliases"]) for one in listed] == [(1, ["previous"]), (2, ["champion"]), (3, [])]


def test_show_tells_metrics_evaluation_and_lineage(register: Callable[..., ModelVersion]) -> None:
    version = register("first", champion=True)
    output = run("show", "flights@champion")
    for wanted in ("flights/v1 champion", "0.750 (0.710 to 0.790)", "0.050 (0.020 to 0.080)", "carrier = AA"):
        assert wanted in output
    for wanted in (version.artifact[:12], "packages.scikit-learn: 1.9.1", "partitions: 4 of them", "1,234 rows"):
        assert wanted in output
    assert json.loads(run("show", "flights/v1", "--json"))["artifact"] == version.artifact


def test_show_of_what_is_not_there_says_what_is(register: Callable[..., ModelVersion]) -> None:
    register("first")
    assert "there are flights" in refused("show", "flight").hint
    assert "it has v1" in refused("show", "flights@champion").message


# get


def test_get_writes_a_verified_artifact_its_card_and_its_record(
    register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    version = register("first", champion=True)
    output = run("get", "flights", "-o", "out/model")
    folder = tmp_path / "out/model"
    assert sorted(path.name for path in folder.iterdir()) == ["artifact.skops", "card.html", "version.json"]
    assert ModelVersion.from_json((folder / "version.json").read_bytes()) == version
    assert (folder / "card.html").read_text() == "<p>card</p>"
    assert version.artifact in output
    assert run("get", "flights/v1", "-o", "out/model") == output


def test_get_leaves_other_files_as_they_are(register: Callable[..., ModelVersion], tmp_path: Path) -> None:
    register("first", champion=True)
    (tmp_path / "version.json").write_text("mine")
    error = refused("get", "flights", "-o", str(tmp_path))
    assert "version.json with other content; nothing was written" in error.message
    assert (tmp_path / "version.json").read_text() == "mine"
    assert not (tmp_path / "artifact.skops").exists()


def test_what_was_downloaded_is_loaded_as_get_says(
    register: Callable[..., ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("first", champion=True)
    line = run("get", "flights", "-o", "it's mine").splitlines()[-1]
    assert line.startswith("load it:  python -c '")
    # As a shell would run it, with no platform to be found.
    monkeypatch.delenv("TRIMTAB_STATE_BUCKET")
    shown = subprocess.run(
        ["sh", "-c", line.removeprefix("load it:  ").replace("python", sys.executable, 1)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert shown == "<trimtab model it's mine: sklearn.ensemble:RandomForestClassifier>\n"
    (tmp_path / "it's mine" / "artifact.skops").write_bytes(b"other")
    with pytest.raises(Invalid, match="found SHA-256"):
        trimtab.load_folder("it's mine")
    with pytest.raises(NotFound, match=r"found no artifact\.skops and no version\.json in elsewhere"):
        trimtab.load_folder("elsewhere")


# approve


def test_a_version_that_waits_becomes_champion(state: State, register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    register("second", ended="awaitingApproval")
    assert run("approve", "flights", "v2") == "flights/v2 is champion, before it v1\n"
    manifest = State.open(state_buckets(state), state.address, "flights").registry.manifest()
    assert manifest is not None
    assert (manifest.number, manifest.champion, manifest.previous, manifest.run_key) == (2, 2, 1, "second")
    told = [(entry.id, entry.kind, entry.summary) for entry in state.journal.entries()]
    assert told == [("manifest/2", "promoted", "v2 was approved by hand: second was judged")]


def test_under_canary_an_approved_version_goes_through_its_rollout(
    state: State, register: Callable[..., ModelVersion]
) -> None:
    register("first", champion=True)
    register("second", ended="awaitingApproval", rollout="{strategy: canary, steps: [{setWeight: 5}]}")
    said = run("approve", "flights", "v2")
    assert said == "flights/v2 is challenger; how its rollout goes on: trimtab status flights -w\n"
    manifest = State.open(state_buckets(state), state.address, "flights").registry.manifest()
    assert manifest is not None
    assert (manifest.champion, manifest.challenger, manifest.previous) == (1, 2, None)
    assert read_status(state).next_move == ""
    assert "approved before" in refused("approve", "flights", "v2").message


def test_the_status_asks_for_an_approval_until_it_is_given(state: State, register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    register("second", ended="awaitingApproval")
    assert read_status(state).next_move.endswith("`trimtab approve flights 2`")
    run("approve", "flights", "v2")
    assert read_status(state).next_move == ""


def test_approving_twice_is_refused_the_second_time(register: Callable[..., ModelVersion]) -> None:
    register("first", ended="awaitingApproval")
    run("approve", "flights", "1")
    assert "is the champion already" in refused("approve", "flights", "1").message


def test_what_does_not_wait_is_refused_with_how_its_run_ended(register: Callable[..., ModelVersion]) -> None:
    register("first", champion=True)
    register("second", ended="superseded")
    register("third", ended="awaitingApproval")
    error = refused("approve", "flights", "v2")
    assert "its run ended as superseded: second was judged" in error.message
    assert "these wait: v3" in error.hint


def test_a_waiting_version_that_was_overtaken_is_refused(register: Callable[..., ModelVersion]) -> None:
    register("first", ended="awaitingApproval")
    register("second", champion=True)
    assert isinstance(refused("approve", "flights", "v1"), Superseded)


def test_approving_what_does_not_exist_says_what_there_is(register: Callable[..., ModelVersion]) -> None:
    register("first", ended="awaitingApproval")
    error = refused("approve", "flights", "v4")
    assert isinstance(error, NotFound)
    assert "it has v1" in error.message
    assert isinstance(refused("approve", "flights", "latest"), Invalid)


def test_without_a_platform_the_next_move_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRIMTAB_STATE_BUCKET", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "trimtab up" in refused("show", "flights").hint


def state_buckets(state: State) -> Buckets:
    """The endpoint that a state stands in, connected anew."""
    from trimtab.adapters import s3

    assert state.bucket
    return s3.connect()
