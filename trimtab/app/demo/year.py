"""The demo itself: history, fortnight after fortnight, mishaps in between, and what it all came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trimtab.app.demo.account import continuous, events, same_rows
from trimtab.app.demo.mishaps import MISHAPS, REPEATED_DAY, Mishap
from trimtab.app.report.summary import PER_CENT, Incident, Promise, Summary, show
from trimtab.core.comparison import Comparison

if TYPE_CHECKING:
    from datetime import date

    from trimtab.adapters.batches import Batch
    from trimtab.app.demo.stream import Landed, Stream
    from trimtab.core.comparison import Backtest
    from trimtab.core.spec import ContinuousModel

LEAST_GAIN = 0.40  # of never-retrained's error, over the whole year
MOST_RUNS = 14
NOTIFICATIONS = 5
WHOLE_YEAR = 26  # fortnights
Tell = Callable[[str, str, str], None]  # when, what, and how it ended


@dataclass
class Year:
    """
    The stream of the demo.

    Args:
        stream: The platform's user.
        model: Its spec.
        tell: Is told of every step in three parts: stream time, what came, what became of it.
    """

    stream: Stream
    model: ContinuousModel
    tell: Tell
    incidents: list[Incident] = field(default_factory=list)

    def play(self, batches: Sequence[Batch]) -> None:
        """Put every batch, and where one has a mishap, its bad twin before it."""
        for batch in batches:
            for mishap in MISHAPS:
                if _holds(batch, mishap.day):
                    self._mishap(batch, mishap)
            landed = self.stream.put(batch.name, batch.body)
            self.tell(_day(batch.first), _rows(landed), self._result(landed))
            if _holds(batch, REPEATED_DAY):
                self._repeat(batch, landed)

    def _result(self, landed: Landed) -> str:
        """What an upload's champion scored on it, and what it started."""
        primary, judged = self.model.spec.evaluation.primary, landed.outcome.judgement
        parts = []
        if landed.outcome.state != "ingested":
            return f"{landed.outcome.state}: {landed.outcome.reason}"
        if judged is not None:
            parts.append(f"v{judged.version} is off by {show(primary, judged.metrics[primary])}")
        last, status = landed.status.last, landed.status
        decision = next((d for d in self.stream.state.decisions.all() if landed.outcome.entry in d.entries), None)
        if decision is not None and last is not None and last.decision == decision.number:
            became = f"v{last.version} serves" if last.state == "champion" else last.state
            parts.append(f"trained in {landed.seconds:.0f} s, {became}")
        elif status.held is not None:
            parts.append(f"{status.held.kind}: {status.held.reason}")
        return "; ".join(parts)

    # What goes wrong on purpose

    def _mishap(self, batch: Batch, mishap: Mishap) -> None:
        stem, _, suffix = batch.name.rpartition(".")
        before = self._standing()
        landed = self.stream.put(f"{stem}-{mishap.name}.{suffix}", mishap.spoil(batch.body))
        outcome = landed.outcome
        journalled = any(
            entry.id == f"ledger/{outcome.entry}/quarantined" for entry in self.stream.state.journal.entries()
        )
        kept = (
            outcome.state == "quarantined" and outcome.kind == mishap.kind and journalled and self._standing() == before
        )
        self._note(batch, mishap.what, mishap.did, f"{outcome.state}: {outcome.reason}", outcome.kind, kept)

    def _standing(self) -> tuple[int, int]:
        """Decisions and manifests: a bad file must not add to either."""
        return len(self.stream.state.decisions.all()), len(self.stream.state.registry.manifests())

    def _repeat(self, batch: Batch, landed: Landed) -> None:
        """The same object told of again and again, and then its bytes under another key."""
        before = self._standing()
        for _ in range(NOTIFICATIONS):
            self.stream.notify(landed.key, landed.etag, len(batch.body))
        copy = self.stream.put(f"copy-of-{batch.name}", batch.body)
        entries = [entry for entry in self.stream.state.ledger.entries().values() if entry.key == landed.key]
        kept = (
            len(entries) == 1
            and copy.outcome.state == "duplicate"
            and copy.outcome.duplicate_of == landed.outcome.entry
            and self._standing() == before
        )
        did = f"A good file was notified {NOTIFICATIONS} times, and put again under another key."
        found = f"{len(entries)} ledger entry for the file; its copy is a {copy.outcome.state}: {copy.outcome.reason}"
        self._note(batch, "told five times, copied", did, found, copy.outcome.state, kept)

    def _note(self, batch: Batch, what: str, did: str, found: str, kind: str, kept: bool) -> None:
        at = batch.first or datetime.now(UTC)
        found = found[0].upper() + found[1:]
        self.incidents.append(Incident(at=at, what=what, did=did, found=found, kind=kind, kept=kept))
        first = found.partition(";")[0]
        self.tell(_day(at), what, first if kept else f"NOT AS IT SHOULD BE: {found}")


