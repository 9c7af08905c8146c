"""`trimtab predict` and `trimtab compare`: registered versions on files and the log, against what they say directly."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from sklearn.linear_model import LogisticRegression

from trimtab.adapters import columns as tables
from trimtab.adapters.models import store_artifact
from trimtab.adapters.state import State
from trimtab.app.cli import cli
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.metrics import METRICS
from trimtab.core.ports import Buckets
from trimtab.core.predictions import Label, PredictionLine
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.scoring import Prediction
from trimtab.core.spec import load
from trimtab.serving import assembly

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/rows/
    format: csv
    timestamp: ts
    key: [unit]
    target: late
    schema:
      heat: {type: float, min: -30, max: 50, nullable: false}
      shift: {type: category, values: [early, night]}
      late: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: accuracy, metrics: [accuracy, log_loss], block: 1h}
"""
NOW = datetime.now(UTC)
LEARNED = NOW - timedelta(days=20)


@pytest.fixture
def state(buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    """v1 knows that heat makes late; v2 believes the opposite."""
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    state = State.open(buckets, f"s3://{state_bucket}/default", "plant")
    register(state, right=True)
    register(state, right=False)
    state.registry.publish(
        lambda now: Manifest(number=0, champion=1, challenger=2, previous=None, cause="test", recorded_at=NOW)
    )
    return state


@cache
def fitted(right: bool) -> Any:
    columns = tables.schema_columns(load(SPEC).spec.data)
    pipeline = assembly.assemble(columns, LogisticRegression(), "matrix")
    heat = np.linspace(-10, 30, 40)
    learned = {"heat": heat, "shift": ["early", "night"] * 20}
    return assembly.fit(pipeline, learned, (heat > 10) == right, 1)


def register(state: State, right: bool) -> None:
    digest, spec = store_artifact(state, fitted(right)), state.data.put_spec(SPEC)
    state.registry.add_version(
        lambda number: ModelVersion(
            number=number,
            run_key=f"run-{right}",
            artifact=digest,
            evaluated_artifact=digest,
            dataset="",
            training_digest="",
            spec=spec,
            trained_from=LEARNED - timedelta(days=10),
            trained_until=LEARNED,
            rows=40,
            estimator="sklearn.linear_model:LogisticRegression",
            seed=0,
            metrics={},
            evaluation={},
            reference="",
            lineage={},
            training_seconds=1.0,
            fits=1,
            recorded_at=NOW,
        )
    )


def trimtab(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def rows(number: int = 60) -> pl.DataFrame:
    times = [NOW - timedelta(days=10) + timedelta(hours=hour) for hour in range(number)]
    return pl.DataFrame(
        {
            "ts": pl.Series([moment.isoformat() for moment in times]),
            "unit": [f"u{n}" for n in range(number)],
            "heat": [float(n % 25) for n in range(number)],
            "shift": ["night", "early"] * (number // 2),
        }
    )


# predict


def test_predictions_are_those_of_the_loaded_model_row_by_row(state: State, tmp_path: Path) -> None:
    import trimtab as library

    table = rows()
    table.write_csv("rows.csv")

    done = trimtab("predict", "rows.csv", "-o", "said.parquet")

    assert done.exit_code == 0, done.output
    assert "plant/v1 predicted 60 of 60 rows" in done.stderr
    said = pl.read_parquet("said.parquet")
    model = library.load_model("plant@champion")
    assert said["row"].to_list() == list(range(1, 61))
    assert said["unit"].to_list() == table["unit"].to_list()
    assert said["prediction"].to_list() == model.predict(table.to_pandas()).tolist()
    shares = model.predict_proba(table.to_pandas())
    np.testing.assert_allclose(said.select("probability_false", "probability_true").to_numpy(), shares, atol=1e-12)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_format_goes_in_and_comes_out(state: State, form: str) -> None:
    table = rows(10)
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[form](f"rows.{form}")

    done = trimtab("predict", f"rows.{form}", "-m", "plant/v2", "-o", f"said.{form}")

    assert done.exit_code == 0, done.output
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[form](f"said.{form}")
    assert read["prediction"].to_list() == [bool(heat <= 10.0) for heat in table["heat"]]


def test_a_row_that_the_schema_does_not_allow_has_no_answer_and_says_why(state: State) -> None:
    Path("rows.csv").write_text("heat,shift\n1,night\nhot,night\n99,early\n,early\n5,dawn\n5,night,more\n20,\n")

    done = trimtab("predict", "rows.csv")

    assert done.exit_code == 0, done.output
    said = pl.read_csv(io.StringIO(done.stdout)).sort("row")
    assert said["row"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert said["prediction"].to_list() == [False, None, None, None, None, None, True]
    assert said["problem"].to_list()[1:6] == [
        "heat: not a number",
        "heat: above max 50",
        "heat: null",
        "shift: unseen category",
        "3 cells where the header has 2",
    ]
    assert "predicted 2 of 7 rows; 5 not:" in done.stderr


def test_several_files_and_objects_stand_in_one_table(state: State, buckets: Buckets, landing_bucket: str) -> None:
    rows(4).write_csv("a.csv")
    buckets.bucket(landing_bucket).put("deep/b.jsonl", b'{"heat": 20, "shift": "night"}\n')

    done = trimtab("predict", "a.csv", f"s3://{landing_bucket}/deep/b.jsonl", "-o", "said.csv", "--json")

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(file["rows"], file["predicted"]) for file in told["files"]] == [(4, 4), (1, 1)]
    assert pl.read_csv("said.csv")["file"].n_unique() == 2


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["nowhere.csv"], NotFound, "found no file nowhere.csv"),
        (["."], Invalid, ". is a folder"),
        (["s3://landing-none/x.csv"], NotFound, "landing-none"),
        (["rows.csv", "-m", "plant/v9"], NotFound, "found no version v9"),
        (["rows.csv", "-m", "Plant!"], Invalid, "NAME@champion"),
        (["rows.csv", "-o", "said.xlsx"], Invalid, "it must end in .csv, .jsonl, .parquet"),
        (["rows.csv", "-o", "rows.csv"], Invalid, "one of the files that are read"),
        (["rows.csv", "--json"], Invalid, "add -o FILE"),
        (["rows.csv", "-o", "none/said.csv"], Invalid, "cannot write none/said.csv"),
        (["lacking.csv"], Invalid, "the file has no column shift; v1 needs it"),
        (["wrong.csv"], Invalid, "none of 1 rows could be predicted: heat: not a number (1 rows)"),
        (["empty.csv"], Invalid, "the file is empty"),
    ],
)
def test_what_cannot_be_predicted_is_said_with_the_next_move(
    state: State, words: list[str], error: type[Exception], said: str
) -> None:
    rows(4).write_csv("rows.csv")
    Path("lacking.csv").write_text("heat\n1\n")
    Path("wrong.csv").write_text("heat,shift\nhot,night\n")
    Path("empty.csv").write_text("")

    done = trimtab("predict", *words)

    assert isinstance(done.exception, error), done.output
    assert said in str(done.exception)


