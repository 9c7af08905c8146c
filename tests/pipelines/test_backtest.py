"""The backtest: the spec's own policy, replayed by the product's functions, beside simpler ones on identical rows."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.adapters.batches import Batch, read_batches
from trimtab.app.cli import cli
from trimtab.app.demo.examples import example
from trimtab.core.comparison import Backtest
from trimtab.core.errors import Invalid
from trimtab.core.spec import ContinuousModel, load
from trimtab.pipelines.backtest import backtest

START = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: demand}}
spec:
  data:
    source: s3://demand/landing/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      hour: {{type: int, min: 0, max: 23, nullable: false}}
      kind: {{type: category, values: [a, b]}}
      'y': {target}
  triggers: {{upload: {{minNewRows: {rows}, settle: 0s}}}}
  window: {{strategy: fixed, size: {size}, minRows: {least}}}
  training: {{estimator: "{estimator}"}}
  evaluation: {{holdout: 1w, primary: {primary}}}
"""


def spec(rows: int = 300, least: int = 100, classes: bool = False, size: str = "2w") -> tuple[str, ContinuousModel]:
    text = SPEC.format(
        rows=rows,
        least=least,
        size=size,
        target="{type: boolean}" if classes else "{type: float}",
        estimator="sklearn.linear_model:LogisticRegression" if classes else "sklearn.tree:DecisionTreeRegressor",
        primary="roc_auc" if classes else "mean_absolute_error",
    )
    return text, load(text)


def weeks(first: int, count: int, classes: bool = False) -> bytes:
    """Hourly rows in which the level rises by one each week: what is learned goes stale at once."""
    chance = random.Random(first)
    lines = ["ts,hour,kind,y"]
    for hour in range(first * 168, (first + count) * 168):
        at, kind = START + timedelta(hours=hour), "ab"[hour % 2]
        value = at.hour + hour // 168 + chance.random()
        target = str(value % 24 > 12).lower() if classes else f"{value:.4f}"
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{at.hour},{kind},{target}")
    return "\n".join(lines).encode() + b"\n"


def stream(count: int = 8, classes: bool = False) -> list[Batch]:
    """Three weeks of history, then a week at a time."""
    spans = [(0, 3), *((week, 1) for week in range(3, count))]
    return [Batch(f"{first:02}.csv", weeks(first, n, classes), None, None) for first, n in spans]


@pytest.fixture(scope="module")
def found() -> Backtest:
    text, model = spec()
    return backtest(model, text, stream())


def test_every_policy_is_judged_on_the_same_rows(found: Backtest) -> None:
    rows = [[(b.start, b.end, b.rows, b.denominator) for b in policy.batches] for policy in found.comparison.policies]
    assert [policy.name for policy in found.comparison.policies] == [
        "trimtab",
        "never",
        "everything",
        "window",
        "lastWeek",
    ]
    assert all(each == rows[0] for each in rows)
    assert [n for _, _, n, _ in rows[0]] == [168] * 5


def test_the_history_is_learned_from_and_never_judged(found: Backtest) -> None:
    assert found.comparison.policies[0].batches[0].start == START + timedelta(weeks=3)


def test_each_policy_trains_when_it_says(found: Backtest) -> None:
    runs = {policy.name: len(policy.runs) for policy in found.comparison.policies}
    # 300 rows are two weeks: the history trains once, then weeks 4 and 6.
    assert runs == {"trimtab": 3, "never": 1, "everything": 5, "window": 5, "lastWeek": 0}


def test_on_a_drifting_stream_the_policies_rank_as_they_must(found: Backtest) -> None:
    score = {policy.name: policy.score for policy in found.comparison.policies}
    assert score["window"] < score["trimtab"] < score["never"]
    # A week ago everything was one less, give or take the noise.
    assert score["lastWeek"] == pytest.approx(1.0, abs=0.1)


def test_a_model_is_never_judged_on_what_it_has_learned(found: Backtest) -> None:
    # The level rises by one a week: a model that had seen the week it is judged on would be off by noise alone.
    for policy in found.comparison.policies:
        assert all(batch.value > 0.8 for batch in policy.batches), policy.name


def test_every_training_run_says_when_and_why(found: Backtest) -> None:
    first, second, _ = found.comparison.policies[0].runs
    assert first.why == "504 new labelled rows, and 300 start a run"
    assert first.at == START + timedelta(weeks=3, hours=-1)
    assert (second.at, second.reason) == (START + timedelta(weeks=5, hours=-1), "upload")
    assert second.evidence["window"]["rows"] == 336
    assert second.fits == 2


def test_uploads_that_start_nothing_say_why(found: Backtest) -> None:
    assert [upload.decision for upload in found.uploads] == ["train", "wait", "train", "wait", "train", "wait"]
    assert "168 of 300 new labelled rows" in found.uploads[1].why


def test_a_bad_upload_is_set_aside_and_changes_nothing(found: Backtest) -> None:
    text, model = spec()
    batches = stream()
    bad = Batch("bad.csv", weeks(4, 1).replace(b",a,", b",wrong,"), None, None)
    torn = Batch("torn.csv", b"PAR1 and so on", None, None)
    disturbed = backtest(model, text, [*batches[:2], bad, torn, *batches[2:]])
    aside = [upload for upload in disturbed.uploads if upload.state == "quarantined"]
    assert [upload.name for upload in aside] == ["bad.csv", "torn.csv"]
    assert "unseen category" in aside[0].reason
    for ours, theirs in zip(found.comparison.policies, disturbed.comparison.policies, strict=True):
        assert ours.batches == theirs.batches