def account(year: Year, backtest: Backtest, fortnights: int, began: float, facts: dict[str, str]) -> Summary:
    """Everything the report shows, and which of the demo's promises were kept."""
    model, state = year.model, year.stream.state
    foretold = backtest.comparison.policies[0]
    ours = continuous(state, model.spec.evaluation.primary, foretold.what)
    comparison = backtest.comparison.model_copy(update={"policies": (ours, *backtest.comparison.policies[1:])})
    seconds = time.monotonic() - began
    said = show(comparison.metric, foretold.score)
    return Summary(
        title=f"{model.name}: a year of continuous training",
        about=(
            "Hourly demand for rental bicycles in Washington, D.C. The year 2011 is the history; 2012 arrives a "
            "fortnight at a time. Each first judges the model that serves, and only then may be learned from. "
            f"A backtest of the same spec foretold {said}."
        ),
        source=(
            "Bike Sharing, UCI Machine Learning Repository, Fanaee-T and Gama (2013), CC BY 4.0, "
            "doi.org/10.24432/C5W894"
        ),
        comparison=comparison,
        promises=promises(comparison, foretold_rows(backtest, comparison), fortnights),
        incidents=tuple(year.incidents),
        events=events(state),
        facts={"Duration": f"{seconds // 60:.0f} min {seconds % 60:.0f} s", **facts},
        recorded_at=datetime.now(UTC),
    )


def foretold_rows(backtest: Backtest, comparison: Comparison) -> bool:
    """Whether the platform and every policy of the backtest were judged on the same rows."""
    ours = comparison.policies[0].batches
    return all(same_rows(ours, policy.batches) for policy in backtest.comparison.policies)


def promises(comparison: Comparison, identical: bool, fortnights: int) -> tuple[Promise, ...]:
    """What the demo is to show; the gain is promised for the whole year only."""
    runs, gain = len(comparison.policies[0].runs), comparison.gain("never")
    most = min(MOST_RUNS, 1 + fortnights // 2)
    made = [
        Promise(
            promise="Every policy judged on identical rows",
            found=f"{comparison.rows:,} rows" if identical else "they differ",
            kept=identical,
        ),
        Promise(promise=f"At most {most} training runs", found=str(runs), kept=runs <= most),
    ]
    if fortnights >= WHOLE_YEAR and gain is not None:
        made.insert(
            0,
            Promise(
                promise=f"At least {LEAST_GAIN:.0%} less error than a model that is never retrained".replace(
                    "%", PER_CENT
                ),
                found=f"{100 * gain:.0f}{PER_CENT} less",
                kept=gain >= LEAST_GAIN,
            ),
        )
    return tuple(made)


def _holds(batch: Batch, day: date) -> bool:
    # The history is no place for mishaps: nothing is known yet to see them by.
    if batch.first is None or batch.last is None or batch.first.year < day.year:
        return False
    return batch.first.date() <= day <= batch.last.date()


def _rows(landed: Landed) -> str:
    partition = landed.outcome.partition
    return f"{partition.rows:,} rows" if partition else landed.outcome.state


def _day(at: datetime | None) -> str:
    return f"{at.day} {at:%b %Y}" if at else ""
