"""Rollouts: proposed once, asked by many, led by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.adapters.state import State
from trimtab.core.errors import Conflict, Fenced, NotFound
from trimtab.core.ports import Buckets
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState, WeightEpoch

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def proposal(version: int = 7, champion: int = 6, run_key: str = "run 7") -> RolloutSpec:
    steps = [{"shadow": {"minRequests": 5}}, {"setWeight": 25, "minDuration": "10m"}]
    return RolloutSpec(
        number=0,
        name="",
        model="flights",
        version=version,
        champion=champion,
        rollout={"strategy": "canary", "steps": steps},
        run_key=run_key,
        recorded_at=NOW,
    )


def led(number: int = 1, epoch: int = 1, nonce: str = "", **more: object) -> RolloutState:
    return RolloutState(number=number, epoch=epoch, started=NOW, nonce=nonce, **more)  # type: ignore[arg-type]


def test_a_run_proposes_its_rollout_once(state: State, endpoint: Buckets) -> None:
    first = state.rollouts.propose(proposal())
    again = State.open(endpoint, state.address, state.model).rollouts.propose(proposal())
    assert first == again
    assert (first.number, first.name) == (1, "flights-v7")
    assert [step.set_weight for step in first.policy.steps] == [None, 25]


def test_another_champion_makes_it_another_rollout_with_a_name_of_its_own(state: State) -> None:
    state.rollouts.propose(proposal())
    second = state.rollouts.propose(proposal(champion=5))
    other = state.rollouts.propose(proposal(8, 7, "run 8"))
    assert [each.name for each in state.rollouts.all()] == ["flights-v7", "flights-v7-2", "flights-v8"]
    assert (second.number, other.number) == (2, 3)


def test_many_who_propose_at_once_get_numbers_of_their_own(state: State, endpoint: Buckets) -> None:
    def propose(version: int) -> int:
        door = State.open(endpoint, state.address, state.model)
        return door.rollouts.propose(proposal(version, 1, f"run {version}")).number

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(propose, range(2, 8)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def test_nothing_was_asked_and_nothing_is_known_before_somebody_does(state: State) -> None:
    state.rollouts.propose(proposal())
    assert state.rollouts.asked(1) == Asked(number=1)
    assert state.rollouts.state(1) is None
    assert state.rollouts.states() == {1: None}


def test_no_wish_is_lost_whoever_asks_at_the_same_time(state: State, endpoint: Buckets) -> None:
    state.rollouts.propose(proposal())

    def approve(step: int) -> None:
        door = State.open(endpoint, state.address, state.model)
        door.rollouts.ask(1, lambda asked: asked.model_copy(update={"approved": (*asked.approved, step)}))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(approve, range(5)))
    assert sorted(state.rollouts.asked(1).approved) == [0, 1, 2, 3, 4]


def test_a_wish_for_a_rollout_that_is_not_there_is_refused(state: State) -> None:
    with pytest.raises(NotFound, match="found no rollout 3"):
        state.rollouts.ask(3, lambda asked: asked)


def test_a_state_is_written_over_the_one_it_was_made_from(state: State) -> None:
    state.rollouts.propose(proposal())
    first = state.rollouts.save(led())
    second = state.rollouts.save(first.model_copy(update={"phase": Phase.CANARY, "weight_percent": 25}))
    assert state.rollouts.state(1) == second
    with pytest.raises(Conflict, match="changed while"):
        state.rollouts.save(first.model_copy(update={"weight_percent": 50}))


def test_a_controller_that_was_replaced_is_fenced_off(state: State) -> None:
    state.rollouts.propose(proposal())
    old = state.rollouts.save(led(epoch=1))
    state.rollouts.save(old.model_copy(update={"epoch": 2}))
    with pytest.raises(Fenced, match="epoch 2"):
        state.rollouts.save(old.model_copy(update={"weight_percent": 50}))


def test_two_who_take_up_the_same_rollout_are_one_and_one_who_looks_again(state: State, endpoint: Buckets) -> None:
    state.rollouts.propose(proposal())
    state.rollouts.save(led())
    with pytest.raises(Conflict):
        State.open(endpoint, state.address, state.model).rollouts.save(led())


def test_an_ended_rollout_stays_what_it_was(state: State) -> None:
    state.rollouts.propose(proposal())
    saved = state.rollouts.save(led(phase=Phase.ROLLED_BACK, ended=NOW))
    assert state.rollouts.states() == state.rollouts.states() == {1: saved}


@pytest.mark.parametrize(("over_for", "read_again"), [(timedelta(minutes=59), True), (timedelta(days=3), False)])
def test_a_promotion_is_read_again_only_while_probation_may_take_it_back(
    state: State, endpoint: Buckets, over_for: timedelta, read_again: bool
) -> None:
    on_probation = proposal().model_copy(update={"rollout": {**proposal().rollout, "probation": "1h"}})
    state.rollouts.propose(on_probation)
    ended = datetime.now(UTC) - over_for
    promoted = state.rollouts.save(led(phase=Phase.PROMOTED, ended=ended))
    assert state.rollouts.states() == {1: promoted}
    other = State.open(endpoint, state.address, state.model)
    taken_back = other.rollouts.save(promoted.model_copy(update={"phase": Phase.ROLLED_BACK}))
    assert state.rollouts.states() == {1: taken_back if read_again else promoted}


def test_an_end_that_the_router_has_still_to_confirm_is_read_again(state: State, endpoint: Buckets) -> None:
    # As the loop's thread reads it, between the leader's two writes.
    state.rollouts.propose(proposal())
    asked = WeightEpoch(weight_percent=0, shadow=False, asked_at=NOW)
    ended = state.rollouts.save(led(phase=Phase.ROLLED_BACK, ended=NOW, epochs=(asked,)))
    assert state.rollouts.states() == {1: ended}
    confirmed = asked.model_copy(update={"confirmed_from": NOW})
    saved = state.rollouts.save(ended.model_copy(update={"epochs": (confirmed,)}))
    assert state.rollouts.states() == {1: saved}
