"""Versions and aliases under races: no number twice, no gap, no alias lost; damaged artifacts never served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.errors import Conflict, Invalid, NotFound, Superseded, Unavailable
from trimtab.core.ports import Buckets
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.references import parse_reference

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)


def version(number: int, run_key: str) -> ModelVersion:
    return ModelVersion(
        number=number,
        run_key=run_key,
        artifact="a",
        evaluated_artifact="b",
        dataset="d",
        training_digest="t",
        spec="s",
        trained_from=NOW,
        trained_until=NOW,
        rows=10,
        estimator="sklearn.linear_model:LinearRegression",
        seed=0,
        metrics={"mean_absolute_error": 1.5},
        evaluation={"outcome": "better"},
        reference="p",
        lineage={},
        training_seconds=0.5,
        fits=2,
        recorded_at=NOW,
    )


def promote(number: int) -> Callable[[Manifest | None], Manifest]:
    """Make it champion, whoever was; the one before it is remembered."""

    def change(now: Manifest | None) -> Manifest:
        return Manifest(
            number=0,
            champion=number,
            challenger=now.challenger if now else None,
            previous=now.champion if now else None,
            cause=f"v{number} is better",
            recorded_at=NOW,
        )

    return change


def test_before_the_first_promotion_there_is_no_manifest(state: State) -> None:
    assert state.registry.manifest() is None
    assert state.registry.versions() == []
    with pytest.raises(NotFound, match="no champion; it has no versions yet"):
        state.registry.resolve(parse_reference(state.model))


def test_threads_that_promote_at_once_lose_no_alias(state: State) -> None:
    start = threading.Barrier(8)

    def publish(number: int) -> Manifest:
        start.wait(timeout=30)
        return state.registry.publish(promote(number))

    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(publish, range(1, 9)))
    manifests = state.registry.manifests()
    assert [one.number for one in manifests] == list(range(1, 9))
    assert sorted(one.number for one in published) == list(range(1, 9))
    assert {one.champion for one in manifests} == set(range(1, 9))
    # Each was decided on what the one before it had written.
    assert [one.previous for one in manifests] == [None, *(one.champion for one in manifests[:-1])]
    assert state.registry.manifest() == manifests[-1]


def test_a_change_is_asked_again_when_another_was_first_and_may_end_superseded(state: State, endpoint: Buckets) -> None:
    other = State.open(endpoint, state.address, state.model)
    readings: list[int | None] = []

    def change(now: Manifest | None) -> Manifest:
        readings.append(now.champion if now else None)
        if len(readings) == 1:
            other.registry.publish(promote(9))
        if now is not None and now.champion == 9:
            raise Superseded("v9 is newer")
        return promote(1)(now)

    with pytest.raises(Superseded):
        state.registry.publish(change)
    assert readings == [None, 9]
    assert [one.champion for one in state.registry.manifests()] == [9]


def test_a_change_of_nothing_publishes_nothing(state: State) -> None:
    first = state.registry.publish(promote(1))
    assert state.registry.publish(lambda now: None) == first
    assert state.registry.manifests() == [first]


def test_publishing_against_writers_who_are_always_first_ends(state: State, endpoint: Buckets) -> None:
    other = State.open(endpoint, state.address, state.model)

    def change(now: Manifest | None) -> Manifest:
        other.registry.publish(promote(9))
        return promote(1)(now)

    with pytest.raises(Conflict, match="3 times"):
        state.registry.publish(change, attempts=3)


def test_threads_that_register_get_numbers_without_gaps(state: State) -> None:
    start = threading.Barrier(6)

    def register(run: int) -> ModelVersion:
        start.wait(timeout=30)
        return state.registry.add_version(lambda number: version(number, f"run {run}"))

    with ThreadPoolExecutor(6) as pool:
        registered = list(pool.map(register, range(6)))
    assert sorted(one.number for one in registered) == [1, 2, 3, 4, 5, 6]
    assert [one.number for one in state.registry.versions()] == [1, 2, 3, 4, 5, 6]
    assert state.registry.version_of("run 3") == registered[3]


def test_a_run_that_registers_from_two_processes_has_one_version(state: State, endpoint: Buckets) -> None:
    start = threading.Barrier(2)

    def register(recorded: int) -> ModelVersion:
        mine = State.open(endpoint, state.address, state.model)
        start.wait(timeout=30)
        return mine.registry.add_version(
            lambda number: version(number, "one run").model_copy(update={"training_seconds": float(recorded)})
        )

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(register, range(2))
    assert first == second
    assert state.registry.versions() == [first]


def test_a_registration_whose_answer_was_lost_is_found_by_its_run_key() -> None:
    def lose(operation: str, key: str, done: bool) -> None:
        if done and operation == "create" and "/versions/" in key:
            buckets.fail = None
            raise Unavailable("the line broke")

    buckets = MemoryBuckets(fail=lose)
    state = State.open(buckets, "s3://state/default", "flights")
    with pytest.raises(Unavailable):
        state.registry.add_version(lambda number: version(number, "one run"))
    found = state.registry.add_version(lambda number: version(number, "one run"))
    assert (found.number, len(state.registry.versions())) == (1, 1)


def test_versions_are_found_by_number_and_alias(state: State) -> None:
    for run in ("a", "b", "c"):
        state.registry.add_version(lambda number, run=run: version(number, run))
    state.registry.publish(promote(2))
    assert state.registry.resolve(parse_reference("flights@champion")).number == 2
    assert state.registry.resolve(parse_reference("flights/v3")).run_key == "c"
    with pytest.raises(NotFound, match="no challenger; it has v1, v2, v3"):
        state.registry.resolve(parse_reference("flights@challenger"))
    with pytest.raises(NotFound, match=r"found no version v4 .* it has v1, v2, v3"):
        state.registry.resolve(parse_reference("flights/v4"))


def test_a_damaged_copy_of_an_artifact_is_read_again(state: State, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model" * 100)
    digest = state.registry.put_artifact(tmp_path / "model")
    copy = state.registry.artifact(digest)
    copy.write_bytes(b"model" * 99 + b"modeL")
    assert state.registry.artifact(digest).read_bytes() == b"model" * 100


def test_an_artifact_with_a_flipped_byte_is_refused_and_not_kept(state: State, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model" * 100)
    digest = state.registry.put_artifact(tmp_path / "model")
    state.bucket.put(state.layout.artifact(digest), b"model" * 99 + b"modeL")
    with pytest.raises(Invalid, match=f"not what was registered.*{digest}"):
        state.registry.artifact(digest)
    assert [path.name for path in (tmp_path / "c").iterdir()] == []


def test_an_artifact_that_is_gone_is_told(state: State) -> None:
    with pytest.raises(NotFound, match="artifacts/"):
        state.registry.artifact("0" * 64)


def test_the_journal_tells_each_thing_once(state: State, endpoint: Buckets) -> None:
    start = threading.Barrier(4)

    def tell(number: int) -> bool:
        mine = State.open(endpoint, state.address, state.model)
        start.wait(timeout=30)
        first = mine.journal.tell("outcome/5", "finished", "v5 is champion", {"version": 5}, NOW)
        mine.journal.tell(f"decision/{number}", "decided", "trains", {}, NOW)
        return first is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(tell, range(4))) == 1
    entries = state.journal.entries()
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert sorted(entry.id for entry in entries) == [
        "decision/0",
        "decision/1",
        "decision/2",
        "decision/3",
        "outcome/5",
    ]
    assert all(entry.decided_at == NOW < entry.recorded_at for entry in entries)
