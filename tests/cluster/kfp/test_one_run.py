"""One decision, launched by six at once while answers come late or not at all: one run and one Workflow, every time."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.adapters.kfp_api import PATIENCE, KfpLauncher
from trimtab.adapters.kfp_posting import Postings
from trimtab.adapters.kfp_request import experiment
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.execution import Executor, run_id_of
from trimtab.core.errors import Fenced, Unavailable
from trimtab.core.ports import RunRequest
from trimtab.core.records import Decision

LAUNCHERS, ROUNDS, CLAIMED = 6, 200, 40
ANSWER = 0.25  # seconds that a launcher waits for an answer
FAULTS = (
    [],
    [{"kind": "late", "seconds": 0.4}],
    [{"kind": "slow", "seconds": 0.3}],
    [{"kind": "lost-before"}],
    [{"kind": "lost-after"}],
    [{"kind": "500-before"}],
    [{"kind": "500-after"}],
    [{"kind": "lost-before"}, {"kind": "500-after"}],
    [{"kind": "500-before"}, {"kind": "slow", "seconds": 0.3}],
)
SEED = 20260131


class Time:
    """
    A minute passes when nothing else is left to happen: every launcher waits, and no request is on its way.

    So what counts is the order of things, and not how fast this machine is.
    """

    def __init__(self, stub) -> None:
        self._stub = stub
        self._bell = threading.Condition()
        self._working, self._waiting, self._minutes = 0, 0, 0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=61 * self._minutes)

    def begin(self, launchers: int) -> None:
        self._working, self._waiting = launchers, 0

    def wait(self) -> None:
        """A launcher can do nothing just now."""
        with self._bell:
            self._waiting += 1
            if not self._pass():
                minute = self._minutes
                assert self._bell.wait_for(lambda: self._minutes > minute, 60)

    def leave(self) -> None:
        """A launcher is done."""
        with self._bell:
            self._working -= 1
            self._pass()

    def _pass(self) -> bool:
        if self._waiting < self._working or not self._working:
            return False
        while self._stub.steer("counts")["making"]:
            time.sleep(0.01)
        self._minutes, self._waiting = self._minutes + 1, 0
        self._bell.notify_all()
        return True


@dataclass
class Rig:
    """Six launchers of their own on one stub and one state."""

    stub: Any
    time: Time
    buckets: MemoryBuckets
    launchers: list[KfpLauncher]

    def at_once(self, work: Callable[[int], None]) -> None:
        """Six threads that begin in the same moment; what one raises is raised here."""
        barrier, errors = threading.Barrier(LAUNCHERS), []
        self.time.begin(LAUNCHERS)

        def begin(number: int) -> None:
            barrier.wait()
            try:
                work(number)
            except BaseException as error:
                errors.append(error)
            finally:
                self.time.leave()

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(LAUNCHERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def until_launched(self, launcher: KfpLauncher, request: RunRequest) -> None:
        """As a controller goes on: whatever cannot be said now is asked again."""
        for _ in range(20):
            try:
                launcher.launch(request)
                return
            except Unavailable:
                self.time.wait()
        raise AssertionError("not launched in 20 minutes")


@pytest.fixture
def rig(start_stub, make_kfp, monkeypatch) -> Rig:
    monkeypatch.setattr("trimtab.adapters.kfp_api.LOOK_SECONDS", 0.02)
    stub, buckets = start_stub(), MemoryBuckets()
    clock, launchers = Time(stub), []
    for _ in range(LAUNCHERS):
        kfp = make_kfp(stub, buckets, settle_seconds=0.1)
        kfp.postings = Postings(buckets, clock.now, PATIENCE)
        launcher = KfpLauncher(kfp, "shop", "bikes")
        experiment(kfp, "shop", "bikes")  # once, so that all that is disturbed is the run
        assert kfp.pipeline
        kfp.service._timeout = (3.0, ANSWER)
        launchers.append(launcher)
    return Rig(stub, clock, buckets, launchers)


@pytest.mark.timeout(1200)  # 200 rounds: more than five minutes on a busy machine
def test_six_launchers_that_all_hold_the_decision_make_one_run_and_one_workflow(rig):
    dice = random.Random(SEED)
    for number in range(ROUNDS):
        faults = dice.choice(FAULTS)
        rig.stub.steer("faults", faults=faults)
        run_id = str(uuid.UUID(int=dice.getrandbits(128)))
        request = RunRequest(run_id, "bikes", "s3://state/shop/x.yaml", "s3://state/shop", (), "upload", f"k{number}")
        rig.at_once(lambda i, request=request: rig.until_launched(rig.launchers[i], request))
        assert len(rig.stub.workflows(run_id)) == 1, (number, faults)
        status, _ = rig.stub("GET", f"/runs/{run_id}")
        assert status == (404 if {"kind": "500-after"} in faults else 200), (number, faults)
    counts = rig.stub.steer("counts")
    assert (len(counts["workflows"]), set(counts["workflows"].values())) == (ROUNDS, {1})


def decision(number: int) -> Decision:
    now = datetime.now(UTC)
    return Decision(
        number=number,
        reason="schedule",
        entries=(),
        dataset="d",
        training_digest="t",
        spec="s",
        run_key=f"key-{number}",
        evidence={},
        decided_at=now,
        recorded_at=now,
    )


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def test_six_controllers_that_claim_one_decision_make_one_run_and_one_workflow(rig):
    """Here the leases of claims end a hundred times too soon: each takes it while another's request is on its way."""
    dice, start = random.Random(SEED + 1), time.monotonic()
    state = State.open(rig.buckets, "s3://state/shop", "bikes")

    def hasty() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=100 * (time.monotonic() - start))

    def unknown(entry: str):
        raise AssertionError(entry)

    def until_submitted(number: int, made: Decision) -> None:
        executor = Executor(state, rig.launchers[number], WallClock(), hasty, f"controller-{number}", unknown)
        for _ in range(1000):
            try:
                executor.advance(made)
                held = state.decisions.claim(made.number)
                if held is not None and held.state == "submitted":
                    return
                time.sleep(0.02)  # another holds the claim
            except Unavailable:
                rig.time.wait()
            except Fenced:
                continue  # another has taken the claim
        raise AssertionError("not submitted")

    for number in range(1, CLAIMED + 1):
        rig.stub.steer("faults", faults=dice.choice(FAULTS))
        made = decision(number)
        state.decisions.propose(made)
        rig.at_once(lambda i, made=made: until_submitted(i, made))
        assert len(rig.stub.workflows(run_id_of(made.run_key)(1))) == 1
    counts = rig.stub.steer("counts")
    assert (len(counts["workflows"]), set(counts["workflows"].values())) == (CLAIMED, {1})
