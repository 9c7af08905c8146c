"""The demo itself: history, fortnight after fortnight, mishaps in between, and what it all came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.app.demo.account import continuous, events, same_rows
from trimtab.app.demo.mishaps import MISHAPS, REPEATED_DAY, Mishap
from trimtab.app.demo.story import told
from trimtab.app.demo.traffic import Fortnight, Sending
from trimtab.app.demo.trials import TRIALS, Trial
from trimtab.app.demo.watch import JUDGED_SECONDS, Watch
from trimtab.app.report.rollouts import RolloutStory, outcome
from trimtab.app.report.summary import PER_CENT, Incident, Promise, Summary, show
from trimtab.core.comparison import Comparison

if TYPE_CHECKING:
    from datetime import date

    from trimtab.adapters.batches import Batch
    from trimtab.app.demo.stage import Stage
    from trimtab.app.demo.stream import Landed, Stream
    from trimtab.app.status import Status
    from trimtab.core.comparison import Backtest
    from trimtab.core.spec import ContinuousModel

LEAST_GAIN = 0.40  # of never-retrained's error, over the whole year
MOST_RUNS = 14  # a first, and one for every second fortnight; a changed recipe is one more
NOTIFICATIONS = 5
WHOLE_YEAR = 26  # fortnights
Tell = Callable[[str, str, str], None]  # when, what, and how it ended


@dataclass
class Year:
    """
    The stream of the demo.

    Args:
        stage: The platform, and its user's two sides.
        uploads: Where the files are.
        tell: Is told of every step in three parts: stream time, what came, what became of it.
    """

    stage: Stage
    uploads: Path
    tell: Tell
    incidents: list[Incident] = field(default_factory=list)
    fortnights: list[Fortnight] = field(default_factory=list)
    stories: list[RolloutStory] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)  # still to come
    _trial: Trial | None = None  # whose spec stands
    _watch: Watch | None = None

    @property
    def stream(self) -> Stream:
        return self.stage.stream

    @property
    def model(self) -> ContinuousModel:
        return self.stage.platform.model

    def play(self, batches: Sequence[Batch]) -> None:
        """Put the history; then of every fortnight send the traffic, and later put its file, with its mishap before."""
        history, *rest = batches
        data = self.model.spec.data
        self.fortnights = [Fortnight.of(number, batch, data) for number, batch in enumerate(rest, 1)]
        self.trials = [trial for trial in TRIALS if trial.through <= len(rest)]
        self._land(history)
        self.stage.traffic.wait_until_served()
        for fortnight in self.fortnights:
            self._ask(fortnight)
            # Labels come late: the next fortnight's requests are on their way when this one's file lands.
            with Sending(self.stage.traffic, self._next(fortnight)):
                self._put(fortnight)
            labels = self._label(fortnight)
            if self._watch is not None and self._watch.fortnights:
                self._watch.after_labels(labels)
                self._close_if_over(fortnight)
            if self._trial is None and self.trials and self.trials[0].after <= fortnight.number:
                self._open(fortnight)

    def _next(self, fortnight: Fortnight) -> Fortnight | None:
        """The fortnight whose traffic goes on meanwhile; None where a trial is to see all of it."""
        coming = self.trials and self.trials[0].after <= fortnight.number
        if self._trial is not None or coming or fortnight.number >= len(self.fortnights):
            return None
        return self.fortnights[fortnight.number]

    def _ask(self, fortnight: Fortnight) -> None:
        """A fortnight's requests; under a rollout a day at a time, until it has ended."""
        if fortnight.asked:
            return
        if self._watch is None:
            self.stage.traffic.send(fortnight)
            return
        self._watch.fortnights.append(fortnight)
        self._watch.wait_until_settled()
        self.stage.traffic.send(fortnight, self._watch.after_day)
        self.tell(_day(fortnight.times[0]), f"{len(fortnight.rows)} requests", self._answered(fortnight))
        self._watch.wait_for(lambda _: False, 1.5)  # the controller's last look at them
        self._close_if_over(fortnight)

    def _put(self, fortnight: Fortnight) -> None:
        batch = fortnight.batch
        for mishap in MISHAPS:
            if _holds(batch, mishap.day):
                self._mishap(batch, mishap)
        landed = self._land(batch)
        if _holds(batch, REPEATED_DAY):
            self._repeat(batch, landed)

    def _land(self, batch: Batch) -> Landed:
        landed = self.stream.put(batch.name, batch.body)
        self.tell(_day(batch.first), _rows(landed), self._result(landed))
        self._watch_if_begun(landed.status)
        return landed

    def _label(self, fortnight: Fortnight) -> int:
        return self.stage.traffic.label(fortnight)

    def _answered(self, fortnight: Fortnight) -> str:
        counts = Counter(each.version for each in fortnight.asked if not each.failed)
        parts = [f"{count} by v{version}" for version, count in sorted(counts.items(), key=lambda item: str(item[0]))]
        failed = sum(each.failed for each in fortnight.asked)
        return "answered " + ", ".join([*parts, *([f"{failed} FAILED"] if failed else [])])

    # Challengers under traffic

    def _open(self, fortnight: Fortnight) -> None:
        """Edit the spec for the next trial; a recipe of its own is trained at once."""
        self._trial = trial = self.trials.pop(0)
        before = len(self.stream.state.decisions.all())
        what = f"with {trial.estimator.partition(':')[2]}" if trial.estimator else "by canary"
        self.tell(_day(fortnight.end), "the spec is edited", f"{what}, and taken up")
        self.stage.edit(trial)
        if trial.estimator:
            status = self.stream.trained(before, trial.title)
            last = status.last
            self.tell(_day(fortnight.end), "a changed recipe", f"{last.state}: {last.reason}" if last else "")
            self._watch_if_begun(status)

    def _watch_if_begun(self, status: Status) -> None:
        """The rollout of the trial whose spec stands, once a run has made its challenger."""
        if self._trial is None or self._watch is not None or status.last is None or status.last.state != "challenger":
            return
        router = self.stage.platform.traffic
        assert router is not None, "the demo serves"
        spec = self.stream.proposed(status.last.version)
        self._watch = Watch(self._trial, spec, self.stream.state, router, lambda what, how: self.tell("", what, how))

    def _close_if_over(self, fortnight: Fortnight) -> None:
        """Once its rollout has ended, or its time is over: put the spec back, or take the next trial's."""
        watch, trial = self._watch, self._trial
        if watch is None or trial is None or not watch.fortnights:
            return
        if not watch.ended and (fortnight.number < trial.through or not watch.labelled):
            return
        if not watch.ended:
            watch.state.rollouts.ask(watch.spec.number, lambda asked: asked.model_copy(update={"aborted": True}))
            watch.wait_for(lambda _: False, JUDGED_SECONDS)
        watch.close()
        environment = self.stage.platform.environment
        letter = "ABCDEFGH"[len(self.stories)]
        self.stories.append(
            told(letter, watch, self.model, self.uploads, environment.trusted_types, environment.spec_folder)
        )
        self._watch = self._trial = None
        if self.trials and self.trials[0].after <= fortnight.number:
            self._open(fortnight)
            return
        self.tell(_day(fortnight.end), "the spec is put back", "promotions are immediate again")
        self.stage.edit(None)

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
            words = {"champion": f"v{last.version} serves", "challenger": f"v{last.version} has to prove itself"}
            became = words.get(last.state, last.state)
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
    seconds, played = time.monotonic() - began, [trial for trial in TRIALS if trial.through <= fortnights]
    said = show(comparison.metric, foretold.score)
    return Summary(
        title=f"{model.name}: a year of continuous training",
        about=(
            "Hourly demand for rental bicycles in Washington, D.C. The year 2011 is the history; 2012 arrives a "
            "fortnight at a time: its hours are asked about through the gateway, and a fortnight later, when it is "
            "known how many bicycles were rented, they judge the model that serves, and only then may be learned from. "
            f"A backtest of the same spec foretold {said}."
        ),
        source=(
            "Bike Sharing, UCI Machine Learning Repository, Fanaee-T and Gama (2013), CC BY 4.0, "
            "doi.org/10.24432/C5W894"
        ),
        comparison=comparison,
        promises=(
            *promises(comparison, foretold_rows(backtest, comparison), fortnights, played),
            *traffic_promises(year.fortnights, year.stories, played),
        ),
        incidents=tuple(year.incidents),
        rollouts=tuple(year.stories),
        events=events(state),
        facts={"Duration": f"{seconds // 60:.0f} min {seconds % 60:.0f} s", **facts},
        recorded_at=datetime.now(UTC),
    )


