"""One decision a number, one owner a claim, one outcome a decision, whoever races for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.adapters.state import State
from trimtab.core.errors import Conflict, Fenced
from trimtab.core.ports import Buckets
from trimtab.core.records import Claim, Decision, Outcome

NOW = datetime(2012, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)


def decision(number: int, reason: str = "upload") -> Decision:
    return Decision(
        number=number,
        reason=reason,
        entries=("a",),
        dataset="d",
        training_digest="t",
        spec="s",
        run_key=f"{reason} {number}",
        decided_at=NOW,
        recorded_at=NOW,
    )


def outcome(number: int, state: Any, reason: str = "because") -> Outcome:
    return Outcome(number=number, run_key="k", state=state, reason=reason, decided_at=NOW, recorded_at=NOW)


def run_id(attempt: int) -> str:
    return f"run-{attempt}"


def take(state: State, owner: str, now: datetime = NOW, adopt: bool = False) -> Claim:
    return state.decisions.take(1, owner, run_id, lease_seconds=60, now=now, adopt=adopt)


def test_decisions_are_read_in_order_and_as_they_come(state: State, endpoint: Buckets) -> None:
    reader = State.open(endpoint, state.address, state.model)
    assert reader.decisions.all() == []
    for number in range(1, 13):
        state.decisions.propose(decision(number))
    assert [made.number for made in reader.decisions.all()] == list(range(1, 13))
    state.decisions.propose(decision(13))
    assert reader.decisions.all()[-1] == decision(13) == reader.decisions.find(13)


def test_a_number_is_taken_once(state: State) -> None:
    state.decisions.propose(decision(1, "upload"))
    with pytest.raises(Conflict):
        state.decisions.propose(decision(1, "schedule"))
    assert state.decisions.propose(decision(1, "upload")) == decision(1, "upload")


def test_the_first_outcome_counts(state: State, endpoint: Buckets) -> None:
    first = state.decisions.conclude(outcome(1, "champion"))
    other = State.open(endpoint, state.address, state.model)
    assert other.decisions.conclude(outcome(1, "failed", "lost its lease")) == first
    state.decisions.conclude(outcome(3, "rejected"))
    assert list(other.decisions.outcomes()) == [1, 3]
    state.decisions.conclude(outcome(2, "failed"))
    assert list(other.decisions.outcomes()) == [1, 2, 3]


def test_of_four_who_claim_a_decision_one_gets_it(state: State) -> None:
    start = threading.Barrier(4)

    def claim(owner: str) -> Claim | None:
        start.wait(timeout=30)
        try:
            return take(state, owner)
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        taken = [claim for claim in pool.map(claim, "abcd") if claim]
    assert len(taken) == 1
    assert state.decisions.claim(1) == taken[0]
    assert (taken[0].epoch, taken[0].attempt, taken[0].run_id) == (1, 1, "run-1")


def test_a_claim_that_holds_is_not_taken_over(state: State) -> None:
    take(state, "a")
    with pytest.raises(Conflict, match="held by a until 2012-03-01 12:01:00"):
        take(state, "b", NOW + timedelta(seconds=59))


def test_taking_over_an_expired_claim_raises_the_epoch_and_fences_the_former_owner(state: State) -> None:
    former = take(state, "a")
    taken = take(state, "b", LATER)
    assert (taken.owner, taken.epoch, taken.attempt, taken.run_id) == ("b", 2, 2, "run-2")
    for late in (
        lambda: state.decisions.renew(former, 60, LATER),
        lambda: state.decisions.submitted(former),
        lambda: state.decisions.back_off(former, LATER),
    ):
        with pytest.raises(Fenced, match=r"taken over by b \(epoch 2\)"):
            late()
    assert state.decisions.claim(1) == taken


def test_of_four_who_take_over_one_gets_it(state: State) -> None:
    take(state, "dead")
    start = threading.Barrier(4)

    def claim(owner: str) -> bool:
        start.wait(timeout=30)
        try:
            take(state, owner, LATER)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, "abcd")) == 1
    held = state.decisions.claim(1)
    assert held is not None
    assert (held.epoch, held.attempt) == (2, 2)


def test_a_run_that_lives_on_is_adopted_under_its_own_id(state: State) -> None:
    state.decisions.submitted(take(state, "a"))
    taken = take(state, "b", LATER, adopt=True)
    assert (taken.epoch, taken.attempt, taken.run_id, taken.state) == (2, 1, "run-1", "submitted")


def test_a_renewed_claim_holds_longer_and_stays_submitted(state: State) -> None:
    claim = take(state, "a")
    state.decisions.submitted(claim)
    renewed = state.decisions.renew(claim, 60, LATER)
    assert (renewed.state, renewed.lease_until) == ("submitted", LATER + timedelta(seconds=60))
    with pytest.raises(Conflict, match="held by a"):
        take(state, "b", LATER)


def test_ones_own_fresh_claim_is_returned_when_its_answer_was_lost(state: State) -> None:
    assert take(state, "a") == take(state, "a", NOW + timedelta(seconds=5))


def test_ones_own_submitted_claim_is_not_started_again(state: State) -> None:
    state.decisions.submitted(take(state, "a"))
    with pytest.raises(Conflict, match="held by a"):
        take(state, "a")


def test_after_a_back_off_anybody_may_take_the_next_attempt(state: State) -> None:
    retry_after = NOW + timedelta(seconds=300)
    state.decisions.back_off(take(state, "a"), retry_after)
    with pytest.raises(Conflict, match="waits to be tried again until 2012-03-01 12:05:00"):
        take(state, "b", NOW + timedelta(seconds=299))
    taken = take(state, "a", retry_after)
    assert (taken.attempt, taken.run_id, taken.retry_after) == (2, "run-2", None)


def test_the_lease_has_one_owner_at_a_time(endpoint: Buckets, state: State) -> None:
    now = [NOW]
    lease = State.open(endpoint, state.address, state.model, now=lambda: now[0]).lease
    assert lease.who() is None
    assert lease.acquire("a", 60) == 1
    assert lease.acquire("b", 60) is None
    assert lease.acquire("a", 60) == 1
    held = lease.who()
    assert held is not None
    assert (held.owner, held.epoch) == ("a", 1)

    now[0] = LATER
    assert lease.who() is None
    assert lease.acquire("b", 60) == 2
    with pytest.raises(Fenced, match=r"taken by b \(epoch 2\)"):
        lease.renew("a", 1, 60)
    lease.release("a", 1)
    lease.renew("b", 2, 600)
    now[0] = LATER + timedelta(seconds=599)
    assert lease.acquire("a", 60) is None

    lease.release("b", 2)
    assert lease.who() is None
    assert lease.acquire("a", 60) == 3


def test_of_four_who_ask_for_the_lease_one_gets_it(state: State) -> None:
    start = threading.Barrier(4)

    def acquire(owner: str) -> int | None:
        start.wait(timeout=30)
        return state.lease.acquire(owner, 60)

    with ThreadPoolExecutor(4) as pool:
        epochs = list(pool.map(acquire, "abcd"))
    assert sorted(epoch or 0 for epoch in epochs) == [0, 0, 0, 1]
