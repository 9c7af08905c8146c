"""`trimtab quarantine`: what was set aside is found, explained and let in, on files that intake really refused."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.adapters.arrivals import entry_of, list_source
from trimtab.adapters.intake import take_in
from trimtab.adapters.state import State
from trimtab.app.cli import cli
from trimtab.core.errors import Invalid, NotFound, TrimtabError
from trimtab.core.ports import Buckets
from trimtab.core.records import Decision
from trimtab.core.spec import load

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: rents}
spec:
  data:
    source: s3://BUCKET/landing/
    format: csv
    timestamp: ts
    target: count
    schema:
      heat: {type: float, min: -30, max: 50, nullable: false}
      count: {type: float}
    quality: {maxInvalidRowRatio: RATIO}
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {holdout: 2d, primary: mean_absolute_error}
"""


def rows(heats: list[object]) -> bytes:
    lines = [f"2012-01-{1 + n // 24:02} {n % 24:02}:00:00,{heat},{n}" for n, heat in enumerate(heats)]
    return "\n".join(["ts,heat,count", *lines]).encode() + b"\n"


GOOD = rows([float(n % 30) for n in range(100)])
FEW_BAD = rows(["hot" if n == 7 else float(n % 30) + 0.1 for n in range(200)])
HALF_BAD = rows([999 if n % 2 else float(n % 30) + 0.2 for n in range(100)])
NO_CSV = b"\x00\x01\x02\x03" * 50


@pytest.fixture
def spec(landing_bucket: str) -> str:
    return SPEC.replace("BUCKET", landing_bucket).replace("RATIO", "0.01")


@pytest.fixture
def state(
    buckets: Buckets,
    state_bucket: str,
    landing_bucket: str,
    spec: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> State:
    """A state after intake of four uploads, by the real intake."""
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    state, model = State.open(buckets, f"s3://{state_bucket}/default", "rents"), load(spec)
    landing = buckets.bucket(landing_bucket)
    for name, body in {"1 good": GOOD, "2 few bad": FEW_BAD, "3 half bad": HALF_BAD, "4 no csv": NO_CSV}.items():
        landing.put(f"landing/{name}.csv", body)
    for info in list_source(buckets, model):
        entry = entry_of(info, landing_bucket, "default", "rents", "listing", NOW)
        state.ledger.see(entry)
        take_in(state, landing, entry, model, None, NOW)
    return state


@pytest.fixture
def decided(state: State, spec: str) -> State:
    """The same after a first decision, which knows the spec."""
    decision = Decision(
        number=1,
        reason="upload",
        entries=(),
        dataset="d",
        training_digest="t",
        spec=state.data.put_spec(spec),
        run_key="r",
        decided_at=NOW,
        recorded_at=NOW,
    )
    state.decisions.propose(decision)
    return state


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["quarantine", *arguments])
    if result.exception:
        raise result.exception
    return result.output


def refused(*arguments: str) -> TrimtabError:
    result = CliRunner().invoke(cli, ["quarantine", *arguments])
    assert isinstance(result.exception, TrimtabError), result.output
    return result.exception


def id_of(state: State, key: str) -> str:
    return next(entry.id for entry in state.ledger.entries().values() if key in entry.key)


def test_list_tells_files_and_rows_apart(state: State) -> None:
    listed = {Path(one["uri"]).stem: one for one in json.loads(run("list", "--json"))}
    assert set(listed) == {"2 few bad", "3 half bad", "4 no csv"}
    assert listed["2 few bad"]["state"] == "ingested"
    assert listed["2 few bad"]["partition"]["quarantined"] == 1
    assert listed["3 half bad"]["state"] == listed["4 no csv"]["state"] == "quarantined"
    table = run("list")
    assert id_of(state, "half bad")[:12] in table
    assert "rows of it" in table
    assert "1 good" not in table


def test_show_explains_a_file_and_its_rows(state: State) -> None:
    page = run("show", id_of(state, "half bad")[:8])
    assert "the file is set aside" in page
    assert "heat=999" in page
    assert "the first 20 of 50 rows" in page
    assert "quarantine release" in page
    assert "hot" in run("show", "landing/2 few bad.csv")


def test_a_file_without_a_valid_row_is_not_offered_for_release(
    state: State, buckets: Buckets, spec: str, landing_bucket: str
) -> None:
    landing, model = buckets.bucket(landing_bucket), load(spec)
    landing.put("landing/5 all bad.csv", rows([999.0] * 30))
    info = next(each for each in list_source(buckets, model) if "all bad" in each.key)
    entry = entry_of(info, landing_bucket, "default", "rents", "listing", NOW)
    state.ledger.see(entry)
    assert take_in(state, landing, entry, model, None, NOW).state == "quarantined"
    page = run("show", entry.id)
    assert "30 of 30 rows are invalid" in page
    assert "quarantine release" not in page


def test_the_rows_come_as_csv_too(state: State) -> None:
    rows = list(csv.DictReader(io.StringIO(run("show", "landing/3 half bad.csv", "--csv"))))
    assert len(rows) == 50
    assert {row["heat"] for row in rows} == {"999"}
    assert all("heat: " in row["_reasons"] for row in rows)


def test_a_released_file_brings_its_valid_rows(decided: State) -> None:
    entry = id_of(decided, "half bad")
    assert "50 rows join the next training" in run("release", entry[:12])
    outcome = decided.ledger.outcome(entry)
    assert outcome is not None
    assert outcome.state == "ingested"
    assert outcome.partition is not None
    assert (outcome.partition.rows, outcome.partition.quarantined) == (50, 50)
    assert [told.kind for told in decided.journal.entries()] == ["released"]
    again = refused("release", entry[:12])
    assert isinstance(again, Invalid)
    assert "its valid rows are in; the other 50 come in only by a mended file" in again.hint


def test_a_release_reads_by_the_spec_that_is_named(state: State, spec: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(spec.replace("max: 50", "max: 1000"))
    assert "100 rows join" in run("release", id_of(state, "half bad"), "-f", "model.yaml")


def test_a_release_without_any_spec_asks_for_one(state: State) -> None:
    assert "-f model.yaml" in refused("release", id_of(state, "half bad")).hint


def test_a_spec_of_another_model_is_refused(state: State, spec: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(spec.replace("name: rents", "name: flights"))
    assert "describes flights" in refused("release", id_of(state, "half bad"), "-f", "other.yaml").message


def test_what_cannot_be_read_cannot_be_released(decided: State) -> None:
    assert isinstance(refused("release", id_of(decided, "no csv")), Invalid)
    outcome = decided.ledger.outcome(id_of(decided, "no csv"))
    assert outcome is not None
    assert outcome.state == "quarantined"


def test_what_is_not_in_quarantine_is_told(state: State) -> None:
    assert isinstance(refused("show", "landing/1 good.csv"), NotFound)
    assert "names nothing in the quarantine of rents" in refused("show", "zzz").message
    assert "names 4 ledger entries" in refused("show", "").message


def test_an_empty_quarantine_says_so(buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    State.open(buckets, f"s3://{state_bucket}/default", "rents").lease.acquire("test", 1)
    assert run("list") == "nothing of rents is in quarantine\n"


def test_of_several_models_one_must_be_named(
    buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    assert "trimtab up" in refused("list").hint
    for name in ("rents", "flights"):
        State.open(buckets, f"s3://{state_bucket}/default", name).lease.acquire("test", 1)
    assert "there are flights, rents" in refused("list").hint
    assert run("list", "-m", "rents") == "nothing of rents is in quarantine\n"
