"""Killed between any two writes, or with the store or the router away: the next look goes on, and nothing is undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.core.errors import Fenced, Unavailable
from trimtab.core.ports import Serving
from trimtab.core.rollout.values import Phase

Rig = Any
WRITES = ("create", "replace")


class Killed(BaseException):
    """The process ended here."""


def kill_at(rig: Rig, number: int) -> list[int]:
    """Die at the write with this number, counted from now; the list counts."""
    count = [0]

    def fail(operation: str, key: str, done: bool) -> None:
        if operation in WRITES and done:
            count[0] += 1
            if count[0] == number:
                raise Killed

    rig.buckets.fail = fail
    return count


def whole_way(rig: Rig) -> list[tuple[int, int | None, int]]:
    """From proposal to promotion; every route that the router had."""
    rig.look(2)
    rig.send(400)
    rig.send(300)
    rig.look(3)
    return [(route.champion, route.challenger, route.weight_percent) for route in rig.traffic.routes]


def test_killed_at_every_write_in_turn_it_ends_the_same(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trimtab.adapters.memory import MemoryBuckets

    def fresh() -> Rig:
        rig = make_rig()
        rig.buckets = MemoryBuckets()
        rig.start()
        rig.register()
        rig.look()
        rig.register("challenger")
        return rig

    calm = fresh()
    counted = kill_at(calm, 10_000)
    routes = whole_way(calm)
    assert routes == [(1, None, 0), (1, 2, 10), (1, 2, 50), (2, None, 0)]
    writes = counted[0]
    assert writes > 12

    for number in range(1, writes + 1):
        rig = fresh()
        kill_at(rig, number)
        try:
            whole_way(rig)
        except Killed:
            rig.buckets.fail = None
            rig.start()
            rig.look()
            for _ in range(12):
                if rig.at().phase.ended:
                    break
                rig.send(300)
        rig.look(2)
        assert rig.at().phase is Phase.PROMOTED, f"killed at write {number}"
        assert rig.aliases() == (2, None)
        assert [(r.champion, r.challenger, r.weight_percent) for r in rig.traffic.routes] == routes
        assert len(rig.specs()) == 1
        told = [entry.id for entry in rig.told()]
        assert len(told) == len(set(told))
        splits = [entry.evidence["weightPercent"] for entry in rig.told("rollout") if "/split/" in entry.id]
        assert splits == [10, 50, 100]


def test_after_a_restart_of_everything_the_weights_equal_the_journal(rig: Rig) -> None:
    rig.look(2)
    rig.send(400)
    rig.look()
    rig.traffic.restart()
    rig.start()
    rig.look(3, seconds=1)

    assert rig.route() == (1, 2, 50)
    last = [entry for entry in rig.told("rollout") if "/split/" in entry.id][-1]
    assert last.evidence["weightPercent"] == 50


def test_after_a_restart_the_champion_alone_answers_until_the_challenger_is_ready(rig: Rig) -> None:
    rig.look(2)
    rig.traffic.restart()
    rig.traffic.ready_at_once = False
    rig.start()
    rig.look()
    rig.traffic.make_ready(1)
    rig.look(seconds=1)
    assert rig.route() == (1, None, 0)
    before = rig.requests()
    rig.traffic.send(50, at=rig.now.timestamp())
    rig.look(seconds=5)
    assert rig.requests() == before

    rig.traffic.make_ready(2)
    rig.look(2, seconds=1)

    assert rig.route() == (1, 2, 10)
    first, second = rig.at().epochs
    assert first.confirmed_to is not None
    assert second.confirmed_from > first.confirmed_to


def test_a_challenger_that_dies_before_its_promotion_is_confirmed_is_rolled_back(rig: Rig) -> None:
    rig.look(2)
    rig.send(400)
    rig.look(2)
    rig.traffic.stalled = True  # an operator that is down, or waits for every pod
    rig.send(300)
    rig.look()
    assert (rig.at().weight_percent, rig.route()) == (100, (1, 2, 50))
    rig.traffic.fail(2, "CrashLoopBackOff")
    rig.look(24, seconds=5)
    assert rig.at().phase is Phase.CANARY
    rig.look(2, seconds=5)

    assert rig.at().phase is Phase.ROLLED_BACK
    assert "nothing of v2 has answered for 2m" in rig.at().reason
    rig.traffic.stalled = False
    rig.look(2, seconds=1)
    assert rig.route() == (1, None, 0)
    assert rig.aliases() == (1, None)


def test_a_challenger_that_is_back_soon_is_promoted_after_all(rig: Rig) -> None:
    rig.look(2)
    rig.send(400)
    rig.look(2)
    rig.traffic.stalled = True
    rig.send(300)
    rig.look()
    rig.traffic.fail(2, "its node is drained")
    rig.look(20, seconds=5)
    rig.traffic.make_ready(2)
    rig.look(10, seconds=5)
    rig.traffic.stalled = False
    rig.look(3, seconds=1)

    assert rig.aliases() == (2, None)


def test_a_split_that_somebody_puts_back_again_and_again_is_kept_and_told_once(rig: Rig) -> None:
    rig.look(3)
    for _ in range(200):
        rig.traffic.routes.append(Serving(1))
        rig.traffic.stalled = True
        rig.look(seconds=5)
        rig.traffic.stalled = False
        rig.look()
    assert len(rig.at().epochs) == 2
    assert len(rig.told("rollout")) <= 4
    before = rig.requests()
    rig.send(400)  # half of a minute later it is still measured
    assert rig.requests() > before


def test_no_answer_counts_twice_and_none_is_left_out_by_a_restart(rig: Rig) -> None:
    rig.look(2)
    rig.now += timedelta(seconds=5)
    rig.traffic.send(60, at=rig.now.timestamp())
    rig.look(seconds=5)
    counted = rig.requests()
    rig.start()  # what was measured and not written is measured again
    rig.look(seconds=5)
    rig.start()
    rig.look(seconds=5)

    sent = sum(answer.version == 2 for answer in rig.traffic.answers("0")[0])
    assert rig.requests() == sent
    assert counted in (0, sent)


def test_a_store_that_is_away_leaves_the_traffic_as_it_is(rig: Rig) -> None:
    rig.look(2)
    rig.send(100)

    def down(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store did not answer", "")

    rig.buckets.fail = down
    for _ in range(100):
        rig.now += timedelta(seconds=3)
        rig.traffic.send(10, at=rig.now.timestamp(), error_ratio={2: 0.5})
        with pytest.raises(Unavailable):
            rig.leader.look()
    assert rig.route() == (1, 2, 10)
    rig.buckets.fail = None
    rig.look(seconds=5)

    assert rig.at().phase is Phase.ROLLED_BACK, "what was answered meanwhile counts"
    assert rig.route() == (1, None, 0)


def test_a_router_that_cannot_be_steered_is_an_error_that_passes_and_rolls_nothing_back(rig: Rig) -> None:
    rig.look(2)
    rig.traffic.unreachable = "the router's socket is gone"
    for _ in range(3):
        with pytest.raises(Unavailable, match="socket is gone"):
            rig.leader.look()
    state = rig.at()
    assert (state.phase, state.reason, state.weight_percent) == (Phase.ERROR, "the router's socket is gone", 10)
    assert [entry.summary for entry in rig.told("rollout")][-1] == "flights-v2: Error: the router's socket is gone"

    rig.traffic.unreachable = ""
    rig.look()
    assert rig.at().phase is Phase.CANARY
    rig.send(400)
    rig.look()

    assert rig.route() == (1, 2, 50)


def test_a_router_that_does_not_confirm_makes_no_step_begin(rig: Rig) -> None:
    rig.look()
    rig.traffic.stalled = True
    rig.look(5, seconds=60)
    assert rig.at().step_started is None
    assert rig.leader.unsettled
    rig.traffic.stalled = False
    rig.look(2)

    assert rig.at().step_started is not None
    assert not rig.leader.unsettled


def test_a_leader_that_was_replaced_writes_nothing_more(rig: Rig) -> None:
    rig.look(2)
    rig.traffic.send(400, at=rig.now.timestamp() + 3)
    old = rig.leader
    rig.start()
    rig.now += timedelta(seconds=10)
    rig.look()

    rig.traffic.stalled = True
    with pytest.raises(Fenced, match="epoch 2"):
        old.look()
    assert rig.traffic.wanted.challenger == 2, "it asked nothing more of the router"
