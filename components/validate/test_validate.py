"""The report counts what was let in and says why the rest was not, whatever cells hold."""

from __future__ import annotations

from datetime import UTC, datetime

from trimtab.components.validate.validation_report import Finding, render, valid_rows
from trimtab.core.records import IntakeOutcome, LedgerEntry, Partition

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def finding(key: str, rows: int, aside: int = 0, **outcome) -> Finding:
    entry = LedgerEntry(id=key, bucket="b", key=key, etag="e", size=1, modified=NOW, via="listing", recorded_at=NOW)
    part = Partition(id="p", rows=rows, labelled=rows, quarantined=aside, first=NOW, last=NOW)
    fields = {"state": "ingested", "kind": "ok", "partition": part, **outcome}
    return entry, IntakeOutcome(entry=key, decided_at=NOW, recorded_at=NOW, **fields)


REASONS = {"reasons": [{"column": "<b>x</b>", "reason": "above max 5", "rows": 2, "examples": [[7, "<script>"]]}]}


def test_valid_rows_are_those_that_were_let_in() -> None:
    assert valid_rows([finding("a", 10, 2), finding("b", 5), finding("c", 0, state="duplicate", partition=None)]) == 15


def test_the_page_names_uploads_reasons_and_the_next_move() -> None:
    held = finding(
        "bad.csv", 0, 9, state="quarantined", kind="unit_change", reason="looks like feet", hint="use metres"
    )
    page = render("demand", [finding("good.csv", 1234), held])
    for words in ("2 uploads, 1,234 valid rows, 9 rows set aside", "quarantined: unit_change", "looks like feet"):
        assert words in page
    assert "Next: use metres" in page


def test_what_cells_hold_is_text_and_never_markup() -> None:
    page = render("demand", [finding("<i>.csv", 1, 2, validation=REASONS)])
    assert "row 7: &lt;script&gt;" in page
    assert "<script>" not in page
    assert "<i>" not in page
    assert "http" not in page.replace("<!doctype html>", "")


def test_a_run_without_new_uploads_says_so() -> None:
    assert "No upload is new to this run" in render("demand", [])
