"""One rollout under continuous load, with controller, router, challenger and champion killed at named points."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trimtab.core.rollout.values import Phase

Site = Any


@pytest.mark.timeout(900)
def test_whatever_is_killed_the_rollout_goes_on_and_no_request_fails_while_the_champion_lives(site: Site) -> None:
    site.arm("after-split")  # the shadow step is written down, and nobody has asked the router for it
    site.register("challenger")
    site.wait_for(lambda: site.fired("after-split"))
    site.wait_for(lambda: (state := site.settled()) and state.phase is Phase.PAUSED)
    assert site.at().weight_percent == 20

    for victim in ("v2", "envoy", "v1"):
        killed = time.time()
        assert site.kill(victim)
        site.wait_for(lambda since=killed: len(site.load.answered_since(since + 1)) > 30)
    assert site.at().weight_percent == 20

    site.arm("before-confirmed")  # the router has the 50 %, and nobody has written that down
    site.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"approved": (2,), "approved_by": "a test"}))
    site.wait_for(lambda: site.fired("before-confirmed"))
    site.arm("before-promotion")  # the router sends everything to the challenger, and the registry does not know
    site.wait_for(lambda: site.fired("before-promotion"))
    site.wait_for(lambda: site.champion() == 2)

    promoted = time.time()
    site.wait_for(lambda: (state := site.at()) and state.phase is Phase.PROMOTED)
    site.wait_for(lambda: len(site.load.answered_since(promoted + 2)) > 30)
    assert {each.variant for each in site.load.answered_since(promoted + 2)} == {"v2"}
    site.check()

    # The way back is one command, to the champion that was kept running.
    from trimtab.app.cli.rollout import poke
    from trimtab.app.opening import Platform

    began = time.time()
    site.state.registry.publish(lambda now: now.model_copy(update={"champion": 1, "previous": 2, "cause": "back"}))
    poke(Platform.find(), "small")
    site.wait_for(lambda: any(each.variant == "v1" for each in site.load.answered_since(began)))
    assert time.time() - began < 3
    site.check()
    print(f"{site.starts} starts, {len(site.load.asked)} requests, {len(site.unexplained())} failed in flight")
