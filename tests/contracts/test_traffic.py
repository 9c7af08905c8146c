"""What every traffic split does: one suite for the one in memory and for Envoy with processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import pytest

from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Answer, Serving, ServingSeen, TrafficSplit

DEADLINE_SECONDS = 60.0


class Rig(Protocol):
    """A traffic split and the hand that steers its versions; a version gets ready only when it is told to."""

    @property
    def traffic(self) -> TrafficSplit: ...

    def make_ready(self, version: int) -> None: ...

    def break_down(self, version: int, why: str) -> None:
        """The version ends at each of its starts, and says why."""

    def crash(self, version: int) -> None:
        """End the version's process once, by force."""

    def send(self, requests: int, user: str = "") -> list[int]:
        """Ask for predictions; returns which versions answered, in order."""


class MemoryRig:
    def __init__(self) -> None:
        self.traffic = MemoryTraffic(ready_at_once=False)

    def make_ready(self, version: int) -> None:
        self.traffic.make_ready(version)

    def break_down(self, version: int, why: str) -> None:
        self.traffic.fail(version, why)

    def crash(self, version: int) -> None:
        self.traffic.crash(version)

    def send(self, requests: int, user: str = "") -> list[int]:
        answers = self.traffic.send(requests, at=time.time(), users=[user] if user else ())
        champion = self.traffic.routes[-1].champion
        return [champion if answer.failed else answer.version for answer in answers]