# compare


def with_target(table: pl.DataFrame) -> pl.DataFrame:
    """Late when it is hot; every seventh row is the other way round."""
    return table.with_columns(late=(pl.col("heat") > 10) ^ (pl.int_range(pl.len()) % 7 == 0))


def expected(table: pl.DataFrame) -> tuple[float, float]:
    import trimtab as library

    y = with_target(table)["late"].to_numpy().astype(float)
    said = [library.load_model(f"plant/v{n}").predict(table.to_pandas()).astype(float) for n in (1, 2)]
    first, second = (METRICS["accuracy"].compute(y, Prediction(values, classes=2)) for values in said)
    return first, second


def test_two_versions_are_compared_on_files(state: State) -> None:
    table = rows()
    with_target(table).write_csv("rows.csv")

    done = trimtab("compare", "plant@champion", "plant@challenger", "rows.csv", "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    first, second = expected(table)
    assert found["rows"] == 60
    assert found["ofFirst"]["accuracy"]["point"] == pytest.approx(first)
    assert found["ofSecond"]["accuracy"]["point"] == pytest.approx(second)
    assert found["difference"]["accuracy"]["point"] == pytest.approx(second - first)
    assert found["difference"]["accuracy"]["high"] < 0
    assert set(found["difference"]) == {"accuracy", "log_loss"}
    assert found["verdict"] == "v1 is better in accuracy"
    assert found["agree"] < 0.1


def logged(state: State, table: pl.DataFrame, **more: Any) -> None:
    lines = []
    for number, row in enumerate(table.iter_rows(named=True)):
        features = {"heat": [row["heat"]], "shift": [row["shift"]]}
        passed = {"ts": [row["ts"]]}
        values = {"at": NOW.timestamp(), "version": 1, "seconds": 0.01, "rows": 1, "predictions": [True]}
        line = PredictionLine(id=f"r{number}", **(values | {"features": features, "passed": passed} | more))
        lines.append(line.to_json() + b"\n")
    state.bucket.create(state.layout.predictions("v1-a", 0), b"".join(lines))


def test_without_files_the_logs_labelled_rows_are_compared(state: State) -> None:
    table = rows()
    logged(state, table)
    late = with_target(table)["late"].to_list()
    state.labels.add([Label(id=f"r{n}", value=late[n], at=5.0, received=5.0) for n in range(40)])

    done = trimtab("compare", "plant/v1", "plant/v2", "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    first, second = expected(table.head(40))
    assert (found["rows"], found["learned"]) == (40, 0)
    assert found["ofFirst"]["accuracy"]["point"] == pytest.approx(first)
    assert found["ofSecond"]["accuracy"]["point"] == pytest.approx(second)


def test_rows_that_one_has_learned_are_left_out_and_counted(state: State) -> None:
    old = rows(4).with_columns(ts=pl.lit((LEARNED - timedelta(days=1)).isoformat()))
    with_target(pl.concat([old, rows(20)])).write_csv("rows.csv")

    done = trimtab("compare", "plant/v1", "plant/v2", "rows.csv")

    assert done.exit_code == 0, done.output
    assert "20 rows" in done.output
    assert "left out: 4 that one of them has learned" in done.output
    assert "both say the same for" in done.output


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["plant/v1", "plant@champion"], Invalid, "are both v1"),
        (["plant/v1", "other/v2"], Invalid, "found versions of plant and of other"),
        (["plant/v1", "plant/v9"], NotFound, "found no version v9"),
        (["plant/v1", "plant/v2"], Invalid, "found no labelled row that is newer than what both versions learned"),
        (["plant/v1", "plant/v2", "lacking.csv"], Invalid, "missing columns 'ts', 'unit'"),
    ],
)
def test_what_cannot_be_compared_is_said(state: State, words: list[str], error: type[Exception], said: str) -> None:
    Path("lacking.csv").write_text("heat,shift,late\n1,night,yes\n")

    done = trimtab("compare", *words)

    assert isinstance(done.exception, error), done.output
    assert said in str(done.exception)
