"""`trimtab plan`: the same decision as the controller's, on what is written down, with nothing done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trimtab.app.rollout.planning import Plan, plan
from trimtab.core.errors import Unavailable

Rig = Any


def planned(rig: Rig, immediate: bool = False) -> Plan:
    before = {key: value[1] for key, value in rig.buckets.bucket("state")._objects.items()}
    found = plan(rig.state, rig.now, immediate)
    assert {key: value[1] for key, value in rig.buckets.bucket("state")._objects.items()} == before
    return found


def test_before_the_controller_it_says_that_a_rollout_would_be_proposed(rig: Rig) -> None:
    found = planned(rig)
    assert (found.rollout, found.would, found.champion) == ("", "Propose", 1)
    assert "v2 beside v1" in found.reason
    assert planned(rig, immediate=True).would == "Drop"


def test_under_way_it_names_the_gate_each_test_and_the_steps_to_come(rig: Rig) -> None:
    rig.look(2)
    rig.send(100)
    rig.look(seconds=5)
    found = planned(rig)

    assert (found.rollout, found.phase, found.would) == ("flights-v2", "Canary", "Hold")
    assert "of 20 requests at 10 %" in found.reason
    tests = {test.name: test for test in found.tests}
    assert set(tests) == {"errors", "latency", "loss"}
    assert 0 < tests["errors"].e_value < tests["errors"].needed
    assert not tests["errors"].proven
    assert [step.step for step in found.steps] == [0, 1, None]
    assert found.requests_per_second is not None
    assert all(step.seconds for step in found.steps)


def test_what_the_controller_does_next_is_what_was_planned(rig: Rig) -> None:
    rig.look(2)
    rig.send(100)
    rig.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"aborted": True}))
    assert planned(rig).would == "Abort"
    rig.look()

    assert rig.at().phase.value == "Aborted"
    assert planned(rig).would == "Drop"
    rig.look()
    assert planned(rig).would == "Nothing"


def test_in_error_nothing_is_done_until_it_works_again(rig: Rig) -> None:
    rig.look(2)
    rig.traffic.unreachable = "the router's socket is gone"
    with pytest.raises(Unavailable):
        rig.look()
    found = planned(rig)
    assert (found.phase, found.would) == ("Error", "Hold")
    assert "the router's socket is gone" in found.reason


def test_on_probation_it_says_for_how_long(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(rollout="{strategy: canary, steps: [{setWeight: 50, minRequests: 5}], probation: 1h}")
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    rig.send(200)
    rig.look(2)
    assert rig.aliases() == (2, None)
    found = planned(rig)
    assert (found.would, found.phase) == ("Hold", "Promoted")
    assert "on probation for another" in found.reason
