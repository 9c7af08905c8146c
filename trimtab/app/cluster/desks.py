"""One model's desk in the listener of a cluster: its uploads, labels, and runs on demand."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from trimtab.adapters.requests import Requests
from trimtab.adapters.state import State
from trimtab.app.clocks import WallClock
from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.waking import Waking
from trimtab.app.events import Event
from trimtab.app.intake import Intake
from trimtab.app.labels import Labels
from trimtab.app.status import read_status
from trimtab.core.ports import Buckets
from trimtab.core.spec.units import split_s3

LISTING_SECONDS = 30.0
COMPACTION_SECONDS = 300.0


class ClusterDesk:
    """
    What the listener hands its callers' wishes for one model to, and what its worker knows of it.

    `note`, `add_labels`, `ask_run` and `status_json` are safe in any thread; all else belongs to the worker.

    Args:
        wake: Tells the controller that something was asked.
        owner: Unique among living processes.
        listing_seconds: Between two listings of the source; what no event told of is found by then.
    """

    def __init__(
        self,
        listed: Listed,
        state: State,
        buckets: Buckets,
        wake: Waking,
        owner: str,
        trusted_types: tuple[str, ...] = (),
        listing_seconds: float = LISTING_SECONDS,
    ) -> None:
        self.listed = listed
        self.state = state
        self._wake = wake
        self._listing_seconds = listing_seconds
        model, clock = listed.model, WallClock()
        self.intake = Intake(state, buckets, model, clock, trusted_types)
        self._labels = Labels(state, buckets, model, clock, owner, seconds=COMPACTION_SECONDS)
        self._requests = Requests(state)
        source = model.spec.data.labels.source
        self._label_place = split_s3(source) if source else ("", "")
        self._source_place = (model.spec.data.bucket, model.spec.data.prefix)
        self._list_at = time.monotonic()  # when the source is to be listed next
        self._compact_at = time.monotonic() + COMPACTION_SECONDS
        self._spec = ""
        self._noted = listed.noted
        self.listed_once = False  # whether the source was compared with the ledger by this process
        self.news = False  # something was taken in that the controller was not told of yet
        self.failures = 0
        self.rests_until = 0.0  # monotonic seconds: after something did not work
        self.trouble = self.job_trouble = ""

    @property
    def key(self) -> Key:
        return self.listed.key

    @property
    def model_name(self) -> str:
        return self.key[1]

    @property
    def problem(self) -> str:
        """What does not work just now; empty when all does."""
        return self.trouble or self.job_trouble or self.intake.problem

    def counts(self) -> dict[str, int]:
        """Uploads by what became of them, as this replica knows."""
        counted: Counter[str] = Counter(outcome.state for outcome in list(self.intake.outcomes.values()))
        waiting = max(0, len(self.intake.entries()) - counted.total())
        return {"pending": waiting, "ingested": 0, "quarantined": 0, "duplicate": 0, **counted}

    # What callers ask

    def note(self, events: list[Event]) -> int:
        new = self.intake.note(event for event in events if event.key)
        for event in events:
            of_labels = bool(self._label_place[0]) and event.bucket == self._label_place[0]
            labels = of_labels and event.key.startswith(self._label_place[1])
            unnamed = not event.key and event.bucket in ("", self._source_place[0])
            if labels or unnamed:
                self.list_again_in(0.0)
        return new

    def ask_run(self) -> str:
        request = self._requests.ask("api").id
        self._wake.tell(self.key)
        return request

    def add_labels(self, body: bytes) -> int:
        return self._labels.add(body)

    def wake_rollouts(self) -> None:
        self._wake.tell(self.key)

    def status_json(self) -> dict[str, Any]:
        found = read_status(self.state).to_json()
        problems = [*found.get("problems", ()), *filter(None, (self.problem,))]
        return found | {"namespace": self.key[0], "problems": problems}

    def metrics_text(self) -> bytes:
        from trimtab.app.cluster.measures import intake_metrics

        return intake_metrics(True, {self.key: self}, {})

    # What the worker does

    def listing_due(self) -> bool:
        """Whether the source is to be listed now; also when another replica has written something down."""
        if self.listed.noted != self._noted:
            self._noted = self.listed.noted
            return True
        return time.monotonic() >= self._list_at

    def list_again_in(self, seconds: float) -> None:
        """List in so many seconds, if not sooner."""
        self._list_at = min(self._list_at, time.monotonic() + seconds)

    def until_listing(self) -> float:
        """Seconds."""
        return max(0.05, self._list_at - time.monotonic())

    def list_all(self) -> None:
        """
        Compare the source with the ledger, and take in files of labels that are new.

        Raises:
            Unavailable: If the store does not answer.
        """
        before = len(self.intake.outcomes)
        self._list_at = time.monotonic() + self._listing_seconds
        try:
            self.intake.reconcile()
            self.listed_once = True
            self.news = self.news or len(self.intake.outcomes) != before
            self.news = bool(self._labels.look()) or self.news
        except Exception:
            self._list_at = 0.0  # still due: a turn without it would pass for one that went well
            raise
        if time.monotonic() >= self._compact_at:
            self._compact_at = time.monotonic() + COMPACTION_SECONDS
            self._labels.compact()

    def pending(self) -> int:
        return len(self.intake.pending())

    def take_next(self) -> None:
        """Take in the oldest upload that waits, if any. Raises Unavailable as `Intake.take_next`."""
        if self.intake.take_next() is not None:
            self.news = True

    def spec_address(self) -> str:
        """Where the spec's text stands, put there by the first call."""
        if not self._spec:
            self._spec = self.state.uri(self.state.layout.spec(self.state.data.put_spec(self.listed.text)))
        return self._spec
