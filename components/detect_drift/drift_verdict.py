"""Retrain, wait, or have the data mended: what a run's drift reports say together, and their page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.core import page
from trimtab.core.records import IntakeOutcome, LedgerEntry

Finding = tuple[LedgerEntry, IntakeOutcome]


@dataclass(frozen=True)
class Verdict:
    """The newest report's word; `go_on` is False where training would teach the model a fault of the data."""

    verdict: str
    reason: str
    go_on: bool


def judge(findings: Sequence[Finding], reason: str) -> Verdict:
    """
    What the run does next.

    The newest upload that carries a report decides: a good file after a bad one lifts the veto, and a file that could
    not be read says nothing of the data. Who asks for a run on demand has looked.

    Args:
        findings: Entry and outcome of each upload, oldest arrival first.
        reason: Why the run was started.
    """
    reports = [(entry, o) for entry, o in findings if o.state != "duplicate" and o.drift.get("verdict")]
    if not reports:
        return Verdict("wait", "no upload of this run carries a report", go_on=True)
    entry, newest = reports[-1]
    why = str(newest.drift.get("reason", "")) or newest.reason
    if newest.drift["verdict"] != "fixData":
        return Verdict(str(newest.drift["verdict"]), why, go_on=True)
    if reason == "onDemand":
        return Verdict("fixData", f"{entry.uri}: {why}; the run was asked for on demand and goes on", go_on=True)
    return Verdict("fixData", f"{entry.uri}: {why}", go_on=False)


def render(model: str, findings: Sequence[Finding], verdict: Verdict) -> str:
    """The report's page; the same findings give the same bytes."""
    parts = [page.line(f"Verdict: {verdict.verdict}. {verdict.reason}", "good" if verdict.go_on else "bad")]
    for entry, outcome in findings:
        drift = outcome.drift
        if not drift:
            continue
        parts.append(page.heading(entry.key))
        parts.append(
            page.line(
                f"{drift['verdict']}: {drift['reason']} ({drift.get('rows', 0):,} rows beside "
                f"{drift.get('referenceBatches', 0)} batches of the reference)"
            )
        )
        columns = drift.get("columns", [])
        if columns:
            header = ("column", "role", "distance", "usual", "effect", "p", "adjusted p")
            parts.append(page.table(header, map(_row, sorted(columns, key=lambda column: -column["effect"]))))
    return page.page(f"{model}: drift", *parts)


def _row(column: dict[str, Any]) -> tuple[object, ...]:
    return tuple(column[name] for name in ("column", "role", "score", "usual", "effect", "p", "adjusted"))
