"""A file that is let in although its data has to be fixed: training waits, and people are told for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.core.triggering import Wait

Rig = Any
DayFile = Callable[..., bytes]


def without_heat(body: bytes) -> bytes:
    header, *rows = body.splitlines()
    emptied = (b"%s,,%s" % (row.split(b",")[0], row.split(b",")[2]) for row in rows)
    return b"\n".join([header, *emptied, b""])


def test_training_waits_for_a_column_that_went_missing_and_says_which(
    make_rig: Callable[..., Rig], day_file: DayFile
) -> None:
    rig = make_rig(**{"max: 50, nullable: false": "max: 50"})
    rig.put("a.csv", day_file(0, rows=100))
    rig.put("b.csv", without_heat(day_file(9, rows=100)))

    verdict = rig.step()

    found = "heat is missing in 100% of 100 rows, in reference batches in at most 0%"
    assert isinstance(verdict, Wait)
    assert verdict.reason == f"upload: the data has to be fixed first: s3://{rig.landing}/in/b.csv: {found}"
    told = [entry.summary for entry in rig.journal("ingested") if "b.csv" in entry.summary]
    assert told == [f"in/b.csv: 100 rows, 100 labelled, 0 set aside; drift says fixData: {found}"]
    assert "trimtab run bikes" in rig.controller.status().next_move