def test_a_file_that_comes_twice_counts_once(found: Backtest) -> None:
    text, model = spec()
    batches = stream()
    again = Batch("again.csv", batches[1].body, None, None)
    repeated = backtest(model, text, [*batches[:2], again, *batches[2:]])
    assert repeated.uploads[2].state == "duplicate"
    assert repeated.comparison.rows == found.comparison.rows


def test_the_same_replay_gives_the_same_scores(found: Backtest) -> None:
    text, model = spec()
    again = backtest(model, text, stream())
    assert [policy.batches for policy in again.comparison.policies] == [
        policy.batches for policy in found.comparison.policies
    ]


def test_a_classification_has_no_last_week() -> None:
    text, model = spec(classes=True)
    made = backtest(model, text, stream(6, classes=True)).comparison
    assert [policy.name for policy in made.policies] == ["trimtab", "never", "everything", "window"]
    assert made.greater_is_better
    assert all(0 <= batch.value <= 1 for policy in made.policies for batch in policy.batches)


def test_progress_ends_at_its_total() -> None:
    text, model = spec()
    told: list[tuple[int, int]] = []
    backtest(model, text, stream(5), progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_without_a_model_to_judge_the_reason_is_said() -> None:
    text, model = spec(least=5000)
    with pytest.raises(Invalid, match=r"no upload was judged.*training needs 5000"):
        backtest(model, text, stream(5))


def test_a_failed_first_run_is_told_and_a_later_one_serves() -> None:
    text, model = spec(least=400, size="4w")
    made = backtest(model, text, stream(7))
    first, second, *_ = made.comparison.policies[0].runs
    assert (first.outcome, first.fits, first.version) == ("failed", 0, None)
    assert "training needs 400" in first.outcome_reason
    assert (second.outcome, second.version) == ("champion", 1)
    assert {len(policy.batches) for policy in made.comparison.policies} == {2}


def files(folder: Path) -> list[str]:
    for batch in stream(6):
        (folder / batch.name).write_bytes(batch.body)
    (folder / "model.yaml").write_text(spec()[0])
    return [str(path) for path in sorted(folder.glob("*.csv"))]


def test_the_command_prints_table_reasons_and_verdict(tmp_path: Path) -> None:
    paths = files(tmp_path)
    report = tmp_path / "report.html"
    made = CliRunner().invoke(
        cli, ["backtest", "-f", str(tmp_path / "model.yaml"), *paths, "--report", str(report)], catch_exceptions=False
    )
    assert made.exit_code == 0
    assert "3 batches judged, 504 rows, 2024-01-22 to 2024-02-11" in made.stdout
    assert "always, on the last 2w" in made.stdout
    assert "2024-01-21  v1 serves   upload: 504 new labelled rows, and 300 start a run" in made.stdout
    assert "training runs cut the mean absolute error by" in made.stdout
    assert "never retrained" in report.read_text(encoding="utf-8")


def test_the_command_prints_json_alone(tmp_path: Path) -> None:
    paths = files(tmp_path)
    made = CliRunner().invoke(
        cli, ["backtest", "-f", str(tmp_path / "model.yaml"), *paths, "--json"], catch_exceptions=False
    )
    told = json.loads(made.stdout)
    assert [row["policy"] for row in told["figures"]] == ["trimtab", "never", "everything", "window", "lastWeek"]
    assert told["comparison"]["policies"][0]["runs"][0]["reason"] == "upload"


@pytest.mark.parametrize("every", ["fortnight", "0s"])
def test_a_bad_duration_is_refused_with_an_example(tmp_path: Path, every: str) -> None:
    paths = files(tmp_path)
    with pytest.raises(Invalid, match="--every 2w"):
        CliRunner().invoke(
            cli, ["backtest", "-f", str(tmp_path / "model.yaml"), *paths, "--every", every], catch_exceptions=False
        )


def test_flights_the_classification_example_runs(tmp_path: Path) -> None:
    import polars as pl

    text = (example("flights") / "model.yaml").read_text(encoding="utf-8")
    text = text.replace("{max_iter: 200}", "{max_iter: 20}").replace("slices: [carrier]", "slices: [origin]")
    # One flight in five of five weeks: the whole year takes minutes.
    days = pl.concat([pl.read_parquet(example("flights") / "data" / f"2013-0{month}.parquet") for month in (1, 2)])
    days.filter(pl.col("ts") < datetime(2013, 2, 5, tzinfo=UTC)).gather_every(5).write_parquet(tmp_path / "f.parquet")
    model = load(text.replace("size: 26w", "size: 3w").replace("minNewRows: 5000", "minNewRows: 900"))
    made = backtest(model, text, read_batches([tmp_path / "f.parquet"], model, timedelta(weeks=1)))
    ours = made.comparison.policies[0]
    assert ours.runs[0].outcome == "champion"
    assert len(ours.batches) == 2
    assert 0.55 < ours.score < 1


def test_the_performance_trigger_trains_where_the_champion_is_proven_worse() -> None:
    text, _ = spec()
    # The level rises each week: the error of a model that stands still grows beyond any limit. Uploads alone train
    # the first model, from eight weeks of history, and then not before eight more.
    performance = "performance: {metric: mean_absolute_error, dropFromBaseline: 0.5, overRows: 400}"
    watched = text.replace("minNewRows: 300, settle: 0s}", f"minNewRows: 1300, settle: 0s}}, {performance}")
    spans = [(0, 8), *((week, 1) for week in range(8, 16))]
    batches = [Batch(f"{first:02}.csv", weeks(first, n), None, None) for first, n in spans]
    made = backtest(load(watched), watched, batches).comparison
    runs = next(policy.runs for policy in made.policies if policy.name == "trimtab")

    proven = [run for run in runs if run.reason == "performance"]
    assert proven
    assert all("proven above" in run.why for run in proven)