def foretold_rows(backtest: Backtest, comparison: Comparison) -> bool:
    """Whether the platform and every policy of the backtest were judged on the same rows."""
    ours = comparison.policies[0].batches
    return all(same_rows(ours, policy.batches) for policy in backtest.comparison.policies)


def promises(
    comparison: Comparison, identical: bool, fortnights: int, played: Sequence[Trial] = ()
) -> tuple[Promise, ...]:
    """What the demo is to show; the gain is promised for the whole year only."""
    runs, gain = len(comparison.policies[0].runs), comparison.gain("never")
    most = min(MOST_RUNS, 1 + fortnights // 2) + sum(bool(trial.estimator) for trial in played)
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


def traffic_promises(
    fortnights: Sequence[Fortnight], stories: Sequence[RolloutStory], trials: Sequence[Trial]
) -> tuple[Promise, ...]:
    """What the demo is to show of the traffic, whose rollouts are judged each for itself besides."""
    asked = [each for fortnight in fortnights for each in fortnight.asked]
    failed = [each for each in asked if each.failed]
    said = f"; the first: {failed[0].status} {failed[0].said[:120]}" if failed else ""
    made = [
        Promise(
            promise="Every request answered, whatever happened behind the gateway",
            found=f"{len(asked) - len(failed):,} of {len(asked):,}{said}",
            kept=bool(asked) and not failed,
        )
    ]
    if trials:
        ends = ", ".join(f"{story.letter} {outcome(story)}" for story in stories)
        made.append(
            Promise(
                promise="The good challenger promoted, the bad ones rolled back",
                found=ends or "none was put under traffic",
                kept=len(stories) == len(trials) and all(story.kept for story in stories),
            )
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
