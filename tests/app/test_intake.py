"""Seeing each object version once, and taking each in once, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trimtab.app import intake as module
from trimtab.app.events import Event
from trimtab.core.errors import Unavailable
from trimtab.core.records import entry_id

Rig = Any
DayFile = Callable[..., bytes]


def test_an_event_and_the_listing_make_one_entry(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))

    first = rig.intake.note([Event("landing", "in/a.csv")])
    again = rig.intake.note([Event("landing", "in/a.csv", "an etag of the sender's")])
    listed = rig.intake.reconcile()

    assert (first, again, listed) == (1, 0, 0)
    (entry,) = rig.state.ledger.entries().values()
    info = rig.buckets.bucket("landing").head("in/a.csv")
    assert entry.id == entry_id("default", "bikes", "landing", "in/a.csv", info.etag)
    assert (entry.via, entry.size, entry.modified) == ("webhook", info.size, info.modified)


def test_an_entry_seen_by_another_process_is_not_new(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.intake.reconcile()
    rig.open("second")

    assert rig.intake.note([Event("landing", "in/a.csv")]) == 0


@pytest.mark.parametrize(
    "event",
    [
        Event("elsewhere", "in/a.csv"),
        Event("landing", "out/a.csv"),
        Event("landing", "in/_SUCCESS"),
        Event("landing", "in/.hidden/a.csv"),
        Event("landing", "in/deleted-since.csv"),
    ],
    ids=["bucket", "prefix", "marker", "hidden", "gone"],
)
def test_events_of_other_things_are_passed_over(rig: Rig, event: Event) -> None:
    for bucket, key in (("elsewhere", "in/a.csv"), ("landing", "out/a.csv"), ("landing", "in/_SUCCESS")):
        rig.buckets.bucket(bucket).put(key, b"x")

    assert rig.intake.note([event]) == 0
    assert rig.state.ledger.ids() == set()


def test_an_overwritten_object_is_a_new_entry(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.take_in()
    rig.put("a.csv", day_file(1))
    rig.take_in()

    assert len(rig.state.ledger.ids()) == 2
    assert [outcome.state for outcome in rig.state.ledger.outcomes().values()] == ["ingested", "ingested"]


def test_what_was_replaced_before_its_turn_is_set_aside_as_gone(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.intake.note([Event("landing", "in/a.csv")])
    rig.put("a.csv", day_file(1))

    outcomes = rig.take_in()

    assert sorted((outcome.state, outcome.kind) for outcome in outcomes) == [
        ("ingested", "ok"),
        ("quarantined", "gone"),
    ]


def test_a_deleted_object_no_longer_counts(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.put("b.csv", day_file(1))
    rig.take_in()
    rig.buckets.bucket("landing").delete("in/a.csv")
    rig.intake.reconcile()

    assert [entry.key for entry in rig.intake.current()] == ["in/b.csv"]


def test_objects_are_taken_in_in_the_order_of_their_arrival(rig: Rig, day_file: DayFile) -> None:
    for day, name in enumerate(["z", "m", "a"]):
        rig.put(f"{name}.csv", day_file(day))

    outcomes = rig.take_in()

    entries = rig.intake.entries()
    assert [entries[outcome.entry].key for outcome in outcomes] == ["in/z.csv", "in/m.csv", "in/a.csv"]


def test_a_file_that_breaks_the_reader_does_not_stop_the_files_behind_it(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put("a.csv", day_file(0))
    rig.put("b.csv", day_file(1))
    real = module.take_in

    def take_in(state: Any, landing: Any, entry: Any, *rest: Any) -> Any:
        if entry.key == "in/a.csv":
            raise RecursionError("maximum recursion depth exceeded")
        return real(state, landing, entry, *rest)

    monkeypatch.setattr(module, "take_in", take_in)
    first, second = rig.take_in()

    assert (first.state, second.state) == ("quarantined", "ingested")
    assert "RecursionError: maximum recursion depth exceeded" in first.reason


@pytest.mark.parametrize("error", [Unavailable("no answer"), OSError(28, "No space left on device"), MemoryError()])
def test_what_the_machine_cannot_do_now_is_not_blamed_on_the_file(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rig.put("a.csv", day_file(0))
    rig.intake.reconcile()

    def take_in(*arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(module, "take_in", take_in)
        with pytest.raises(type(error)):
            rig.intake.take_next()

    assert [outcome.state for outcome in rig.take_in()] == ["ingested"]


def test_a_champion_that_cannot_be_loaded_is_said_and_uploads_go_on(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.register(rig.decisions()[0])
    rig.put("b.csv", day_file(1))

    (outcome,) = rig.take_in()

    assert (outcome.state, outcome.judgement) == ("ingested", None)
    assert rig.intake.problem.startswith("v1 cannot judge new rows: found no")
