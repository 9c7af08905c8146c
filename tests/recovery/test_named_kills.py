"""Killed at every named step of a run, one upload at a time: the same datasets, artifacts and aliases come out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from trimtab.adapters import crash

STORE_AWAY, STORE_AWAY_SECONDS = "store away", 30
PLATFORM_TOO = "platform too"
OF_THE_PLATFORM = ("after-decision", "after-claim", "after-submit")  # at the other points a step dies
# What happens during each upload's run.
DISTURBANCES = (
    [
        ("after-decision", "mid-fit"),
        ("after-claim", "after-artifact"),
        ("after-submit",),
        ("before-manifest",),
    ],
    [
        ("mid-fit", PLATFORM_TOO),
        (STORE_AWAY,),
        ("before-manifest", PLATFORM_TOO),
    ],
)


def test_every_named_point_has_its_turn() -> None:
    assert {each for half in DISTURBANCES for run in half for each in run} >= {*crash.POINTS, STORE_AWAY}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("disturbances", DISTURBANCES, ids=["alone", "with the platform or the store"])
def test_whatever_is_killed_wherever_the_same_models_come_out(
    make_site: Callable[[], Any], disturbances: list[tuple[str, ...]]
) -> None:
    calm, rough = make_site(), make_site()
    for number, disturbance in enumerate(disturbances):
        points = [each for each in disturbance if each in crash.POINTS]
        calm.upload(number)
        for point in points:
            rough.arm(point)
        rough.upload(number)
        if STORE_AWAY in disturbance:
            freeze_store(rough, number + 1)
        if PLATFORM_TOO in disturbance:
            rough.wait_for(lambda at=points[0]: rough.fired(at))
            rough.kill()
        rough.wait_for_outcome(number + 1)
        for point in points:
            assert rough.fired(point), f"nobody came to {point}"
        calm.wait_for_outcome(number + 1)

    assert rough.results() == calm.results()
    assert len({result.artifact for result in calm.results()}) == len(disturbances)
    assert calm.results()[-1].champion == len(disturbances)
    kills = [each for run in disturbances for each in run if each in (*OF_THE_PLATFORM, PLATFORM_TOO)]
    assert (calm.restarts, rough.restarts) == (0, len(kills))
    for site in (calm, rough):
        site.check_invariants()
        site.stop()
        assert site.orphans() == []


def freeze_store(site: Any, decision: int) -> None:
    """Let nobody reach the store for half a minute, from the moment at which the run has been submitted."""
    _, state = site.connect()
    site.wait_for(lambda: (claim := state.decisions.claim(decision)) and claim.state == "submitted")
    (store,) = [member for member in site.family() if "weed" in member.name()]
    store.send_signal(signal.SIGSTOP)
    try:
        time.sleep(STORE_AWAY_SECONDS)
    finally:
        store.send_signal(signal.SIGCONT)
