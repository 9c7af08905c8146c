"""The controller is killed at the instructions that matter, and another one ends in the right state."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.crash import CLUSTER_POINTS
from trimtab.adapters.kubernetes.kinds import ROLLOUT

Canary = Any
Witness = Any
STEPS = {"strategy": "canary", "steps": [{"pause": {}}, {"setWeight": 10, "minRequests": 20}], "maxDuration": "2h"}
SHARE_OF_TIME = 0.2  # of `make soak SECONDS=…`
PROGRAM = Path(__file__).with_name("lead.py")


class Controller:
    """Processes one after another, each started when the one before has died."""

    def __init__(self, canary: Canary, kubeconfig: Path, folder: Path, environ: dict[str, str]) -> None:
        self._canary = canary
        self._folder = folder
        self._ahead = folder / "ahead"
        self._log = folder / "controller.log"
        self._environ = {**os.environ, **environ, "KUBECONFIG": str(kubeconfig)}
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths = 0

    def tend(self) -> None:
        """See that one runs, with the clock as the test has it."""
        beside = self._folder / "ahead.new"
        beside.write_text(str(self._canary.offset.total_seconds()))
        beside.rename(self._ahead)
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            assert self._process.returncode == -signal.SIGKILL, self._log.read_text()
            self.deaths += 1
        words = [self._canary.namespace, "flights", self._canary.settings.state_bucket, str(self._ahead)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, str(PROGRAM), *words], env=self._environ, stderr=log)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        self.kill()
        self._process = None


@pytest.fixture
def lead(accounts: Any, tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[[Canary, str], Controller]]:
    """Starts controllers that die at that point, once."""
    made: list[Controller] = []

    def start(canary: Canary, point: str) -> Controller:
        marks = tmp_path / "marks"
        marks.mkdir()
        environ = {"TRIMTAB_CRASH_AT": point, "TRIMTAB_CRASH_MARKS": str(marks)}
        made.append(Controller(canary, accounts.kubeconfig("controller"), tmp_path, environ))
        return made[-1]

    yield start
    for controller in made:
        controller.end()


@pytest.fixture
def stored(make_canary: Callable[..., Canary], buckets: Any, state_bucket: str) -> Canary:
    """As `canary`, its state in a real store; the first step waits for approval."""
    canary: Canary = make_canary(STEPS, buckets, state_bucket)
    canary.rollouts = None  # other processes lead from here on
    return canary


@pytest.fixture(scope="module")
def began() -> float:
    return time.monotonic()


@pytest.fixture
def time_left(began: float) -> None:
    """Of `make soak SECONDS=…`."""
    if time.monotonic() - began > SHARE_OF_TIME * float(os.environ.get("TRIMTAB_SOAK_SECONDS") or "inf"):
        pytest.skip("no time is left of `make soak SECONDS=…`")


@pytest.mark.parametrize("point", CLUSTER_POINTS)
def test_killed_at_a_point_the_rollout_still_ends_as_it_should(
    stored: Canary, lead: Callable[[Canary, str], Controller], witness: Witness, point: str
) -> None:
    controller = lead(stored, point)

    def until(found: Callable[[], Any], what: str) -> None:
        stored.until(found, what, look=controller.tend)

    until(lambda: "waits for approval" in stored.status().get("reason", ""), "the pause step")
    stored.api.merge(ROLLOUT, stored.namespace, "flights-v2", {"spec": {"approved": True, "approvedBy": "anna"}})
    until(lambda: stored.answering() == {"v1": 90, "v2": 10}, "10 %")
    until(lambda: stored.at().epochs[-1].confirmed_from is not None, "the router's word")
    stored.send(400)
    until(lambda: stored.phase() == "Promoted", "the promotion")

    assert controller.deaths == 1
    assert (stored.champion(), stored.answering()) == (2, {"v2": 100})
    assert stored.state.rollouts.asked(1).approved == (0,)
    spec = stored.rollout()["spec"]
    assert (spec["approved"], spec.get("approvedBy")) == (False, None)
    assert len(stored.state.rollouts.all()) == 1
    stored.offset += timedelta(hours=2)
    until(lambda: stored.deployments() == ["flights-v2-0-model"], "the former champion's end")
    assert len(witness.templates["flights-v2-0-model"]) == 1
    told = [entry.id for entry in stored.state.journal.entries()]
    assert len(told) == len(set(told))


@pytest.mark.soak
@pytest.mark.skipif("TRIMTAB_SOAK_SECONDS" not in os.environ, reason="long: `make soak`")
@pytest.mark.parametrize("seed", range(30))
def test_killed_at_any_moment_the_rollout_still_ends_as_it_should(
    time_left: None, stored: Canary, lead: Callable[[Canary, str], Controller], witness: Witness, seed: int
) -> None:
    chance = random.Random(seed)
    controller = lead(stored, "")
    due = [time.monotonic() + chance.uniform(0.5, 12.0)]

    def look() -> None:
        controller.tend()
        if due and time.monotonic() > due[0]:
            due.clear()
            controller.kill()

    def until(found: Callable[[], Any], what: str) -> None:
        stored.until(found, f"{what} (seed {seed})", look=look)

    until(lambda: "waits for approval" in stored.status().get("reason", ""), "the pause step")
    stored.api.merge(ROLLOUT, stored.namespace, "flights-v2", {"spec": {"approved": True, "approvedBy": "anna"}})
    until(lambda: stored.answering() == {"v1": 90, "v2": 10}, "10 %")
    until(lambda: stored.at().epochs[-1].confirmed_from is not None, "the router's word")
    bad = chance.random() < 0.5
    stored.send(3000 if bad else 400, errors={2: 0.4} if bad else None)
    until(lambda: stored.phase() == ("RolledBack" if bad else "Promoted"), "the end")
    until(lambda: not due, "the kill")
    champion = 1 if bad else 2
    until(lambda: stored.answering() == {f"v{champion}": 100}, "the champion alone")
    assert stored.champion() == champion
    assert len(witness.templates[f"flights-v{champion}-0-model"]) == 1
    assert len(stored.state.rollouts.all()) == 1
    stored.offset += timedelta(hours=2)
    until(lambda: stored.deployments() == [f"flights-v{champion}-0-model"], "nobody else")
