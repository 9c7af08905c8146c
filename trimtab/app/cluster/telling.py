"""What the journal tells of a model, as Kubernetes Events on its object."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.events import Events
from trimtab.core.records import JournalEntry

NEWS = timedelta(minutes=10)  # what is older was told by the process before, or interests nobody any more
REASONS = {
    "ingested": "Ingested",
    "quarantined": "Quarantined",
    "duplicate": "Duplicate",
    "released": "Released",
    "decided": "TrainingDecided",
    "waiting": "TrainingWaits",
    "finished": "RunFinished",
    "promoted": "Promoted",
    "aliases": "AliasesMoved",
    "rollout": "Rollout",
    "rolledBack": "RolledBack",
    "alert": "Alert",
}  # by kind of an entry; the others are no news to anybody
WARNINGS = frozenset({"quarantined", "rolledBack", "alert"})


class Telling:
    """One model's. An Event is told once, whoever tells it: its name is made from the entry's id."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told = 0  # number of the last journal entry

    def tell(self, resource: Object, entries: Sequence[JournalEntry]) -> None:
        """Everything that was journalled since the last call."""
        for entry in entries:
            if entry.number <= self._told:
                continue
            self._told = entry.number
            reason = REASONS.get(entry.kind)
            if reason is not None and datetime.now(UTC) - entry.recorded_at < NEWS:
                self._events.tell(resource, entry.id, reason, entry.summary, kind_of(entry))


def kind_of(entry: JournalEntry) -> Literal["Normal", "Warning"]:
    """Whether somebody should look."""
    failed = entry.kind == "finished" and entry.evidence.get("state") == "failed"
    return "Warning" if entry.kind in WARNINGS or failed else "Normal"
