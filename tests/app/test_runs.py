"""`trimtab run`, `status`, `history`, `logs` against a real store, with and without a platform."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trimtab.app.cli import cli
from trimtab.core.errors import Invalid, NotFound, TrimtabError, Unavailable
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus

Rig = Any
DayFile = Callable[..., bytes]
Run = Callable[..., Result]


@pytest.fixture
def rig(
    buckets: Buckets, state_bucket: str, landing_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rig: Rig
) -> Rig:
    """The model on a real store, and the settings by which the commands find it."""
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return type(rig)(buckets, tmp_path / "cache", landing=landing_bucket, state_bucket=state_bucket)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def train(rig: Rig, day_file: DayFile, state: str = "champion") -> None:
    """One decision, executed to that outcome."""
    number = len(rig.decisions())
    rig.put(f"{number}.csv", day_file(number))
    rig.step()
    decision, run_id = rig.decisions()[-1], rig.launcher.requests[-1].run_id
    if state == "champion":
        rig.register(decision)
    elif state == "failed":
        failure = {"step": "window", "permanent": True, "error": "Invalid: 12 rows; training needs 1000"}
        rig.state.data.put_step(decision.run_key, "failure", failure)
    else:
        rig.conclude(decision, state)
    rig.launcher.end(run_id, "window failed" if state == "failed" else "", ["ingest: 12 rows", f"evaluate: {state}"])
    rig.step()


def test_status_tells_what_serves_what_waits_and_that_nobody_works(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file)
    rig.put("few.csv", day_file(5, rows=4))
    rig.step()

    shown = invoke("status", "bikes")

    assert "bikes/v1  mean_absolute_error 0.5" in shown
    assert "waiting    4 of 10 new labelled rows" in shown
    assert "uploads    2: 0 pending, 2 ingested" in shown
    assert "nobody works for this model just now" in shown


def test_status_of_a_failed_run_names_the_next_move(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file, "failed")

    shown = invoke("status")

    assert "decision 1 failed: window: Invalid: 12 rows; training needs 1000" in shown
    assert "`trimtab logs bikes/1`, mend what it says, then `trimtab run bikes`" in shown


def test_the_hint_of_a_failed_run_stands_under_its_message(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    failure = {"step": "train", "permanent": True, "error": "it failed\nhint: mend it"}
    rig.state.data.put_step(rig.decisions()[0].run_key, "failure", failure)
    rig.launcher.end(rig.launcher.requests[0].run_id, "train failed")
    rig.step()

    assert f"it failed\n{'':13}hint: mend it" in invoke("status")
    assert f"it failed\n{'':30}hint: mend it" in invoke("history", "--journal")


def test_status_as_json(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file, "rejected")

    found = json.loads(invoke("status", "bikes", "--json"))

    assert (found["model"], found["serving"], found["worker"]) == ("bikes", None, None)
    assert (found["last"]["state"], found["last"]["decision"]) == ("rejected", 1)
    assert json.loads(invoke("status", "--json")) == [found]


def test_history_shows_each_decision_with_its_evidence_and_end(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file)
    train(rig, day_file, "failed")

    shown = invoke("history", "bikes")
    last = json.loads(invoke("history", "-n", "1", "--json"))

    first, second = (line for line in shown.splitlines() if "upload: 12 new rows, 10 needed" in line)
    assert "champion" in first
    assert "v1" in first
    assert "training needs 1000" in second
    assert [entry["number"] for entry in last] == [2]
    assert last[0]["outcome"]["state"] == "failed"
    assert last[0]["runId"] == rig.launcher.requests[1].run_id


def test_history_before_any_decision_points_to_status(rig: Rig) -> None:
    assert "trimtab status bikes" in invoke("history")


def test_the_journal_tells_uploads_too(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file)

    kinds = [entry["kind"] for entry in json.loads(invoke("history", "--journal", "--json"))]

    assert kinds[:2] == ["ingested", "decided"]
    assert {"finished", "promoted"} <= set(kinds)
    assert "in/0.csv: 12 rows" in invoke("history", "--journal")


@pytest.mark.parametrize("name", ["1", "bikes/1", "run id"])
def test_logs_by_number_or_run_id_from_the_state(rig: Rig, day_file: DayFile, name: str) -> None:
    train(rig, day_file)
    run = rig.launcher.requests[0].run_id if name == "run id" else name

    assert invoke("logs", run) == "ingest: 12 rows\nevaluate: champion\n"
    assert invoke("logs", run, "-n", "1") == "evaluate: champion\n"


def test_logs_of_a_run_that_goes_on_stand_in_the_folder_here(rig: Rig, day_file: DayFile, tmp_path: Path) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    folder = tmp_path / ".trimtab" / "runs" / rig.launcher.requests[0].run_id
    folder.mkdir(parents=True)
    (folder / "request.json").write_text("{}")
    (folder / "log.txt").write_text("train: fitting\n")
    (tmp_path / ".trimtab" / "env").touch(0o600)

    assert invoke("logs", "1") == "train: fitting\n"


@pytest.mark.parametrize(
    ("run", "error", "found"),
    [
        ("7", NotFound, "found no decision 7 of bikes; there are 1 to 1"),
        ("bikes/7", NotFound, "found no decision 7"),
        ("what", Invalid, "a run reads as the number of its decision"),
        ("00000000-0000-0000-0000-000000000000", NotFound, "found no run 00000000"),
    ],
)
def test_logs_of_nothing_say_what_there_is(
    rig: Rig, day_file: DayFile, run: str, error: type[TrimtabError], found: str
) -> None:
    train(rig, day_file)

    with pytest.raises(error, match=found):
        invoke("logs", run)


def test_a_model_that_does_not_exist_is_said(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file)

    with pytest.raises(NotFound, match="found no model cars"):
        invoke("status", "cars")


def test_run_without_waiting_keeps_the_request_although_the_platform_is_down(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0, rows=4))
    rig.step()

    request = json.loads(invoke("run", "bikes", "--no-wait", "--json"))["request"]
    rig.step()

    assert rig.decisions()[0].evidence["onDemand"]["requests"] == [request]


def test_run_that_waits_says_that_nobody_works(rig: Rig, day_file: DayFile) -> None:
    train(rig, day_file)

    with pytest.raises(Unavailable, match="is kept, and nobody works for bikes"):
        invoke("run")


def test_a_store_that_does_not_answer_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    with pytest.raises(Unavailable):
        invoke("status", "bikes")


@pytest.fixture
def platform(
    rig: Rig, make_loop: Callable[..., Any], hand: Any, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., Any]
) -> Any:
    """A running loop whose runs end as `hand.ends` says."""

    def work(request: RunRequest) -> RunStatus:
        decision = next(each for each in rig.decisions() if each.run_key == request.run_key)
        hand.printed[request.run_id] = ["train: fitted"]
        if hand.ends == "champion":
            rig.register(decision)
        else:
            rig.state.data.put_step(decision.run_key, "failure", {"step": "train", "permanent": True, "error": "E: no"})
        return RunStatus(request.run_id, RunPhase.SUCCEEDED if hand.ends == "champion" else RunPhase.FAILED, "E")

    hand.work, hand.ends = work, "champion"
    loop = make_loop(rig.buckets, hand, rig.landing, rig.state_bucket)
    wait_for(lambda: rig.state.lease.who())
    monkeypatch.setenv("TRIMTAB_URL", f"http://127.0.0.1:{loop.port}")
    monkeypatch.setenv("TRIMTAB_TOKEN", "t0ken")
    return loop


def test_run_waits_for_the_outcome_and_shows_it(
    rig: Rig, day_file: DayFile, platform: Any, wait_for: Callable[..., Any]
) -> None:
    rig.put("a.csv", day_file(0, rows=4))

    shown = invoke("run", "bikes")

    assert "asked for a run of bikes" in shown
    assert "decision 1: champion: as told: champion (trimtab show bikes/v1)" in shown
    wait_for(lambda: rig.state.data.log(rig.state.decisions.claim(1).run_id))
    assert "train: fitted" in invoke("logs", "1")


def test_run_that_fails_ends_with_an_error_and_the_next_move(
    rig: Rig, day_file: DayFile, platform: Any, hand: Any
) -> None:
    hand.ends = "failed"
    rig.put("a.csv", day_file(0, rows=4))

    with pytest.raises(TrimtabError, match="decision 1 failed: train: E: no") as failed:
        invoke("run", "bikes", "--json")
    assert failed.value.hint.endswith("the whole log: trimtab logs bikes/1")
    assert failed.value.hint.count("hint: ") == 0


def test_run_that_fails_says_so_once(rig: Rig, day_file: DayFile, platform: Any, hand: Any) -> None:
    hand.ends = "failed"
    rig.put("a.csv", day_file(0, rows=4))
    result = CliRunner().invoke(cli, ["run", "bikes"])
    assert isinstance(result.exception, TrimtabError)
    assert "failed" not in result.output  # main prints the error
