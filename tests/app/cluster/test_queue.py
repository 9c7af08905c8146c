"""The queue of what is to be looked at."""

from __future__ import annotations

import threading

import pytest

from trimtab.app.cluster.queue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock)


def test_what_is_added_twice_is_looked_at_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    assert len(queue) == 0


def test_what_is_added_during_its_look_is_looked_at_again_and_never_by_two_at_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("b")
    assert queue.take() == "a"
    queue.add("a")
    assert queue.take() == "b"
    queue.done("a")
    assert queue.take() == "a"


def test_sooner_wins_over_later(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 60.0)
    queue.add("b", 1.0)
    queue.add("a", 0.5)
    clock.now = 1.0
    assert [queue.take(), queue.take()] == ["a", "b"]
    queue.done("a")
    queue.done("b")
    assert len(queue) == 0


def test_each_failure_in_a_row_waits_longer_and_success_forgets_them(queue: WorkQueue[str], clock: Clock) -> None:
    pauses = []
    for _ in range(9):
        queue.add("a")
        clock.now += 100.0
        assert queue.take() == "a"
        pauses.append(queue.failed("a"))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    clock.now += 100.0
    assert queue.take() == "a"
    queue.done("a", 1.0)
    clock.now += 1.0
    assert queue.take() == "a"
    assert queue.failed("a") == 0.5


def test_a_closed_queue_sends_those_who_wait_home(queue: WorkQueue[str]) -> None:
    found: list[str | None] = ["not yet"]
    thread = threading.Thread(target=lambda: found.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(20)
    assert found[-1] is None


def test_many_threads_look_at_every_key_and_never_at_one_twice_at_once() -> None:
    queue: WorkQueue[int] = WorkQueue()
    looked: dict[int, int] = dict.fromkeys(range(40), 0)
    busy: set[int] = set()
    lock, finished, clashes = threading.Lock(), threading.Event(), []

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                if key in busy:
                    clashes.append(key)
                busy.add(key)
            with lock:
                busy.discard(key)
                looked[key] += 1
                if min(looked.values()) >= 5:
                    finished.set()
            queue.done(key, 0.001)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for key in looked:
        queue.add(key)
    for thread in threads:
        thread.start()
    assert finished.wait(60)
    queue.close()
    for thread in threads:
        thread.join(20)
    assert clashes == []
