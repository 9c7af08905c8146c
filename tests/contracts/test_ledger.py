"""Every version of an upload once, one outcome each, and a release that counts over it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.errors import Conflict, NotFound, Unavailable
from trimtab.core.ports import Buckets
from trimtab.core.records import IntakeOutcome, LedgerEntry, entry_id

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)


def entry(key: str, etag: str = "e1", via: Any = "listing") -> LedgerEntry:
    return LedgerEntry(
        id=entry_id("default", "flights", "landing", key, etag),
        bucket="landing",
        key=key,
        etag=etag,
        size=10,
        modified=NOW,
        via=via,
        recorded_at=NOW,
    )


def intake(entry: LedgerEntry, state: Any, reason: str = "") -> IntakeOutcome:
    return IntakeOutcome(entry=entry.id, state=state, reason=reason, decided_at=NOW, recorded_at=NOW)


def again(state: State, buckets: Buckets) -> State:
    """The same state, seen by a process that has just started."""
    return State.open(buckets, state.address, state.model)


def test_an_upload_is_new_once_whoever_tells_of_it(state: State, endpoint: Buckets) -> None:
    assert state.ledger.see(entry("one.csv", via="webhook"))
    assert not state.ledger.see(entry("one.csv", via="webhook"))
    assert not again(state, endpoint).ledger.see(entry("one.csv", via="listing"))
    assert state.ledger.see(entry("one.csv", etag="e2"))
    assert {seen.via for seen in again(state, endpoint).ledger.entries().values()} == {"webhook", "listing"}


def test_of_three_who_tell_of_it_at_once_one_is_first(state: State) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(state.ledger.see, [entry("one.csv")] * 3)) == [False, False, True]


def test_entries_are_read_back_by_id(state: State, endpoint: Buckets) -> None:
    entries = [entry(f"{number}.csv") for number in range(30)]
    for seen in entries:
        state.ledger.see(seen)
    reader = again(state, endpoint)
    assert reader.ledger.ids() == {seen.id for seen in entries}
    assert reader.ledger.entries() == {seen.id: seen for seen in entries}
    assert reader.ledger.entry(entries[7].id) == entries[7]
    with pytest.raises(NotFound, match="no ledger entry"):
        reader.ledger.entry("0" * 64)


def test_the_first_outcome_counts(state: State, endpoint: Buckets) -> None:
    seen = entry("one.csv")
    assert state.ledger.outcome(seen.id) is None
    first = state.ledger.conclude(intake(seen, "ingested"))
    second = again(state, endpoint).ledger.conclude(intake(seen, "quarantined", "late"))
    assert first == second == state.ledger.outcome(seen.id)
    assert again(state, endpoint).ledger.outcomes() == {seen.id: first}


def test_a_release_counts_over_quarantine_also_for_who_read_it_before(state: State, endpoint: Buckets) -> None:
    seen, other = entry("one.csv"), entry("two.csv")
    state.ledger.conclude(intake(seen, "quarantined", "renamed column"))
    state.ledger.conclude(intake(other, "ingested"))
    reader = again(state, endpoint)
    assert reader.ledger.outcomes()[seen.id].state == "quarantined"

    released = state.ledger.release(intake(seen, "ingested", "released"))

    assert reader.ledger.outcome(seen.id) == released
    assert reader.ledger.outcomes()[seen.id] == released
    assert reader.ledger.outcomes()[other.id].state == "ingested"
    assert state.ledger.release(intake(seen, "ingested", "released again")) == released


@pytest.mark.parametrize("concluded", [None, "ingested", "duplicate"])
def test_only_what_is_in_quarantine_can_be_released(state: State, concluded: str | None) -> None:
    seen = entry("one.csv")
    if concluded:
        state.ledger.conclude(intake(seen, concluded))
    with pytest.raises(Conflict, match="only a quarantined one"):
        state.ledger.release(intake(seen, "ingested"))


def test_what_was_read_once_is_not_asked_again() -> None:
    asked: list[str] = []
    buckets = MemoryBuckets(fail=lambda operation, key, done: asked.append(operation) if done else None)
    writer = State.open(buckets, "s3://state/default", "flights")
    for number in range(5):
        writer.ledger.see(entry(f"{number}.csv"))
        writer.ledger.conclude(intake(entry(f"{number}.csv"), "ingested"))
    reader = State.open(buckets, "s3://state/default", "flights")
    asked.clear()
    for _ in range(3):
        reader.ledger.outcomes()
        reader.ledger.entries()
    assert sorted(asked) == ["get"] * 10 + ["list"] * 6


def test_an_outcome_whose_answer_was_lost_is_found_when_concluded_again() -> None:
    def lose(operation: str, key: str, done: bool) -> None:
        if done and operation == "create" and key.endswith("outcome.json"):
            buckets.fail = None
            raise Unavailable("the line broke")

    buckets = MemoryBuckets(fail=lose)
    state = State.open(buckets, "s3://state/default", "flights")
    with pytest.raises(Unavailable):
        state.ledger.conclude(intake(entry("one.csv"), "ingested", "first"))
    assert state.ledger.conclude(intake(entry("one.csv"), "quarantined", "second")).reason == "first"
