"""
Kills at random instants, seeded: `make soak`, or `make soak SECONDS=480` for as many as fit.

`TRIMTAB_SOAK_SEED` repeats a run; the seed is printed first.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from trimtab.adapters.requests import Requests
from trimtab.core.errors import TrimtabError
from trimtab.core.observation import answered

INSTANTS = 30
VICTIMS = ("platform", "run", "step", "store")
WITHIN_SECONDS = 12.0  # of an upload: a run of seven steps takes about nine
UPLOADS_AT_ONCE = 3
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("TRIMTAB_SOAK_SECONDS" not in os.environ, reason="long: `make soak`"),
]


def limit_seconds() -> float:
    """What `make soak SECONDS=…` allows; without it, all instants."""
    return float(os.environ.get("TRIMTAB_SOAK_SECONDS") or "inf")


@pytest.fixture
def chance(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = int(os.environ.get("TRIMTAB_SOAK_SEED") or time.time())
    with capsys.disabled():
        print(f"\nseed {seed} (TRIMTAB_SOAK_SEED={seed} repeats it)", flush=True)
    return random.Random(seed)


def test_one_upload_at_a_time_killed_at_random_instants_gives_the_same_models(
    make_site: Callable[[], Any], chance: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    deadline = time.monotonic() + 0.5 * limit_seconds()
    calm, rough = make_site(), make_site()
    done = kills = 0
    while done < INSTANTS and time.monotonic() < deadline:
        victim, instant = chance.choice(VICTIMS), chance.uniform(0, WITHIN_SECONDS)
        for site in (calm, rough):
            site.upload(done)
        time.sleep(instant)
        killed = kill(rough, victim)
        done += 1
        kills += bool(killed)
        with capsys.disabled():
            print(f"  upload {done}: {victim} at {instant:.2f} s: {killed or 'nothing to kill'}", flush=True)
        rough.wait_for_outcome(done)
        calm.wait_for_outcome(done)
        assert rough.results() == calm.results()
    finish(calm, rough)
    with capsys.disabled():
        print(
            f"{kills} kills in {done} uploads, {rough.restarts} restarts of the platform: the same models", flush=True
        )
    assert done > 0


def test_uploads_arriving_freely_while_things_are_killed_keep_the_invariants(
    make_site: Callable[[], Any], chance: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    deadline = time.monotonic() + 0.3 * limit_seconds()
    site, uploads, kills = make_site(), 0, 0
    for number in range(1, INSTANTS + 1):
        if time.monotonic() > deadline:
            break
        for _ in range(chance.randint(0, UPLOADS_AT_ONCE)):
            site.keep_up()
            site.upload(uploads)
            uploads += 1
        time.sleep(chance.uniform(0, WITHIN_SECONDS / 2))
        victim = chance.choice(VICTIMS)
        killed = kill(site, victim)
        kills += bool(killed)
        with capsys.disabled():
            print(f"  instant {number}, {uploads} uploads: {victim}: {killed or 'nothing to kill'}", flush=True)
        site.keep_up()
    # The last word is an upload in peace and a run that somebody asks for: a decision that was killed three times has
    # failed, and only a person's own request does not wait for the end of its back-off.
    site.upload(uploads)
    asked = []

    def quiet() -> bool:
        site.keep_up()
        with suppress(TrimtabError):
            _, state = site.connect()
            decisions = state.decisions.all()
            if not asked and len(state.ledger.outcomes()) == uploads + 1:
                asked.append(Requests(state).ask("cli").id)
            offered = {entry for decision in decisions for entry in decision.entries}
            ended = len(state.decisions.outcomes()) == len(decisions)
            # What was asked for has its decision: else that one begins just after all of this was found quiet.
            return ended and bool(asked) and set(asked) <= answered(decisions) and len(offered) == uploads + 1
        return False

    site.wait_for(quiet)
    finish(site)
    with capsys.disabled():
        print(
            f"{kills} kills, {uploads + 1} uploads, {site.restarts} restarts: nothing lost, nothing twice", flush=True
        )


def kill(site: Any, victim: str) -> str:
    """kill -9 of the victim, if there is one just now; returns what it was."""
    if victim == "platform":
        site.kill()
        return "up"
    family = [member for member in site.family() if is_victim(member, victim)]
    if not family:
        return ""
    with suppress(psutil.NoSuchProcess):
        family[0].kill()
        return f"{victim} {family[0].pid}"
    return ""


def is_victim(process: psutil.Process, victim: str) -> bool:
    marks = {"run": "trimtab.adapters.kfp_child", "step": "trimtab.adapters.kfp_warm", "store": "weed"}
    try:
        return marks[victim] in " ".join(process.cmdline())
    except psutil.Error:
        return False


def finish(*sites: Any) -> None:
    for site in sites:
        site.check_invariants()
        site.stop()
        assert site.orphans() == []
