"""A run stops only where training would teach the model a fault of the data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trimtab.components.detect_drift.drift_verdict import Finding, judge, render
from trimtab.core.drift import ColumnDrift, DriftReport
from trimtab.core.records import IntakeOutcome, LedgerEntry

NOW = datetime(2024, 1, 1, tzinfo=UTC)
GOOD = DriftReport("wait", "none", "no column moved", 26, 336)
MOVED = DriftReport(
    "retrain", "covariate", "heat moved", 26, 336, (ColumnDrift("heat", "feature", 0.5, 0.1, 0.4, 0.037, 0.037),)
)
BROKEN = DriftReport("fixData", "unit_change", "heat is in Fahrenheit", 26, 336)


def finding(report: DriftReport | None, state: str = "ingested") -> Finding:
    entry = LedgerEntry(
        id="i", bucket="b", key="<a>.csv", etag="e", size=1, modified=NOW, via="listing", recorded_at=NOW
    )
    drift = report.to_dict() if report else {}
    return entry, IntakeOutcome(entry="i", state=state, drift=drift, decided_at=NOW, recorded_at=NOW)


@pytest.mark.parametrize(
    ("reports", "reason", "verdict", "go_on"),
    [
        ([GOOD], "upload", "wait", True),
        ([MOVED], "upload", "retrain", True),
        ([BROKEN], "upload", "fixData", False),
        ([BROKEN], "sdk", "fixData", False),
        ([BROKEN], "onDemand", "fixData", True),
        ([BROKEN, GOOD], "upload", "wait", True),
        ([MOVED, BROKEN], "schedule", "fixData", False),
        ([BROKEN, None], "upload", "fixData", False),  # what cannot be read says nothing of the data
        ([], "schedule", "wait", True),
    ],
)
def test_the_newest_report_decides(reports: list, reason: str, verdict: str, go_on: bool) -> None:
    found = judge([finding(report) for report in reports], reason)
    assert (found.verdict, found.go_on) == (verdict, go_on)


def test_a_duplicate_does_not_lift_a_veto() -> None:
    assert not judge([finding(BROKEN), finding(GOOD, state="duplicate")], "upload").go_on


def test_a_veto_names_the_upload_and_the_reason() -> None:
    assert judge([finding(BROKEN)], "upload").reason == "s3://b/<a>.csv: heat is in Fahrenheit"


def test_the_page_shows_the_columns_furthest_first_and_escapes_names() -> None:
    findings = [finding(MOVED)]
    page = render("demand", findings, judge(findings, "upload"))
    assert "Verdict: retrain. heat moved" in page
    assert "<td>heat</td><td>feature</td>" in page
    assert "0.400" in page
    assert "<a>" not in page
