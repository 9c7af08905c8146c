"""Seeing each object version once, and taking each in once, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from polars.exceptions import PanicException

from trimtab.app import intake as module
from trimtab.app.events import Event
from trimtab.core.errors import Unavailable
from trimtab.core.records import entry_id
from trimtab.core.triggering import StartRun

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


def test_what_was_gone_and_is_put_again_is_taken_in_after_all(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.intake.note([Event("landing", "in/a.csv")])
    rig.buckets.bucket("landing").delete("in/a.csv")
    (gone,) = rig.take_in()
    assert (gone.state, gone.kind) == ("quarantined", "gone")

    rig.put("a.csv", day_file(0))  # the same bytes: the same etag, and so the same entry
    (found,) = rig.take_in()

    assert (found.entry, found.state) == (gone.entry, "ingested")
    assert rig.take_in() == []
    rig.open("second")
    assert rig.take_in() == []
    assert [outcome.state for outcome in rig.state.ledger.outcomes().values()] == ["ingested"]


def test_what_was_gone_and_comes_again_unreadable_is_looked_at_once_more_only(rig: Rig) -> None:
    rig.put("a.csv", b"\x00\x01")
    rig.intake.note([Event("landing", "in/a.csv")])
    rig.buckets.bucket("landing").delete("in/a.csv")
    rig.take_in()
    rig.put("a.csv", b"\x00\x01")

    assert [outcome.state for outcome in rig.take_in()] == ["quarantined"]
    assert rig.take_in() == []


def test_an_object_that_is_replaced_and_put_back_stands_again(rig: Rig, day_file: DayFile) -> None:
    good = day_file(0)
    rig.put("a.csv", good)
    rig.take_in()
    rig.put("a.csv", day_file(1))
    rig.take_in()

    rig.put("a.csv", good)
    rig.intake.note([Event("landing", "in/a.csv")])

    etag = rig.buckets.bucket("landing").head("in/a.csv").etag
    assert [entry.etag for entry in rig.intake.current()] == [etag]
    rig.intake.reconcile()
    assert [entry.etag for entry in rig.intake.current()] == [etag]


def test_a_file_that_repeats_a_deleted_one_counts_in_its_place(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.take_in()
    rig.put("moved/a.csv", day_file(0))
    rig.buckets.bucket("landing").delete("in/a.csv")
    rig.requests.ask("cli")

    verdict = rig.step()

    assert isinstance(verdict, StartRun)
    (decision,) = rig.decisions()
    assert rig.state.data.dataset(decision.dataset).partitions[0].rows == 12


def test_an_object_that_an_event_tells_of_during_a_listing_stands(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put("a.csv", day_file(0))
    real = module.list_source

    def listed_before_it_came(*arguments: Any) -> Any:
        listing = list(real(*arguments))
        rig.put("b.csv", day_file(1))
        rig.intake.note([Event("landing", "in/b.csv")])
        return listing

    monkeypatch.setattr(module, "list_source", listed_before_it_came)
    rig.intake.reconcile()

    assert {entry.key for entry in rig.intake.current()} == {"in/a.csv", "in/b.csv"}


def test_objects_are_taken_in_in_the_order_of_their_arrival(rig: Rig, day_file: DayFile) -> None:
    for day, name in enumerate(["z", "m", "a"]):
        rig.put(f"{name}.csv", day_file(day))

    outcomes = rig.take_in()

    entries = rig.intake.entries()
    assert [entries[outcome.entry].key for outcome in outcomes] == ["in/z.csv", "in/m.csv", "in/a.csv"]


@pytest.mark.parametrize("broken", [RecursionError("maximum recursion depth exceeded"), PanicException("index 3")])
def test_a_file_that_breaks_the_reader_does_not_stop_the_files_behind_it(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch, broken: BaseException
) -> None:
    rig.put("a.csv", day_file(0))
    rig.put("b.csv", day_file(1))
    real = module.take_in

    def take_in(state: Any, landing: Any, entry: Any, *rest: Any) -> Any:
        if entry.key == "in/a.csv":
            raise broken
        return real(state, landing, entry, *rest)

    monkeypatch.setattr(module, "take_in", take_in)
    first, second = rig.take_in()

    assert (first.state, second.state) == ("quarantined", "ingested")
    assert f"{type(broken).__name__}: {broken}" in first.reason


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
        with pytest.raises(Unavailable):
            rig.intake.take_next()

    assert [outcome.state for outcome in rig.take_in()] == ["ingested"]


def fail_on(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Taking in the object of that name goes wrong."""
    real = module.take_in

    def take_in(state: Any, landing: Any, entry: Any, *more: Any) -> Any:
        if entry.key == f"in/{name}":
            raise error
        return real(state, landing, entry, *more)

    monkeypatch.setattr(module, "take_in", take_in)


@pytest.mark.parametrize(
    ("error", "kind"), [(MemoryError(), "too_large"), (OSError(5, "Input/output error"), "unreadable")]
)
def test_a_file_beyond_this_machine_comes_after_the_others_and_is_set_aside_in_the_end(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        rig.put(name, day_file(ord(name[0])))
    fail_on(monkeypatch, "a.csv", error)
    rig.intake.reconcile()

    taken: list[str] = []
    refusals: list[str] = []
    while rig.intake.pending():
        try:
            entry, _ = rig.intake.take_next()
            taken.append(entry.key)
        except Unavailable as refused:
            refusals.append(refused.message)

    assert taken == ["in/b.csv", "in/c.csv", "in/a.csv"]
    assert len(refusals) == module.MOST_STUMBLES - 1
    assert all("in/a.csv" in refusal for refusal in refusals)
    (aside,) = [outcome for outcome in rig.state.ledger.outcomes().values() if outcome.state == "quarantined"]
    assert aside.kind == kind
    assert "3 times on this machine" in aside.reason
    assert "smaller files" in aside.hint


def test_a_full_disk_sets_no_file_aside_however_long_it_lasts(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put("a.csv", day_file(0))
    rig.intake.reconcile()
    with monkeypatch.context() as broken:
        fail_on(broken, "a.csv", OSError(28, "No space left on device"))
        for _ in range(3 * module.MOST_STUMBLES):
            with pytest.raises(Unavailable):
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
