"""Newer challengers, people who move the champion, the way back, probation: who serves then, and who is dropped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.core.rollout.values import Phase

Rig = Any
SHADOW_FIRST = (
    "{strategy: canary, steps: [{shadow: {minRequests: 50}}, {setWeight: 10, minRequests: 20}], superseding: WAY, "
    "maxDuration: 2h}"
)
PROBATION = "{strategy: canary, steps: [{setWeight: 50, minRequests: 20}], keepPrevious: 0s, probation: 1h}"


@pytest.fixture
def promoted(make_rig: Callable[..., Rig]) -> Callable[..., Rig]:
    """v2 was promoted in place of v1, under the given policy."""

    def make(rollout: str) -> Rig:
        rig = make_rig(rollout=rollout)
        rig.register()
        rig.look()
        rig.register("challenger")
        rig.look(2)
        rig.send(200)
        rig.look(2)
        assert rig.aliases() == (2, None)
        return rig

    return make


# A newer challenger


def test_a_newer_challenger_replaces_one_that_has_carried_no_weight(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout=SHADOW_FIRST.replace("WAY", "replace"))
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    assert rig.at(1).phase is Phase.SHADOW
    rig.register("challenger")
    rig.look(3)

    assert rig.at(1).phase is Phase.SUPERSEDED
    assert "v3 takes the place of v2" in rig.at(1).reason
    assert rig.at(2).phase is Phase.SHADOW
    assert rig.aliases() == (1, 3)
    assert rig.traffic.seen().route.challenger == 3
    assert 2 not in rig.traffic.running


@pytest.mark.parametrize("way", ["replace", "queue"])
def test_one_that_carries_weight_goes_on_and_the_newer_waits_and_meets_the_new_champion(
    make_rig: Callable[..., Rig], way: str
) -> None:
    policy = "{strategy: canary, steps: [{setWeight: 50, minRequests: 20}], superseding: WAY}".replace("WAY", way)
    rig = make_rig(rollout=policy)
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    rig.register("challenger")
    rig.look(3)
    assert rig.route() == (1, 2, 50)
    assert rig.state.rollouts.state(2) is None

    rig.send(200)
    rig.look(4)

    assert rig.at(1).phase is Phase.PROMOTED
    assert rig.at(2).phase is Phase.SUPERSEDED
    assert [spec.name for spec in rig.specs()] == ["flights-v2", "flights-v3", "flights-v3-2"]
    assert rig.specs()[-1].champion == 2
    assert rig.route() == (2, 3, 50)
    assert rig.aliases() == (2, 3)


def test_whoever_reads_between_two_writes_of_the_leader_does_not_stop_it(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout=SHADOW_FIRST.replace("WAY", "replace"))
    save = rig.state.rollouts.save

    def read_at_once(state: Any) -> Any:
        saved = save(state)
        rig.state.rollouts.states()  # as the thread that decides about training, or the one that shows the status
        return saved

    rig.state.rollouts.save = read_at_once
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    rig.register("challenger")
    rig.look(4)

    assert rig.at(1).epochs[-1].confirmed_from is not None
    assert rig.at(2).epochs[-1].confirmed_from is not None
    assert rig.route() == (1, 3, 0)


@pytest.mark.parametrize(("way", "waits"), [("replace", False), ("queue", True)])
def test_of_several_that_wait_replace_keeps_only_the_newest(
    make_rig: Callable[..., Rig], way: str, waits: bool
) -> None:
    policy = "{strategy: canary, steps: [{setWeight: 50, minRequests: 20}], superseding: WAY}".replace("WAY", way)
    rig = make_rig(rollout=policy)
    rig.register()
    rig.look()
    for _ in range(3):
        rig.register("challenger")
        rig.look(2)

    second = rig.state.rollouts.state(2)
    assert (second is None) == waits
    assert waits or second.phase is Phase.SUPERSEDED
    assert rig.state.rollouts.state(3) is None
    assert rig.route() == (1, 2, 50)


# People


def test_a_champion_made_by_hand_ends_the_rollout(rig: Rig) -> None:
    rig.look(2)
    rig.publish(champion=1)
    third = rig.register()
    rig.look(3)

    assert rig.at().phase is Phase.SUPERSEDED
    assert f"v{third} is champion now" in rig.at().reason
    assert rig.route() == (third, None, 0)
    assert rig.aliases() == (third, None)


def test_the_challenger_made_champion_by_hand_is_promoted(rig: Rig) -> None:
    rig.look(2)
    rig.publish(champion=2)
    rig.look(3)

    assert rig.at().phase is Phase.PROMOTED
    assert rig.route() == (2, None, 0)
    assert rig.aliases() == (2, None)


def test_promote_skips_what_is_left(rig: Rig) -> None:
    rig.look(2)
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"promoted": True, "reason": "promote by ann"}))
    rig.look(2)

    assert rig.aliases() == (2, None)
    assert "promote by ann" in rig.at().reason


def test_abort_gives_everything_back_and_drops_the_alias(rig: Rig) -> None:
    rig.look(2)
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"aborted": True}))
    rig.look()
    assert rig.route() == (1, None, 0)
    rig.look()

    assert (rig.at().phase, rig.aliases()) == (Phase.ABORTED, (1, None))


def test_who_goes_back_to_an_older_champion_ends_the_rollout_for_good(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout=SHADOW_FIRST.replace("WAY", "replace"))
    for _ in range(2):
        rig.register()
        rig.look(2)
    rig.register("challenger")
    rig.look(2)
    assert rig.at().phase is Phase.SHADOW
    # As `trimtab rollback` does it: the alias first, the wish after it.
    rig.publish(champion=1, challenger=None)
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"aborted": True, "reason": "back to v1"}))
    rig.look(4)

    assert (rig.at().phase, rig.at().reason) == (Phase.ABORTED, "back to v1")
    assert len(rig.specs()) == 1
    assert (rig.route(), rig.aliases()) == ((1, None, 0), (1, None))


def test_a_challenger_whose_champion_went_and_came_back_is_dropped_in_the_end(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout=SHADOW_FIRST.replace("WAY", "replace"))
    for _ in range(2):
        rig.register()
        rig.look(2)
    rig.register("challenger")
    rig.look(2)
    rig.publish(champion=1)
    rig.look(3)
    rig.publish(champion=2)
    rig.look(4)

    assert [(spec.version, spec.champion) for spec in rig.specs()] == [(3, 2), (3, 1)]
    assert rig.at().phase is Phase.SUPERSEDED
    assert rig.aliases() == (2, None)


def test_a_pause_keeps_the_weight_and_resuming_goes_on(rig: Rig) -> None:
    rig.look(2)
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"paused": True, "reason": "pause by ann"}))
    rig.send(400)
    assert (rig.at().phase, rig.route()) == (Phase.PAUSED, (1, 2, 10))
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"paused": False}))
    rig.look(2)

    assert rig.route() == (1, 2, 50)


def test_a_pause_step_waits_for_its_approval(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{strategy: canary, steps: [{setWeight: 10, minRequests: 5}, {pause: {}}, {setWeight: 50}]}")
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    rig.send(200)
    rig.look(3)
    assert (rig.at().phase, rig.at().step, rig.route()) == (Phase.PAUSED, 1, (1, 2, 10))
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"approved": (1,), "approved_by": "ann"}))
    rig.look(2)

    assert (rig.at().step, rig.route()) == (2, (1, 2, 50))
    assert any("Paused: " in entry.summary for entry in rig.told("rollout"))


# Immediate, and the way back


def test_under_immediate_the_old_version_serves_until_the_new_one_is_ready(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{keepPrevious: 10m}")
    rig.register()
    rig.look()
    rig.traffic.ready_at_once = False
    rig.register()
    rig.look(3)
    assert rig.route() == (1, None, 0)
    assert rig.traffic.running == {1, 2}

    # ... also when everything is started again meanwhile, whichever of the two gets ready first.
    rig.traffic.restart()
    rig.start()
    rig.look()
    rig.traffic.make_ready(1)
    rig.look()
    assert rig.route() == (1, None, 0)
    rig.traffic.make_ready(2)
    rig.look(2)

    assert rig.route() == (2, None, 0)
    assert rig.traffic.running == {1, 2}
    rig.look(seconds=599)
    assert rig.traffic.running == {1, 2}
    rig.look(2, seconds=2)
    assert rig.traffic.running == {2}


def test_the_kept_champion_is_back_at_the_first_look(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{keepPrevious: 10m}")
    rig.register()
    rig.look()
    rig.register()
    rig.look(2)
    rig.traffic.ready_at_once = False  # whatever had to be started now would not get ready
    rig.publish(champion=1)
    rig.look()

    assert rig.route() == (1, None, 0)


def test_whoever_answered_until_now_is_not_ended_before_he_is_noted_as_kept(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{keepPrevious: 10m}")
    rig.register()
    rig.look()
    rig.register()
    rig.look(2)
    rig.traffic.stalled = True  # the router confirms only after the look that asked for the way back
    rig.publish(champion=1)
    rig.look()
    assert rig.route() == (2, None, 0)
    rig.traffic.stalled = False
    rig.traffic.make_ready(1)
    assert rig.route() == (1, None, 0)
    rig.look()

    assert rig.traffic.wanted.versions == (1, 2)
    served = rig.state.served.read()
    assert (served.champion, served.kept) == (1, 2)


def test_the_way_to_a_version_that_is_not_kept_is_waited_for(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{keepPrevious: 0s}")
    for _ in range(3):
        rig.register()
        rig.look(2)
    rig.look(seconds=1)
    assert rig.traffic.running == {3}
    rig.traffic.ready_at_once = False
    rig.publish(champion=1)
    rig.look(3, seconds=1)
    assert rig.route() == (3, None, 0)
    rig.traffic.make_ready(1)
    rig.look()

    assert rig.route() == (1, None, 0)


def test_a_challenger_is_dropped_where_the_spec_knows_no_rollouts_any_more(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{strategy: immediate}")
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)

    assert rig.specs() == []
    assert rig.aliases() == (1, None)


# Probation


def test_a_loss_proven_on_probation_takes_the_promotion_back(promoted: Callable[..., Rig]) -> None:
    rig = promoted(PROBATION)
    rig.look(seconds=1800)
    assert rig.traffic.running == {1, 2}, "the former champion is kept while it may have to come back"
    rig.pairs = ([0.0] * 300, [0.0, 1.0, 0.0] * 100)
    rig.look(3, seconds=1)

    assert rig.route() == (1, None, 0)
    assert rig.aliases() == (1, None)
    state = rig.at()
    assert state.phase is Phase.ROLLED_BACK
    assert "on probation" in state.reason
    assert rig.state.registry.manifest().previous == 2
    assert [entry.id for entry in rig.told("rolledBack")] == ["rollout/1/RolledBack"]


def test_after_probation_late_labels_change_nothing(promoted: Callable[..., Rig]) -> None:
    rig = promoted(PROBATION)
    rig.look(seconds=3700)
    rig.pairs = ([0.0] * 300, [0.0, 1.0, 0.0] * 100)
    rig.look(3, seconds=1)

    assert (rig.route(), rig.at().phase) == ((2, None, 0), Phase.PROMOTED)


def test_whoever_is_made_champion_again_by_hand_stays(promoted: Callable[..., Rig]) -> None:
    rig = promoted(PROBATION)
    rig.pairs = ([0.0] * 300, [0.0, 1.0, 0.0] * 100)
    rig.look(3, seconds=1)
    rig.now += timedelta(seconds=5)
    rig.publish(champion=2)
    rig.look(3, seconds=1)

    assert (rig.route(), rig.aliases()) == ((2, None, 0), (2, None))
