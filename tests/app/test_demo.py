"""The demo: its account of the platform's state, its promises, its background backtest, and how it ends."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from trimtab.adapters.batches import Batch
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.cli import cli, demo
from trimtab.app.demo.account import continuous, events, same_rows
from trimtab.app.demo.rivals import Rivals
from trimtab.app.demo.year import _holds, promises
from trimtab.app.report.summary import Incident, Promise, Summary
from trimtab.core.comparison import BatchScore, Comparison, PolicyResult, TrainingRun
from trimtab.core.errors import Unavailable
from trimtab.core.records import Decision, IntakeOutcome, Judgement, LedgerEntry, Outcome, Partition

DAY = datetime(2012, 1, 1, tzinfo=UTC)
FORTNIGHT = timedelta(days=14)
PRIMARY = "weighted_absolute_percentage_error"


def score(numerator: float = 20.0, denominator: float = 100.0, rows: int = 10, at: datetime = DAY) -> BatchScore:
    return BatchScore(
        start=at,
        end=at + FORTNIGHT,
        rows=rows,
        value=numerator / denominator,
        numerator=numerator,
        denominator=denominator,
    )


def comparison(ours: float, never: float, runs: int = 14) -> Comparison:
    run = TrainingRun(at=DAY, reason="upload", why="600 new rows", outcome="champion", version=1)
    return Comparison(
        model="bikeshare",
        metric=PRIMARY,
        greater_is_better=False,
        policies=(
            PolicyResult(name="trimtab", title="trimtab", what="", batches=(score(ours),), runs=(run,) * runs),
            PolicyResult(name="never", title="never retrained", what="", batches=(score(never),)),
        ),
    )


@pytest.fixture
def state(tmp_path: Path) -> State:
    """History, two fortnights that were judged and came in the wrong order, one bad file, two runs."""
    made = State.open(MemoryBuckets(), "s3://state/default", "bikeshare", tmp_path)
    for name, at, error in (
        ("history", DAY - 26 * FORTNIGHT, None),
        ("late", DAY + FORTNIGHT, 30.0),
        ("early", DAY, 40.0),
    ):
        judged = (
            Judgement(version=1, rows=10, metrics={PRIMARY: error / 100}, numerator=error, denominator=100)
            if error
            else None
        )
        _conclude(made, name, "ingested", at, judged)
    _conclude(made, "bad", "quarantined", DAY, None)
    for number, outcome in ((1, "champion"), (2, "rejected")):
        _decide(made, number, outcome)
    made.journal.tell("ledger/bad/quarantined", "quarantined", "bad: set aside", {"kind": "unreadable"}, DAY)
    return made


def _conclude(state: State, name: str, became: str, at: datetime, judged: Judgement | None) -> None:
    entry = LedgerEntry(id=name, bucket="b", key=name, etag="e", size=1, modified=DAY, via="webhook", recorded_at=DAY)
    state.ledger.see(entry)
    part = Partition(id=name, rows=10, labelled=10, quarantined=0, first=at, last=at + FORTNIGHT)
    state.ledger.conclude(
        IntakeOutcome.model_validate(
            {
                "entry": name,
                "state": became,
                "partition": part if became == "ingested" else None,
                "judgement": judged,
                "decided_at": at,
                "recorded_at": at,
            }
        )
    )


def _decide(state: State, number: int, became: str) -> None:
    decision = Decision(
        number=number,
        reason="upload",
        entries=(),
        dataset="",
        training_digest="",
        spec="",
        run_key=f"key{number}",
        evidence={"upload": {"newRows": 668, "minNewRows": 600}},
        decided_at=DAY,
        recorded_at=DAY,
    )
    state.decisions.propose(decision)
    window = {"why": "the newest 182 days", "start": "a", "cut": "b", "end": "c", "rows": 4000, "holdoutRows": 300}
    state.data.put_step(decision.run_key, "window", window)
    state.data.put_step(decision.run_key, "evaluate", {"evaluation": {"result": "better", "rows": 300}})
    state.decisions.conclude(
        Outcome.model_validate(
            {
                "number": number,
                "run_key": decision.run_key,
                "state": became,
                "reason": "proven",
                "version": number if became == "champion" else None,
                "training_seconds": 1.5,
                "fits": 2,
                "decided_at": DAY,
                "recorded_at": DAY,
            }
        )
    )


def test_the_account_holds_what_was_judged_in_order_of_event_time(state: State) -> None:
    ours = continuous(state, PRIMARY, "the policy")
    assert [batch.value for batch in ours.batches] == [0.4, 0.3]
    assert ours.score == pytest.approx(0.35)


def test_the_account_holds_every_run_with_what_stands_behind_it(state: State) -> None:
    first, second = continuous(state, PRIMARY, "the policy").runs
    assert first.why == "668 new labelled rows, and 600 start a run"
    assert (first.version, first.fits, first.seconds) == (1, 2, 1.5)
    assert first.evidence["window"]["rows"] == 4000
    assert first.evidence["evaluation"] == {"result": "better", "rows": 300}
    assert (second.outcome, second.version) == ("rejected", None)


def test_the_journal_is_told_in_the_report(state: State) -> None:
    assert [event.summary for event in events(state)] == ["bad: set aside"]


@pytest.mark.parametrize(
    "other",
    [score(rows=11), score(denominator=101.0), score(at=DAY + timedelta(hours=1))],
    ids=["rows", "truth", "time"],
)
def test_one_row_more_or_less_or_another_truth_is_noticed(other: BatchScore) -> None:
    assert same_rows([score()], [score(numerator=35.0)])
    assert not same_rows([score()], [other])
    assert not same_rows([score()], [score(), score()])


def kept(gain: tuple[float, float], runs: int, identical: bool = True, fortnights: int = 27) -> list[bool]:
    return [promise.kept for promise in promises(comparison(*gain, runs), identical, fortnights)]


def test_promises_are_kept_or_broken_by_the_figures() -> None:
    assert kept((20, 37), runs=14) == [True, True, True]
    assert kept((23, 37), runs=14) == [False, True, True]
    assert kept((20, 37), runs=14, identical=False) == [True, False, True]
    assert kept((20, 37), runs=15) == [True, True, False]


def test_a_short_demo_promises_no_gain_and_fewer_runs() -> None:
    assert kept((37, 37), runs=3, fortnights=4) == [True, True]
    assert kept((37, 37), runs=4, fortnights=4) == [True, False]


def test_a_mishap_befalls_the_fortnight_that_holds_its_day_and_never_the_history() -> None:
    fortnight = Batch("a", b"", DAY, DAY + timedelta(days=13, hours=23))
    history = Batch("b", b"", DAY.replace(year=2011), DAY + timedelta(days=30))
    assert _holds(fortnight, date(2012, 1, 14))
    assert not _holds(fortnight, date(2012, 1, 15))
    assert not _holds(history, date(2012, 1, 14))
    assert not _holds(Batch("c", b"", None, None), date(2012, 1, 14))


def summary(promise_kept: bool = True, incident_kept: bool = True) -> Summary:
    return Summary(
        title="t",
        about="a",
        comparison=comparison(20, 37),
        promises=(Promise(promise="Less error", found="46 % less", kept=promise_kept),),
        incidents=(Incident(at=DAY, what="corrupt file", did="", found="Ingested", kind="ok", kept=incident_kept),),
        recorded_at=DAY,
    )


def test_a_good_end_prints_table_verdict_and_where_to_read_on(capsys: pytest.CaptureFixture[str]) -> None:
    demo._end(summary(), Path("here"), Console(width=120))
    shown = capsys.readouterr().out
    assert "never retrained" in shown
    assert "14 training runs cut the weighted absolute percentage error by 46" in shown
    assert "✓ Mishaps that disturbed nothing: 1 of 1" in shown
    assert "here/report.html" in shown


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (summary(promise_kept=False), "Less error: 46 % less"),
        (summary(incident_kept=False), "corrupt file: Ingested"),
    ],
    ids=["promise", "mishap"],
)
def test_what_was_not_shown_ends_the_demo_with_its_reason(made: Summary, why: str) -> None:
    with pytest.raises(demo.PromiseBroken, match=why) as broken:
        demo._end(made, Path("here"), Console(quiet=True))
    assert broken.value.exit_code == 1


SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: demand}
spec:
  data:
    source: s3://demand/landing/
    format: csv
    timestamp: ts
    target: 'y'
    schema: {x: {type: float}, 'y': {type: float}}
  triggers: {upload: {minNewRows: 10, settle: 0s}}
  window: {strategy: all, minRows: 10}
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {holdout: 5 rows, primary: mean_absolute_error}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "model.yaml").write_text(SPEC)
    paths = []
    for month in (1, 2):
        rows = [f"2024-{month:02}-{day:02},{day},{2 * day}.5" for day in range(1, 29)]
        paths.append(tmp_path / f"{month}.csv")
        paths[-1].write_text("ts,x,y\n" + "\n".join(rows) + "\n")
    return paths


def test_the_rivals_run_beside_and_come_back_with_their_figures(tmp_path: Path, files: list[Path]) -> None:
    with Rivals(tmp_path / "model.yaml", files, tmp_path / "log") as rivals:
        found = rivals.result()
    assert found.comparison.rows == 28
    assert [policy.name for policy in found.comparison.policies] == ["trimtab", "never", "everything", "lastWeek"]


def test_a_failed_backtest_ends_the_demo_with_its_last_words(tmp_path: Path, files: list[Path]) -> None:
    with (
        Rivals(tmp_path / "model.yaml", files[:1], tmp_path / "log") as rivals,
        pytest.raises(Unavailable, match=r"the backtest failed: .*--every 2w"),
    ):
        rivals.result()


def test_leaving_early_ends_the_rivals(tmp_path: Path, files: list[Path]) -> None:
    with Rivals(tmp_path / "model.yaml", files, tmp_path / "log") as rivals:
        process = rivals._process
    assert process.returncode is not None


def test_the_demos_help_says_what_it_will_do() -> None:
    # As the group's command: click keeps the help option of a command's first use, its names included.
    shown = re.sub(r"\s+", " ", CliRunner().invoke(cli, ["demo", "--help"]).output)
    assert "leaves nothing running" in shown
    assert "trimtab demo" in shown
