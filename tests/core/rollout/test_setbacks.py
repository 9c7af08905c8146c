"""A version that was rolled back holds the next run up like a rejected one, and a rollout under way lets it wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.setbacks import carrying, taken_back
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def spec(number: int = 1, version: int = 2) -> RolloutSpec:
    return RolloutSpec(
        number=number,
        name=f"flights-v{version}",
        model="flights",
        version=version,
        champion=1,
        rollout={"strategy": "canary", "steps": [{"setWeight": 25}]},
        run_key=f"run {version}",
        recorded_at=NOW,
    )


def state(phase: Phase, weight: int = 0) -> RolloutState:
    return RolloutState(
        number=1, epoch=1, phase=phase, weight_percent=weight, started=NOW, ended=NOW if phase.ended else None
    )


def champions(*numbers: int) -> list[Manifest]:
    return [
        Manifest(
            number=place + 1,
            champion=number,
            challenger=None,
            previous=None,
            cause="",
            recorded_at=NOW + timedelta(hours=place),
        )
        for place, number in enumerate(numbers)
    ]


def versions(count: int) -> list[ModelVersion]:
    return [ModelVersion.model_construct(number=number, run_key=f"run {number}") for number in range(1, count + 1)]


def test_a_rollout_that_rolled_back_is_a_setback_of_its_run() -> None:
    found = taken_back([spec()], {1: state(Phase.ROLLED_BACK)}, champions(1), versions(2))
    assert found == {"run 2": NOW}


def test_aborted_superseded_and_promoted_ones_are_none() -> None:
    for phase in (Phase.ABORTED, Phase.SUPERSEDED, Phase.PROMOTED, Phase.HELD):
        assert taken_back([spec()], {1: state(phase)}, champions(1), versions(2)) == {}


def test_a_person_who_goes_back_says_the_same_of_the_version_that_is_left() -> None:
    assert taken_back([], {}, champions(1, 2, 1), versions(2)) == {"run 2": NOW + timedelta(hours=2)}


def test_a_version_that_was_made_champion_again_is_no_setback() -> None:
    assert taken_back([], {}, champions(1, 2, 1, 2), versions(2)) == {}


def test_a_rollout_that_carries_weight_is_waited_for() -> None:
    assert carrying([spec()], {1: state(Phase.CANARY, 25)}) == "rollout flights-v2 carries 25 % of the traffic (Canary)"


def test_one_in_shadow_pending_or_over_is_not() -> None:
    for found in (None, state(Phase.SHADOW), state(Phase.PENDING), state(Phase.PROMOTED, 100)):
        assert carrying([spec()], {1: found}) == ""
