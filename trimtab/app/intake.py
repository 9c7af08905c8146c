"""
Intake: every object of the source into the ledger once, and each ledger entry to its outcome, one at a time.

Events and the listing meet in the ledger: whoever sees an object version first writes it down, the other finds it
there. The store's records are read at the start and with each listing; in between this process knows them, because it
holds the model's lease.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

from polars.exceptions import PanicException

from trimtab.adapters.arrivals import entry_of, is_upload, list_source
from trimtab.adapters.intake import take_in
from trimtab.adapters.state import State
from trimtab.app.champion import LiveChampion
from trimtab.app.clocks import StreamClock
from trimtab.app.events import Event
from trimtab.core.errors import TrimtabError, Unavailable
from trimtab.core.observation import in_order, is_gone
from trimtab.core.ports import Buckets, Clock, ObjectInfo
from trimtab.core.records import IntakeOutcome, LedgerEntry, entry_id
from trimtab.core.spec.model import ContinuousModel

THREADS = 8  # the store takes about twice as many small puts from eight threads as from one
MOST_STUMBLES = 3  # attempts at a file that this machine has not the means for
# Trouble of the machine that passes, whichever file is at hand.
MACHINES_OWN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
log = logging.getLogger("trimtab.intake")


class Intake:
    """
    What has arrived for one model.

    `note` is safe in any thread; all else belongs to the one worker.
    """

    def __init__(
        self,
        state: State,
        buckets: Buckets,
        model: ContinuousModel,
        clock: Clock,
        trusted_types: tuple[str, ...] = (),
        spec_folder: str = "",
    ) -> None:
        self.champion = LiveChampion(state, trusted_types, spec_folder)
        self._state = state
        self._buckets = buckets
        self._model = model
        self._clock = clock
        self._landing = buckets.bucket(model.spec.data.bucket)
        self._entries: dict[str, LedgerEntry] = {}
        self._outcomes: dict[str, IntakeOutcome] = {}
        self._standing: dict[str, str] | None = None  # etags by key, of the source; None before the first listing
        self._heard: dict[str, str] = {}  # the same, of what came while the source was being listed
        self._returned: set[str] = set()  # entries that were gone when their turn came, and stand again
        self._retried: set[str] = set()  # those of them that were looked at again
        self._stumbles: Counter[str] = Counter()  # by entry: how often taking it in did not work
        self._lock = threading.Lock()
        self.on_taken: Callable[[], None] = lambda: None  # is called after each file, by the worker

    # What is known

    @property
    def problem(self) -> str:
        """Why the champion cannot judge; empty while it can."""
        return self.champion.problem

    @property
    def outcomes(self) -> dict[str, IntakeOutcome]:
        return self._outcomes

    def entries(self) -> dict[str, LedgerEntry]:
        with self._lock:
            return dict(self._entries)

    def entry(self, entry: str) -> LedgerEntry:
        """By its ledger id. Raises NotFound when nothing by it was ever seen."""
        with self._lock:
            known = self._entries.get(entry)
        return known or self._state.ledger.entry(entry)

    def current(self) -> list[LedgerEntry]:
        """The ledger without what has been deleted or replaced in the source since."""
        with self._lock:
            # By etag: an object that was replaced and put back stands, although its successor was seen later.
            standing = self._standing
            return [e for e in self._entries.values() if standing is None or standing.get(e.key) == e.etag]

    def pending(self) -> list[LedgerEntry]:
        """Seen and not concluded, or gone when its turn came and back again; oldest arrival first."""
        return in_order(e for e in self.entries().values() if e.id not in self._outcomes or e.id in self._returned)

    # Seeing

    def note(self, events: Iterable[Event]) -> int:
        """
        Write down the objects that events tell of, with what the store itself says of them; returns how many were new.

        Raises:
            Unavailable: If the store does not answer: the sender tries again, or the listing finds them.
        """
        new = 0
        for event in events:
            if event.bucket != self._landing.name or not is_upload(event.key, self._model):
                continue
            # A HEAD even where the event tells an etag: the ledger's size and time are the store's own, so that an
            # entry is the same whoever wrote it. What was replaced or deleted meanwhile is gone; its successor counts.
            info = self._landing.head(event.key)
            if info is not None:
                new += self._see(info, "webhook")
        return new

    def reconcile(self) -> int:
        """
        Compare the source's listing and the ledger, which others may have written too; returns how many were new.

        Raises:
            Unavailable: If the store does not answer.
        """
        with self._lock:
            self._heard = {}
        listing = list(list_source(self._buckets, self._model))
        known = self._state.ledger.entries()
        self._outcomes = self._state.ledger.outcomes()
        with self._lock:
            self._entries = known | self._entries
            self._standing = {info.key: info.etag for info in listing} | self._heard
        gone = {entry.id for entry in self.current() if is_gone(self._outcomes.get(entry.id))}
        self._retried &= gone
        self._returned = gone - self._retried
        unseen = [info for info in listing if self._id(info) not in self._entries]
        with ThreadPoolExecutor(THREADS) as pool:
            new = sum(pool.map(lambda info: self._see(info, "listing"), unseen))
        if isinstance(self._clock, StreamClock):
            for outcome in self._outcomes.values():
                self._advance(outcome)
        return new

    def _see(self, info: ObjectInfo, via: Literal["webhook", "listing"]) -> bool:
        namespace, model = self._state.namespace, self._state.model
        entry = entry_of(info, self._landing.name, namespace, model, via, datetime.now(UTC))
        with self._lock:
            self._heard[info.key] = info.etag
            if self._standing is not None:
                self._standing[info.key] = info.etag
            if entry.id in self._entries:
                return False
        new = self._state.ledger.see(entry)
        with self._lock:
            # Where another wrote it first, the next listing brings that one's record; only `via` may differ.
            self._entries.setdefault(entry.id, entry)
        return new

    def _id(self, info: ObjectInfo) -> str:
        return entry_id(self._state.namespace, self._state.model, self._landing.name, info.key, info.etag)

    # Taking in

    def take_next(self) -> tuple[LedgerEntry, IntakeOutcome] | None:
        """
        Take in the oldest entry that is pending; None when there is none. One that did not work comes after the others.

        Raises:
            Unavailable: If the store, the disk or the memory fails; nothing is lost, the same call may succeed later.
        """
        pending = sorted(self.pending(), key=lambda entry: self._stumbles[entry.id])
        if not pending:
            return None
        entry = pending[0]
        outcome = self._take_in(entry)
        self._outcomes[entry.id] = outcome
        self._stumbles.pop(entry.id, None)
        if entry.id in self._returned:
            self._returned.remove(entry.id)
            self._retried.add(entry.id)
        self._advance(outcome)
        self.on_taken()
        return entry, outcome

    def _take_in(self, entry: LedgerEntry) -> IntakeOutcome:
        try:
            champion, now = self.champion.get(), self._clock.now()
            return take_in(self._state, self._landing, entry, self._model, champion, now, self._outcomes)
        except TrimtabError:
            self._stumbles[entry.id] += 1
            raise
        except (OSError, MemoryError) as error:
            return self._out_of_means(entry, error)
        except (Exception, PanicException) as error:
            # Whatever a file can do to a parser: it must not stop the files behind it. A panic of polars is no
            # Exception, and would end the worker's thread.
            log.exception("taking in %s failed", entry.uri)
            return self._set_aside(
                entry, "unreadable", f"reading it failed unexpectedly: {type(error).__name__}: {error}"
            )

    def _out_of_means(self, entry: LedgerEntry, error: OSError | MemoryError) -> IntakeOutcome:
        """
        The machine could not take the file in: others have their turn first, and after a few attempts it is set aside.

        A full disk or too many open files say nothing of the file, however often.
        """
        self._stumbles[entry.id] += 1
        said = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
        blameless = isinstance(error, OSError) and error.errno in MACHINES_OWN
        if blameless or self._stumbles[entry.id] < MOST_STUMBLES:
            raise Unavailable(
                f"this machine could not take in {entry.uri}: {said}",
                "free some memory or disk; it is tried again after the other files",
            ) from error
        kind, cost = ("too_large", "memory") if isinstance(error, MemoryError) else ("unreadable", "reading")
        log.warning("%s is set aside after %d attempts: %s", entry.uri, MOST_STUMBLES, said)
        return self._set_aside(
            entry,
            kind,
            f"{cost} failed {MOST_STUMBLES} times on this machine, the last time with {said}",
            "upload it in smaller files, or release it (trimtab quarantine release) on a larger machine",
        )

    def _set_aside(self, entry: LedgerEntry, kind: str, reason: str, hint: str = "") -> IntakeOutcome:
        return self._state.ledger.conclude(
            IntakeOutcome(
                entry=entry.id,
                state="quarantined",
                kind=kind,
                reason=reason,
                hint=hint,
                decided_at=self._clock.now(),
                recorded_at=datetime.now(UTC),
            )
        )

    def _advance(self, outcome: IntakeOutcome) -> None:
        if isinstance(self._clock, StreamClock) and outcome.state == "ingested" and outcome.partition:
            self._clock.advance(outcome.partition.last or self._clock.now())
