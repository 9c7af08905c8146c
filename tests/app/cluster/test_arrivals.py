"""What the listener took in, as the controller reads it; and what a run makes of it under a changed spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.adapters.arrivals import assemble, list_source, renewed
from trimtab.app.cluster.arrivals import ArrivalsSoFar
from trimtab.core.observation import observe
from trimtab.core.spec import load


def read(rig: Any, so_far: ArrivalsSoFar | None = None) -> Any:
    return (so_far or ArrivalsSoFar()).read(rig.state, rig.buckets, rig.model)


def observed(rig: Any, taken: Any) -> Any:
    return observe(
        entries=taken.current(),
        outcomes=taken.outcomes,
        decisions=[],
        results={},
        champion=None,
        requests=(),
        training_digest="",
        maturity=rig.model.spec.data.labels.maturity,
        wall=rig.wall(),
        wall_is_policy=False,
        drift=rig.model.spec.triggers.drift,
    )


def test_decisions_see_what_the_intake_itself_would_show_them(rig: Any, day_file: Callable[..., bytes]) -> None:
    for day in range(3):
        rig.put(f"{day}.csv", day_file(day))
    rig.put("broken.csv", b"\x00\x01")
    rig.take_in()
    assert observed(rig, read(rig)) == observed(rig, rig.intake)


def test_what_was_read_is_not_read_again(rig: Any, day_file: Callable[..., bytes]) -> None:
    rig.put("0.csv", day_file(0))
    rig.take_in()
    so_far = ArrivalsSoFar()
    read(rig, so_far)
    rig.put("1.csv", day_file(1))
    rig.take_in()
    gets: list[str] = []
    rig.buckets.fail = lambda operation, key, done: gets.append(key) if operation in ("get", "find") else None
    taken = read(rig, so_far)
    rig.buckets.fail = None
    assert len(taken.entries()) == 2
    ledger = {key for key in gets if "/ledger/" in key}
    assert len(ledger) == 2  # the second upload's entry and its outcome


def test_a_deleted_upload_does_not_count(rig: Any, day_file: Callable[..., bytes]) -> None:
    rig.put("0.csv", day_file(0))
    rig.take_in()
    rig.buckets.bucket("landing").delete("in/0.csv")
    assert read(rig).current() == []


def test_a_release_counts_over_the_quarantine(rig: Any) -> None:
    rig.put("0.csv", b"ts,heat,count\n2012-01-01,too hot,1\n")
    (outcome,) = rig.take_in()
    assert read(rig).outcomes[outcome.entry].state == "quarantined"
    rig.state.ledger.release(outcome.model_copy(update={"state": "ingested"}))
    assert read(rig).outcomes[outcome.entry].state == "ingested"


def test_a_run_reads_again_what_was_taken_in_under_another_data_section(
    rig: Any, day_file: Callable[..., bytes]
) -> None:
    rig.put("0.csv", day_file(0))
    rig.take_in()
    held = assemble(rig.state, list_source(rig.buckets, rig.model))
    text = rig.text.replace("min: -30, max: 50", "min: -30, max: 0.55")
    narrower = load(text.replace("    target: count", "    target: count\n    quality: {maxInvalidRowRatio: 0.9}"))
    whole = assemble(rig.state, list_source(rig.buckets, narrower), narrower, rig.buckets)
    again = renewed(rig.state, held.digest, narrower, rig.buckets)
    assert again == whole
    assert again.partitions[0].rows < held.partitions[0].rows
    assert renewed(rig.state, held.digest, rig.model, rig.buckets) == held
