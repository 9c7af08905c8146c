"""The ledger: every version of every uploaded object once, and how intake ended for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.objects import Objects
from trimtab.core.errors import Conflict, NotFound
from trimtab.core.records import IntakeOutcome, LedgerEntry, canonical

SEEN, OUTCOME, RELEASED = "seen.json", "outcome.json", "released.json"


class Ledger:
    """
    Three create-only objects an entry, under one flat prefix, so that one listing tells where all of them stand.

    Attributes:
        cut: What is remembered of an outcome, where a process that holds many models' ledgers needs less than all.
    """

    def __init__(self, objects: Objects, layout: Layout) -> None:
        self.cut: Callable[[IntakeOutcome], IntakeOutcome] | None = None
        self._objects = objects
        self._layout = layout
        self._entries: dict[str, LedgerEntry] = {}
        self._outcomes: dict[tuple[str, str], IntakeOutcome] = {}

    def see(self, entry: LedgerEntry) -> bool:
        """Write the entry down; True when it is new, False when somebody saw this object version before."""
        # Two who see it in the same instant would write the same bytes: the nonce lets one of them win.
        body = canonical({**entry.model_dump(mode="json", by_alias=True), "nonce": uuid.uuid4().hex})
        try:
            self._objects.create(self._layout.ledger(entry.id, SEEN), body)
        except Conflict:
            return False
        return True

    def ids(self) -> set[str]:
        return self._listing()[SEEN]

    def entries(self) -> dict[str, LedgerEntry]:
        """By id, in order of the id."""
        ids = sorted(self.ids())
        unread = [entry for entry in ids if entry not in self._entries]
        bodies = self._objects.get_all(self._layout.ledger(entry, SEEN) for entry in unread)
        for entry, body in zip(unread, bodies, strict=True):
            self._entries[entry] = LedgerEntry.from_json(body, self._layout.ledger(entry, SEEN))
        return {entry: self._entries[entry] for entry in ids}

    def entry(self, entry: str) -> LedgerEntry:
        """
        Raises:
            NotFound: If nothing by this id was ever seen.
        """
        if entry not in self._entries:
            body = self._objects.find(self._layout.ledger(entry, SEEN))
            if body is None:
                raise NotFound(f"found no ledger entry {entry} of {self._layout.model}")
            self._entries[entry] = LedgerEntry.from_json(body, self._layout.ledger(entry, SEEN))
        return self._entries[entry]

    def outcome(self, entry: str) -> IntakeOutcome | None:
        """How intake ended, None while it has not; a release counts over the outcome."""
        outcome = self._read(entry, OUTCOME)
        if outcome is not None and outcome.state == "quarantined":
            return self._read(entry, RELEASED) or outcome
        return outcome

    def outcomes(self) -> dict[str, IntakeOutcome]:
        """By entry id, of every entry whose intake has ended; a release counts over the outcome."""
        listing = self._listing()
        names = {entry: RELEASED if entry in listing[RELEASED] else OUTCOME for entry in sorted(listing[OUTCOME])}
        unread = [place for place in names.items() if place not in self._outcomes]
        bodies = self._objects.get_all(self._layout.ledger(entry, name) for entry, name in unread)
        for place, body in zip(unread, bodies, strict=True):
            self._keep(place, IntakeOutcome.from_json(body, self._layout.ledger(*place)))
        return {place[0]: self._outcomes[place] for place in names.items()}

    def conclude(self, outcome: IntakeOutcome) -> IntakeOutcome:
        """Write the outcome; where one stands already, that one counts and is returned."""
        return self._first(outcome, OUTCOME)

    def release(self, outcome: IntakeOutcome) -> IntakeOutcome:
        """
        Let a quarantined file in after all; a release that stands already counts and is returned.

        Raises:
            Conflict: If the entry is not in quarantine.
        """
        concluded = self._read(outcome.entry, OUTCOME)
        if concluded is None or concluded.state != "quarantined":
            found = concluded.state if concluded else "not yet taken in"
            raise Conflict(f"entry {outcome.entry[:12]} is {found}; only a quarantined one can be released")
        return self._first(outcome, RELEASED)

    def _first(self, outcome: IntakeOutcome, name: str) -> IntakeOutcome:
        try:
            self._objects.create(self._layout.ledger(outcome.entry, name), outcome.to_json())
        except Conflict:
            first = self._read(outcome.entry, name)
            assert first is not None
            return first
        self._keep((outcome.entry, name), outcome)
        return outcome

    def _keep(self, place: tuple[str, str], outcome: IntakeOutcome) -> None:
        self._outcomes[place] = self.cut(outcome) if self.cut else outcome
        if self.cut:
            self._objects.forget(self._layout.ledger(*place))

    def _read(self, entry: str, name: str) -> IntakeOutcome | None:
        if (entry, name) not in self._outcomes:
            body = self._objects.find(self._layout.ledger(entry, name))
            if body is None:
                return None
            self._keep((entry, name), IntakeOutcome.from_json(body, self._layout.ledger(entry, name)))
        return self._outcomes[entry, name]

    def _listing(self) -> dict[str, set[str]]:
        prefix = self._layout.ledger()
        found: dict[str, set[str]] = {SEEN: set(), OUTCOME: set(), RELEASED: set()}
        for info in self._objects.bucket.list(prefix):
            entry, _, name = info.key.removeprefix(prefix).partition(".")
            if name in found:
                found[name].add(entry)
        return found
