"""
Kills at random instants of rollouts under load, seeded: `make soak`, or `make soak SECONDS=480` for as many as fit.

`TRIMTAB_SOAK_SEED` repeats a run; the seed is printed first.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest

from trimtab.adapters.crash import ROLLOUT_POINTS
from trimtab.core.rollout.values import Phase

KILLS = 40
POINTS_SHARE = 0.4  # of the kills of the platform: at a named point, the others at any instant
VICTIMS = ("platform", "platform", "envoy", "challenger", "champion")
WITHIN_SECONDS = 8.0
ROLLOUT_SECONDS = 300.0  # by then a rollout has ended, kills and a busy machine included
SHARE_OF_TIME = 0.2  # of `make soak SECONDS=…`
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("TRIMTAB_SOAK_SECONDS" not in os.environ, reason="long: `make soak`"),
]


@pytest.fixture
def chance(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = int(os.environ.get("TRIMTAB_SOAK_SEED") or time.time())
    with capsys.disabled():
        print(f"\nseed {seed} (TRIMTAB_SOAK_SEED={seed} repeats it)", flush=True)
    return random.Random(seed)


def test_rollouts_under_load_survive_kills_at_random_instants(
    site: Any, chance: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    deadline = time.monotonic() + SHARE_OF_TIME * float(os.environ.get("TRIMTAB_SOAK_SECONDS") or "inf")
    kills = rollouts = 0
    while kills < KILLS and (rollouts == 0 or time.monotonic() < deadline):
        champion, challenger = site.champion(), site.register("challenger")
        rollouts += 1
        ended = time.monotonic() + ROLLOUT_SECONDS
        while not over(site, rollouts):
            assert time.monotonic() < ended, f"rollout {rollouts} stands still: {site.at(rollouts)}"
            if kills < KILLS and time.monotonic() < deadline:
                kills += kill_one(site, chance, champion, challenger)
            else:
                site.wait_for(lambda number=rollouts: waits_or_over(site, number))
            approve(site, rollouts)
        assert site.at(rollouts).phase is Phase.PROMOTED
        site.wait_for(lambda wanted=challenger: site.champion() == wanted)
        site.check()
        with capsys.disabled():
            print(f"  rollout {rollouts}: promoted; {kills} kills, {site.starts} starts of the platform", flush=True)
    failed = len(site.unexplained())
    with capsys.disabled():
        print(f"{kills} kills, {len(site.load.asked)} requests, {failed} failed in flight", flush=True)
    assert kills > 0


def kill_one(site: Any, chance: random.Random, champion: int, challenger: int) -> bool:
    """At a named point of what comes next, or at any instant; whether there was anything to kill."""
    victim = chance.choice(VICTIMS)
    if victim == "platform" and chance.random() < POINTS_SHARE:
        point = chance.choice(ROLLOUT_POINTS)
        site.arm(point)
        wait = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < wait and not site.fired(point):
            approve(site, len(site.state.rollouts.all()))
            time.sleep(0.05)
        fired = site.fired(point)
        (site.marks / point).touch()
        site.keep_up()
        return bool(fired)
    time.sleep(chance.uniform(0, WITHIN_SECONDS))
    if victim == "platform":
        site.process.kill()
        site.process.wait(60)
        site.keep_up()
        return True
    return bool(site.kill(victim if victim == "envoy" else f"v{challenger if victim == 'challenger' else champion}"))


def over(site: Any, number: int) -> bool:
    site.keep_up()
    state = site.wait_for(lambda: site.at(number) or site.champion())
    return not isinstance(state, int) and state.phase.ended


def waits_or_over(site: Any, number: int) -> bool:
    state = site.at(number)
    return state is not None and (state.phase.ended or state.phase is Phase.PAUSED)


def approve(site: Any, number: int) -> None:
    """The pause step has its approval as soon as it waits for it."""
    # The store goes with a platform that was just killed: asked again once it is up.
    state = site.wait_for(lambda: site.at(number) or site.champion()) if number else None
    if state is not None and not isinstance(state, int) and state.phase is Phase.PAUSED and state.step == 2:
        approved = {"approved": (2,), "approved_by": "a test"}
        site.wait_for(lambda: site.state.rollouts.ask(number, lambda asked: asked.model_copy(update=approved)))
