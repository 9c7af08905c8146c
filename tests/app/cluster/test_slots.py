"""How many runs of a namespace may go on at a time."""

from __future__ import annotations

import pytest

from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.slots import Slots

A, B, C, ELSEWHERE = ("shop", "a"), ("shop", "b"), ("shop", "c"), ("web", "a")


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def slots(woken: list[Key]) -> Slots:
    return Slots(1, woken.append)


def test_one_run_more_than_allowed_waits_and_is_woken_when_one_ends(slots: Slots, woken: list[Key]) -> None:
    assert slots.ask(A) == ""
    assert "1 run of namespace shop may go on at a time" in slots.ask(B)
    assert woken == []
    slots.free(A)
    assert woken == [B]
    assert slots.ask(B) == ""


def test_another_namespace_has_places_of_its_own(slots: Slots) -> None:
    assert slots.ask(A) == ""
    assert slots.ask(ELSEWHERE) == ""


def test_who_came_first_goes_first(slots: Slots) -> None:
    slots.ask(A)
    slots.ask(B)
    slots.ask(C)
    slots.free(A)
    assert slots.ask(C) != ""
    assert slots.ask(B) == ""


def test_who_gives_up_waiting_holds_nobody_up(slots: Slots) -> None:
    slots.ask(A)
    slots.ask(B)
    slots.leave(B)
    slots.free(A)
    assert slots.ask(C) == ""


def test_a_model_nobody_looked_at_yet_may_have_a_run_that_goes_on(slots: Slots, woken: list[Key]) -> None:
    slots.expect(A)
    assert slots.ask(B) != ""
    slots.free(A)
    assert woken == [B]
    assert slots.ask(B) == ""


def test_what_cannot_be_known_holds_nobody_up_for_ever(slots: Slots) -> None:
    slots.expect(A)
    slots.excuse(A)
    assert slots.ask(B) == ""


def test_asking_again_takes_no_second_place(slots: Slots) -> None:
    assert slots.ask(A) == ""
    assert slots.ask(A) == ""


def test_a_deleted_model_gives_its_place_back(slots: Slots, woken: list[Key]) -> None:
    slots.keep(A)
    slots.ask(B)
    slots.forget(A)
    assert woken == [B]
