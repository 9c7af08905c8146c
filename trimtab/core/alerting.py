"""Which of the journal's entries is which event of `spec.alerts`, and how it reads far from a terminal."""

from __future__ import annotations

import re
from typing import Literal

from trimtab.core.records import JournalEntry

Event = Literal["drift", "rollback", "quarantine", "budget", "failed", "approval"]
WAITS = re.compile(r"rollout/\d+/(Paused|Held)/")
BROKEN = re.compile(r"rollout/\d+/Error/")
FINISHED: dict[str, Event] = {"failed": "failed", "fixData": "drift", "awaitingApproval": "approval"}
BUDGET = "the budget of 24 hours is used up"  # as core.restraint says it
NEXT_MOVE: dict[Event, str] = {
    "drift": "`trimtab status {model}`",
    "rollback": "`trimtab history {model} --journal`",
    "quarantine": "`trimtab quarantine list -m {model}`",
    "budget": "`trimtab status {model}`",
    "failed": "`trimtab status {model}`",
    "approval": "`trimtab status {model}`",
}


def event_of(entry: JournalEntry, drift_alarms: bool) -> Event | None:
    """
    The event that an entry tells of; None for what nobody is called for.

    Args:
        entry: Of the journal.
        drift_alarms: Whether the spec has a drift trigger: then its alarms, at the accepted rate, are the event, and a
            single upload's report is not.
    """
    if entry.kind == "quarantined":
        return "quarantine"
    if entry.kind == "rolledBack":
        return "rollback"
    if entry.kind == "finished":
        return FINISHED.get(str(entry.evidence.get("state")))
    if entry.kind == "waiting":
        return "budget" if BUDGET in entry.summary else None
    if entry.kind == "alert":
        return "drift" if entry.id.startswith("alert/drift/") else "failed"
    if entry.kind == "ingested":
        verdict = entry.evidence.get("verdict")
        return "drift" if verdict == "fixData" or (verdict == "retrain" and not drift_alarms) else None
    if WAITS.match(entry.id):
        return "approval"
    return "failed" if BROKEN.match(entry.id) else None


def text(model: str, event: Event, entry: JournalEntry) -> tuple[str, str]:
    """Title and body: what happened, when on the policy clock, and the next move, its command between backticks."""
    body = f"{entry.summary}\n{entry.decided_at:%Y-%m-%d %H:%M} UTC. Next: {NEXT_MOVE[event].format(model=model)}"
    return f"{model}: {event}", body