@pytest.fixture(params=["memory", "envoy"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return MemoryRig() if request.param == "memory" else request.getfixturevalue("stand_ins")


def until(rig: Rig, serving: Serving, true: Callable[[ServingSeen], bool]) -> ServingSeen:
    """Want it again and again, as a controller does, until what is seen is as it should be."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        rig.traffic.want(serving)
        seen = rig.traffic.seen()
        if true(seen):
            return seen
        assert time.monotonic() < deadline, f"never came: {seen}"
        time.sleep(0.01)


def until_routed(rig: Rig, serving: Serving) -> ServingSeen:
    def routed(seen: ServingSeen) -> bool:
        route = seen.route
        return route is not None and (
            (route.champion, route.challenger, route.weight_percent, route.shadow, route.sticky_header)
            == (serving.champion, serving.challenger, serving.weight_percent, serving.shadow, serving.sticky_header)
        )

    return until(rig, serving, routed)


def measured(rig: Rig, position: str, count: int) -> tuple[list[Answer], str]:
    """That many answers from the position on, as soon as the log holds them."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    found: list[Answer] = []
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} answers in the log"
        more, position = rig.traffic.answers(position)
        found += more
    return found, position


def test_nothing_serves_before_anything_is_wanted(rig: Rig) -> None:
    assert rig.traffic.seen() == ServingSeen(route=None, ready=frozenset(), failing={}, restarts={})


def test_no_route_leads_to_a_champion_that_is_not_ready(rig: Rig) -> None:
    one = Serving(champion=1)
    rig.traffic.want(one)
    assert rig.traffic.seen().route is None
    rig.make_ready(1)
    seen = until_routed(rig, one)
    assert seen.ready == {1}
    assert seen.route is not None
    assert seen.route.versions == (1,)
    assert rig.send(5) == [1] * 5


def test_a_challenger_gets_its_weight_only_once_it_is_ready(rig: Rig) -> None:
    rig.traffic.want(Serving(champion=1))
    rig.make_ready(1)
    until_routed(rig, Serving(champion=1))
    half = Serving(champion=1, challenger=2, weight_percent=50)
    rig.traffic.want(half)
    route = rig.traffic.seen().route
    assert route is not None
    assert route.weight_percent == 0
    rig.make_ready(2)
    until_routed(rig, half)
    assert set(rig.send(60)) == {1, 2}


def test_wanting_the_same_again_changes_nothing(rig: Rig) -> None:
    one = Serving(champion=1)
    rig.traffic.want(one)
    rig.make_ready(1)
    before = until_routed(rig, one)
    for _ in range(5):
        rig.traffic.want(one)
    assert rig.traffic.seen() == before


def test_a_new_champion_takes_over_once_it_is_ready_and_the_former_one_ends(rig: Rig) -> None:
    rig.traffic.want(Serving(champion=1))
    rig.make_ready(1)
    until_routed(rig, Serving(champion=1))
    two = Serving(champion=2)
    rig.traffic.want(two)
    assert rig.send(3) == [1] * 3
    rig.make_ready(2)
    until_routed(rig, two)
    assert rig.send(3) == [2] * 3
    assert until(rig, two, lambda seen: 1 not in seen.ready).ready == {2}


def test_a_version_that_is_kept_goes_on_running_without_traffic(rig: Rig) -> None:
    both = Serving(champion=2, versions=(1,))
    rig.traffic.want(both)
    rig.make_ready(1)
    rig.make_ready(2)
    until(rig, both, lambda seen: seen.ready == {1, 2})
    assert until_routed(rig, both).ready == {1, 2}
    assert rig.send(10) == [2] * 10
    # The way back takes no start.
    until_routed(rig, Serving(champion=1, versions=(2,)))
    assert rig.send(10) == [1] * 10


def test_a_version_that_does_not_start_says_why_and_gets_no_traffic(rig: Rig) -> None:
    rig.traffic.want(Serving(champion=1))
    rig.make_ready(1)
    until_routed(rig, Serving(champion=1))
    rig.break_down(2, "no module named planes")
    half = Serving(champion=1, challenger=2, weight_percent=50)
    seen = until(rig, half, lambda seen: 2 in seen.failing)
    assert "no module named planes" in seen.failing[2]
    assert seen.route is not None
    assert seen.route.weight_percent == 0
    assert rig.send(5) == [1] * 5


def test_the_champion_answers_for_a_challenger_that_crashed_and_the_failure_is_the_challengers(rig: Rig) -> None:
    half = Serving(champion=1, challenger=2, weight_percent=50)
    rig.traffic.want(half)
    rig.make_ready(1)
    rig.make_ready(2)
    until_routed(rig, half)
    _, position = rig.traffic.answers("")
    rig.break_down(2, "out of memory")
    rig.crash(2)
    until(rig, half, lambda seen: seen.restarts.get(2, 0) >= 1 and 2 not in seen.ready)
    assert rig.send(40) == [1] * 40
    answers, _ = measured(rig, position, 40)
    assert {answer.version for answer in answers} == {1, 2}
    assert all(answer.failed == (answer.version == 2) for answer in answers)
    # Its share rises no further before it is back.
    rig.traffic.want(Serving(champion=1, challenger=2, weight_percent=90))
    route = rig.traffic.seen().route
    assert route is not None
    assert route.weight_percent == 50


def test_a_lower_weight_needs_nobody_ready(rig: Rig) -> None:
    half = Serving(champion=1, challenger=2, weight_percent=50)
    rig.traffic.want(half)
    rig.make_ready(1)
    rig.make_ready(2)
    until_routed(rig, half)
    rig.break_down(2, "out of memory")
    rig.crash(2)
    until_routed(rig, Serving(champion=1))
    assert rig.send(10) == [1] * 10


def test_a_user_keeps_the_variant_and_a_higher_weight_only_adds_users(rig: Rig) -> None:
    def challenged(weight: int) -> set[str]:
        until_routed(rig, Serving(champion=1, challenger=2, weight_percent=weight, sticky_header="x-entity-id"))
        found = {f"user-{number}": set(rig.send(2, user=f"user-{number}")) for number in range(60)}
        assert all(len(versions) == 1 for versions in found.values())
        return {user for user, versions in found.items() if versions == {2}}

    rig.traffic.want(Serving(champion=1, challenger=2))
    rig.make_ready(1)
    rig.make_ready(2)
    some, more = challenged(25), challenged(60)
    assert 0 < len(some) < len(more) < 60
    assert some < more


def test_a_shadow_answers_nobody(rig: Rig) -> None:
    shadow = Serving(champion=1, challenger=2, shadow=True)
    rig.traffic.want(shadow)
    rig.make_ready(1)
    rig.make_ready(2)
    until_routed(rig, shadow)
    assert rig.send(20) == [1] * 20


def test_answers_are_read_by_position_once_and_alike_each_time(rig: Rig) -> None:
    one = Serving(champion=1)
    rig.traffic.want(one)
    rig.make_ready(1)
    until_routed(rig, one)
    rig.send(3)
    nothing, position = rig.traffic.answers("")
    assert nothing == []  # from now on
    begun = time.time()
    rig.send(7)
    answers, after = measured(rig, position, 7)
    assert len(answers) == 7
    assert all(answer.version == 1 and not answer.failed and 0 < answer.seconds < 30 for answer in answers)
    assert all(begun - 1 < answer.at < time.time() + 1 for answer in answers)
    assert len({answer.request_id for answer in answers}) == 7
    assert rig.traffic.answers(after) == ([], after)
    assert rig.traffic.answers(position) == (answers, after)
    first, middle = rig.traffic.answers(position, limit=3)
    assert first == answers[:3]
    assert rig.traffic.answers(middle)[0] == answers[3:]


@pytest.mark.parametrize(
    "wrong",
    [
        Serving(champion=1, weight_percent=5),
        Serving(champion=1, shadow=True),
        Serving(champion=1, challenger=1, weight_percent=5),
        Serving(champion=1, challenger=2, weight_percent=101),
        Serving(champion=1, challenger=2, weight_percent=5, shadow=True),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(rig: Rig, wrong: Serving) -> None:
    with pytest.raises(Invalid, match="hint: "):
        rig.traffic.want(wrong)
    assert rig.traffic.seen().route is None


def test_the_one_in_memory_can_be_out_of_reach() -> None:
    traffic = MemoryTraffic()
    traffic.unreachable = "the router does not answer"
    with pytest.raises(Unavailable, match="does not answer"):
        traffic.seen()
    traffic.unreachable = ""
    traffic.want(Serving(champion=1))
    assert traffic.seen().ready == {1}
