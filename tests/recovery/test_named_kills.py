"""Killed at every named step of a run, one upload at a time: the same datasets, artifacts and aliases come out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from trimtab.adapters import crash

STORE_AWAY_SECONDS = 30


@pytest.mark.timeout(1500)
def test_whatever_is_killed_wherever_the_same_models_come_out(make_site: Callable[[], Any]) -> None:
    calm, rough = make_site(), make_site()
    uploads = [*crash.POINTS, "store away"]
    for number, disturbance in enumerate(uploads):
        calm.upload(number)
        if disturbance in crash.POINTS:
            rough.arm(disturbance)
        rough.upload(number)
        if disturbance == "store away":
            freeze_store(rough, number + 1)
        rough.wait_for_outcome(number + 1)
        assert disturbance not in crash.POINTS or rough.fired(disturbance), f"nobody came to {disturbance}"
        calm.wait_for_outcome(number + 1)

    assert rough.results() == calm.results()
    assert len({result.artifact for result in calm.results()}) > 1
    assert calm.results()[-1].champion is not None
    assert (calm.restarts, rough.restarts) == (0, 3)  # the first three points are the platform's own
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
