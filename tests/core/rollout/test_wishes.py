"""What people may ask of a rollout."""

from datetime import UTC, datetime

import pytest

from trimtab.core.errors import Invalid
from trimtab.core.records import Manifest
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState
from trimtab.core.rollout.wishes import going_on, rolled_back, wished

NOW = datetime(2026, 1, 5, tzinfo=UTC)
STEPS = [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]


def spec(number=1, version=7) -> RolloutSpec:
    return RolloutSpec(
        number=number,
        name=f"flights-v{version}",
        model="flights",
        version=version,
        champion=6,
        rollout={"strategy": "canary", "steps": STEPS},
        recorded_at=NOW,
    )


def state(phase=Phase.CANARY, step=0, number=1) -> RolloutState:
    return RolloutState(number=number, epoch=1, phase=phase, step=step, reason="harm proven", started=NOW)


def ask(verb, found=None, asked=None) -> Asked:
    return wished(verb, spec(), found or state(), asked or Asked(number=1), "ann", "")


def test_the_oldest_rollout_that_has_not_ended_goes_on():
    specs = [spec(3, 9), spec(1, 7), spec(2, 8)]
    states = {1: state(Phase.PROMOTED), 2: state(number=2), 3: None}
    assert going_on(specs, states) == spec(2, 8)
    assert going_on(specs, {**states, 2: state(Phase.ABORTED, number=2)}) == spec(3, 9)
    assert going_on(specs[:2], {1: state(Phase.PROMOTED), 3: state(Phase.SUPERSEDED)}) is None


def test_pause_and_resume_say_who_asked():
    paused = ask("pause")
    assert (paused.paused, paused.reason) == (True, "pause by ann")
    assert ask("resume", asked=paused).paused is False


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED])
def test_nothing_can_be_asked_of_a_rollout_that_has_ended(phase):
    with pytest.raises(Invalid, match=f"has ended: {phase}: harm proven"):
        ask("promote", state(phase))


@pytest.mark.parametrize(("verb", "asked"), [("pause", {"paused": True}), ("resume", {}), ("abort", {"aborted": True})])
def test_a_verb_that_changes_nothing_says_so(verb, asked):
    with pytest.raises(Invalid, match="nothing was changed"):
        ask(verb, asked=Asked(number=1, **asked))


def test_an_approval_is_for_the_pause_that_waits_and_for_no_later_one():
    approved = ask("approve", state(Phase.PAUSED, 1))
    assert (approved.approved, approved.approved_by) == ((1,), "ann")
    with pytest.raises(Invalid, match="its next pause is step 4 of 4"):
        ask("approve", state(Phase.CANARY, 2), approved)
    assert ask("approve", state(Phase.PAUSED, 3), approved).approved == (1, 3)


def test_a_promotion_ends_a_pause():
    promoted = ask("promote", asked=Asked(number=1, paused=True))
    assert (promoted.promoted, promoted.paused) == (True, False)


def manifest(champion=7, previous=6, challenger=None) -> Manifest:
    return Manifest(number=3, champion=champion, challenger=challenger, previous=previous, cause="", recorded_at=NOW)


def test_going_back_swaps_champion_and_previous():
    after = rolled_back("flights", None, manifest(challenger=8), NOW, "ann", "too many refunds")
    assert (after.champion, after.previous, after.challenger) == (6, 7, 8)
    assert after.cause == "went back from v7 to v6 by ann: too many refunds"


@pytest.mark.parametrize(("now", "says"), [(None, "no champion"), (manifest(previous=None), "the first champion")])
def test_there_has_to_be_a_champion_to_go_back_to(now, says):
    with pytest.raises(Invalid, match=says):
        rolled_back("flights", None, now, NOW, "ann", "")


@pytest.mark.parametrize("verb", ["promote", "pause", "approve", "resume"])
def test_whoever_comes_after_an_abort_is_told_that_it_ends(verb):
    aborted = ask("abort")
    with pytest.raises(Invalid, match="is to end: abort by ann; nothing was changed"):
        ask(verb, state(Phase.PAUSED, step=1), aborted)


@pytest.mark.parametrize(("ended", "challenger"), [(8, None), (None, 8), (7, 8)])
def test_going_back_drops_the_challenger_whose_rollout_ends_with_it_and_no_other(ended, challenger):
    now = Manifest(number=3, champion=6, challenger=8, previous=5, cause="", recorded_at=NOW)
    assert rolled_back("flights", None, now, NOW, "ann", "", ended).challenger == challenger
