"""The journal: what happened and why, in sentences, each told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.numbered import Numbered
from trimtab.adapters.state.objects import Objects
from trimtab.core.records import JournalEntry

ATTEMPTS = 50  # several threads and processes write here, each entry a short one


class Journal:
    def __init__(self, objects: Objects, layout: Layout, now: Callable[[], datetime]) -> None:
        self._entries = Numbered(objects, layout, "journal", JournalEntry)
        self._now = now

    def entries(self) -> list[JournalEntry]:
        """Oldest first."""
        return list(self._entries.all().values())

    def after(self, number: int) -> Iterator[JournalEntry]:
        """Those beyond a number, oldest first, each read when it is its turn."""
        for each in self._entries.numbers(number):
            if (entry := self._entries.find(each)) is not None:
                yield entry

    def last_before(self, moment: datetime) -> int:
        """The number of the newest entry that was recorded before; 0 for none."""
        for number in reversed(self._entries.numbers()):
            entry = self._entries.find(number)
            if entry is not None and entry.recorded_at < moment:
                return number
        return 0

    def tell(
        self, id: str, kind: str, summary: str, evidence: Mapping[str, Any], decided_at: datetime
    ) -> JournalEntry | None:
        """
        Add an entry; None when one by this id was told before.

        Args:
            id: Names what it tells of, such as `outcome/5`.
            decided_at: On the policy clock.
        """

        def next_entry(number: int, known: dict[int, JournalEntry]) -> JournalEntry | None:
            if any(entry.id == id for entry in known.values()):
                return None
            return JournalEntry(
                number=number,
                id=id,
                kind=kind,
                summary=summary,
                evidence=dict(evidence),
                decided_at=decided_at,
                recorded_at=self._now(),
            )

        return self._entries.append(next_entry, ATTEMPTS, read_first=False)
