"""The thread beside the worker: it acts while the lease is held, is woken by whoever asks, and says what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from trimtab.adapters.environment import Environment
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.app.loop import Loop
from trimtab.app.rollout import worker
from trimtab.core.errors import Conflict, Unavailable

Rig = Any


class NoRuns:
    """A launcher that nobody asks for a run."""

    def look_up(self, run_id: str) -> None:
        return None

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        return []


def wait_for(look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def make_loop(buckets: MemoryBuckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Loop]]:
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    loops: list[Loop] = []

    def make(rig: Rig, **more: Any) -> Loop:
        environment = Environment(state_bucket="state", token="t0ken")
        text = rig.model.model_dump_json(by_alias=True, exclude_defaults=True)
        loop = Loop(rig.model, text, environment, buckets, NoRuns(), traffic=rig.traffic, listing_seconds=60, **more)  # type: ignore[arg-type]
        loops.append(loop)
        loop.start()
        return loop

    yield make
    for loop in loops:
        loop.stop()


@pytest.fixture
def registered(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(now=datetime.now(UTC))
    rig.register()
    rig.register("challenger")
    return rig


def test_a_challenger_is_led_to_its_first_weight_and_shown(registered: Rig, make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(registered)
    wait_for(lambda: registered.route() == (1, 2, 10))
    shown = wait_for(lambda: (found := loop.snapshot().rollout) and found.phase == "Canary" and found)

    assert (shown.name, shown.weight_percent, shown.step, shown.steps) == ("flights-v2", 10, 1, 2)
    assert loop.status_json()["rollout"]["weight_percent"] == 10


def test_who_asks_is_heard_at_once(
    registered: Rig, make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LEADING_SECONDS", 300.0)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 300.0)
    loop = make_loop(registered)
    loop.wake_rollouts()
    wait_for(lambda: loop.wake_rollouts() or registered.route() == (1, 2, 10))
    registered.state.rollouts.ask(1, lambda asked: asked.model_copy(update={"aborted": True}))

    address = f"http://127.0.0.1:{loop.port}/v1/models/flights/rollout"
    assert httpx.post(address, trust_env=False).status_code == 401
    answer = httpx.post(address, headers={"Authorization": "Bearer t0ken"}, trust_env=False)

    assert answer.status_code == 202
    wait_for(lambda: registered.route() == (1, None, 0))


def test_what_fails_is_told_once_and_so_is_that_it_works_again(
    registered: Rig, make_loop: Callable[..., Loop], buckets: MemoryBuckets
) -> None:
    said: list[str] = []
    loop = make_loop(registered, tell=said.append)
    wait_for(lambda: registered.route() == (1, 2, 10))
    registered.traffic.unreachable = "the router's socket is gone"
    wait_for(lambda: any("socket is gone" in problem for problem in loop.snapshot().problems))
    wait_for(lambda: registered.state.rollouts.state(1).phase == "Error")
    registered.traffic.unreachable = ""
    wait_for(lambda: not any("socket is gone" in problem for problem in loop.snapshot().problems))

    assert [line for line in said if line.startswith("rollouts: ")] == [
        "rollouts: the router's socket is gone; trying again; the traffic stays as it is",
        "rollouts: it works again",
    ]
    assert registered.state.rollouts.state(1).weight_percent == 10


def test_without_the_lease_nothing_is_asked_of_the_router(registered: Rig, make_loop: Callable[..., Loop]) -> None:
    make_loop(registered, owner="first")
    wait_for(lambda: registered.route() == (1, 2, 10))
    idle = MemoryTraffic()
    first, registered.traffic = registered.traffic, idle
    second = make_loop(registered, owner="second")
    wait_for(lambda: second.snapshot().held.reason.startswith("standing by"))
    second.wake_rollouts()
    time.sleep(0.2)

    assert idle.wanted is None
    assert first.wanted is not None


def test_a_store_that_is_away_is_waited_for(
    registered: Rig, make_loop: Callable[..., Loop], buckets: MemoryBuckets
) -> None:
    loop = make_loop(registered)
    wait_for(lambda: registered.route() == (1, 2, 10))

    def down(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store did not answer", "")

    buckets.fail = down
    loop.wake_rollouts()
    wait_for(lambda: any("did not answer" in problem for problem in loop.snapshot().problems))
    assert registered.route() == (1, 2, 10)
    buckets.fail = None
    registered.publish(champion=2)
    wait_for(lambda: registered.route() == (2, None, 0))


def test_conflicts_that_do_not_end_are_told_as_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "UNSETTLED_SECONDS", 0.0)

    class Refused:
        looks = 0
        unsettled = False
        problems = ()

        def forget(self, epoch: int) -> None:
            pass

        def look(self) -> bool:
            self.looks += 1
            if self.looks <= 2 * worker.CONFLICTS:
                raise Conflict("rollout 1 of flights changed while it was being decided on")
            return False

    class Held:
        epoch = 1

    monkeypatch.setattr(worker, "RETRY_SECONDS", (0.0,))
    told: list[str] = []
    thread = worker.RolloutWorker(Refused(), Held(), told.append)  # type: ignore[arg-type]
    thread.start()
    try:
        wait_for(lambda: len(told) == 2)
    finally:
        thread.stop()
    assert "changed while it was being decided on" in told[0]
    assert told[1] == "rollouts: it works again"
