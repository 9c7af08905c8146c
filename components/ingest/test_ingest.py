"""A run takes in what intake has not, and has exactly one decision, also when it is started by hand or repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.adapters.steps import Step
from trimtab.components.ingest.ingestion import ingest_by_hand, ingest_decided
from trimtab.components.ingest.selection import choose, unoffered
from trimtab.core.errors import Invalid, NotFound, Unavailable
from trimtab.core.ports import ObjectInfo
from trimtab.core.spec.parse import load

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
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {primary: mean_absolute_error, metrics: [mean_absolute_error]}
"""
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
SOURCE = "s3://demand/landing/"


def rows(day: int) -> bytes:
    lines = [f"{MONDAY + timedelta(days=day, hours=hour):%Y-%m-%d %H:%M},{hour},{2 * hour}" for hour in range(24)]
    return "\n".join(["ts,x,y", *lines]).encode()


@pytest.fixture
def buckets() -> MemoryBuckets:
    buckets = MemoryBuckets()
    for day in range(3):
        buckets.bucket("demand").put(f"landing/day{day}.csv", rows(day))
    return buckets


def run(buckets: MemoryBuckets, folder: Path, run_key: str = "") -> Step:
    state = State.open(buckets, "s3://state/default", "demand", cache=folder)
    return Step("ingest", load(SPEC), SPEC, buckets, state, run_key, None)


def test_a_run_by_hand_takes_everything_in_and_writes_its_decision(buckets: MemoryBuckets, tmp_path: Path) -> None:
    step = run(buckets, tmp_path)
    found = ingest_by_hand(step, [], "sdk", "run-1")
    [decision] = step.state.decisions.all()
    assert (decision.number, decision.reason, decision.run_key) == (1, "sdk", step.run_key)
    assert sorted(decision.entries) == sorted(found["entries"])
    assert sum(part.rows for part in step.state.data.dataset(found["dataset"]).partitions) == 72
    assert step.state.data.spec(decision.spec) == SPEC
    assert step.state.lease.who() is None
    assert step.conclude(found) == run(buckets, tmp_path, decision.run_key).earlier("ingest")


def test_an_attempt_after_a_crash_finds_the_decision_of_the_one_before(buckets: MemoryBuckets, tmp_path: Path) -> None:
    first = ingest_by_hand(run(buckets, tmp_path), [], "sdk", "run-1")
    assert ingest_by_hand(run(buckets, tmp_path), [], "sdk", "run-1") == first
    assert len(run(buckets, tmp_path).state.decisions.all()) == 1


def test_two_runs_by_hand_have_two_decisions_and_share_what_was_taken_in(
    buckets: MemoryBuckets, tmp_path: Path
) -> None:
    one, two = run(buckets, tmp_path), run(buckets, tmp_path)
    first, second = ingest_by_hand(one, [], "sdk", "run-1"), ingest_by_hand(two, [], "sdk", "run-2")
    assert (first["decision"], second["decision"]) == (1, 2)
    assert first["dataset"] == second["dataset"]
    assert two.state.decisions.all()[1].entries == ()


def test_a_run_by_hand_goes_on_while_a_platform_holds_the_lease(buckets: MemoryBuckets, tmp_path: Path) -> None:
    step = run(buckets, tmp_path)
    assert step.state.lease.acquire("platform", 60) is not None
    assert ingest_by_hand(step, [], "sdk", "run-1")["decision"] == 1
    held = step.state.lease.who()
    assert held is not None
    assert held.owner == "platform"


def test_only_the_named_objects_are_taken_in(buckets: MemoryBuckets, tmp_path: Path) -> None:
    step = run(buckets, tmp_path)
    found = ingest_by_hand(step, [f"{SOURCE}day1.csv"], "sdk", "run-1")
    assert [step.state.ledger.entry(entry).key for entry in found["entries"]] == ["landing/day1.csv"]
    assert len(step.state.ledger.outcomes()) == 1


def test_the_reason_that_the_caller_gave_is_kept(buckets: MemoryBuckets, tmp_path: Path) -> None:
    assert ingest_by_hand(run(buckets, tmp_path), [], "onDemand", "run-1")["reason"] == "onDemand"


def test_a_decided_run_takes_in_what_a_dead_platform_left(buckets: MemoryBuckets, tmp_path: Path) -> None:
    decided = ingest_by_hand(run(buckets, tmp_path), [], "sdk", "run-1")
    outcomes = [key for key in _keys(buckets) if key.endswith(".outcome.json")]
    for key in outcomes[:2]:
        buckets.bucket("state").delete(key)
    step = run(buckets, tmp_path, decided["runKey"])
    assert ingest_decided(step) == decided
    assert len(step.state.ledger.outcomes()) == 3


def test_a_decided_run_lists_nothing(buckets: MemoryBuckets, tmp_path: Path) -> None:
    decided = ingest_by_hand(run(buckets, tmp_path), [], "sdk", "run-1")

    def fail(operation: str, key: str, done: bool) -> None:
        if operation == "list" and key.startswith("landing"):
            raise Unavailable("the source is down")

    buckets.fail = fail
    assert ingest_decided(run(buckets, tmp_path, decided["runKey"])) == decided


def test_in_a_replay_the_decision_is_made_at_the_newest_event(
    buckets: MemoryBuckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_POLICY_CLOCK", "stream")
    step = run(buckets, tmp_path)
    ingest_by_hand(step, [], "sdk", "run-1")
    assert step.state.decisions.all()[0].decided_at == MONDAY + timedelta(days=2, hours=23)


def _keys(buckets: MemoryBuckets) -> list[str]:
    return [info.key for info in buckets.bucket("state").list("default/demand/ledger/")]


def infos(*keys: str) -> list[ObjectInfo]:
    return [ObjectInfo(key, "e", 1, MONDAY + timedelta(seconds=i // 2)) for i, key in enumerate(keys)]


def test_objects_come_in_order_of_arrival_whatever_the_order_of_the_listing() -> None:
    listing = infos("landing/b", "landing/a", "landing/c")
    assert [info.key for info in choose(listing, [], SOURCE)] == ["landing/a", "landing/b", "landing/c"]
    chosen = choose(listing, ["s3://demand/landing/c", "s3://demand/landing/b"], SOURCE)
    assert [info.key for info in chosen] == ["landing/b", "landing/c"]


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("landing/a", Invalid, "an address is s3://BUCKET/KEY"),
        ("s3://other/landing/a", Invalid, "is not under spec.data.source"),
        ("s3://demand/elsewhere/a", Invalid, "is not under spec.data.source"),
        ("s3://demand/landing/z", NotFound, "found no upload at s3://demand/landing/z"),
    ],
)
def test_an_object_that_cannot_be_taken_in_is_refused_by_name(address: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        choose(infos("landing/a"), [address], SOURCE)


def test_an_entry_is_offered_to_one_decision_only(buckets: MemoryBuckets, tmp_path: Path) -> None:
    step = run(buckets, tmp_path)
    found = ingest_by_hand(step, [f"{SOURCE}day0.csv"], "sdk", "run-1")
    assert unoffered([*found["entries"], "new"], step.state.decisions.all()) == ("new",)
