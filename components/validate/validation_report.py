"""What validation found in a run's uploads, as one page."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.core import page
from trimtab.core.records import IntakeOutcome, LedgerEntry

Finding = tuple[LedgerEntry, IntakeOutcome]


def valid_rows(findings: Sequence[Finding]) -> int:
    """Rows of the uploads that were let in."""
    return sum(outcome.partition.rows for _, outcome in findings if outcome.partition)


def render(model: str, findings: Sequence[Finding]) -> str:
    """
    The report's page; the same findings give the same bytes.

    Args:
        model: Name of the ContinuousModel.
        findings: Entry and outcome of each upload, oldest arrival first.
    """
    parts = [page.line(_summary(findings)), page.table(("upload", "state", "valid", "set aside"), map(_row, findings))]
    for entry, outcome in findings:
        if outcome.reason:
            parts += [page.heading(entry.key), page.line(outcome.reason, "bad")]
            parts += [page.line(f"Next: {outcome.hint}")] if outcome.hint else []
        reasons = outcome.validation.get("reasons", [])
        if reasons:
            parts.append(page.heading(f"{entry.key}: rows that were set aside"))
            parts.append(page.table(("column", "reason", "rows", "first of them"), map(_reason, reasons)))
    return page.page(f"{model}: validation", *parts)


def _summary(findings: Sequence[Finding]) -> str:
    if not findings:
        return "No upload is new to this run: it trains on what was taken in before."
    aside = sum(outcome.partition.quarantined for _, outcome in findings if outcome.partition)
    return f"{len(findings)} uploads, {valid_rows(findings):,} valid rows, {aside:,} rows set aside."


def _row(finding: Finding) -> tuple[object, ...]:
    entry, outcome = finding
    part = outcome.partition
    state = outcome.state if outcome.kind in ("", "ok") else f"{outcome.state}: {outcome.kind}"
    return entry.key, state, part.rows if part else 0, part.quarantined if part else 0


def _reason(reason: dict[str, object]) -> tuple[object, ...]:
    examples = reason["examples"]
    assert isinstance(examples, list)
    shown = ", ".join(f"row {row}: {value}" for row, value in examples)
    return reason["column"], reason["reason"], reason["rows"], shown
