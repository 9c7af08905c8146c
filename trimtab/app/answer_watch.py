"""What versions are asked and what they say: windows of the prediction log beside what each version learned."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from trimtab.adapters.judged import answers
from trimtab.adapters.state import State
from trimtab.core.drift import MIN_EFFECT, MIN_ROWS
from trimtab.core.errors import NotFound
from trimtab.core.logged import features
from trimtab.core.monitor import answers as windows
from trimtab.core.monitor.alarm import Batch
from trimtab.core.monitor.answers import AnswerWindow
from trimtab.core.monitor.bands import Anomaly
from trimtab.core.monitor.inputs import InputDrift, batch_seconds, measured, summarize
from trimtab.core.profile import Profile, profile
from trimtab.core.records import ModelVersion
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.policy import DriftTrigger

MICROS = 1_000_000
MOST_BATCHES = 400  # kept of a champion: a year of days


class AnswerWatch:
    """Windows of answers by version, and batches of what the champion is asked. Belongs to one thread."""

    def __init__(self, state: State, model: ContinuousModel) -> None:
        self._state = state
        self._model = model
        self._windows: dict[int, list[AnswerWindow]] = {}
        self._read: dict[int, int] = {}  # by version, `number` of the last row that stands in a window
        self._references: dict[int, Profile | None] = {}
        self._batches: dict[int, tuple[Batch, str]] = {}  # by start, seconds since 1970; of `_champion`
        self._champion: int | None = None

    # What they say

    def look(self, table: pl.DataFrame) -> None:
        """Measure the windows that have become full. Raises Unavailable when the store does not answer."""
        data = self._model.spec.data
        for version in table["version"].unique().sort().to_list():
            reference = self._reference(version)
            if reference is None:
                continue
            rows = table.filter((pl.col("version") == version) & (pl.col("number") > self._read.get(version, -1)))
            for start in range(0, rows.height - windows.WINDOW_ROWS + 1, windows.WINDOW_ROWS):
                part = rows.slice(start, windows.WINDOW_ROWS)
                through = int(part["at"].dt.epoch("us").max())  # type: ignore[arg-type]
                asked = features(part, data.features)
                found = windows.window(version, asked, answers(part, data), through, reference)
                self._windows[version] = [*self._windows.get(version, ()), found][-windows.KEPT :]
                self._read[version] = int(part["number"].max())  # type: ignore[arg-type]

    def newest(self) -> tuple[AnswerWindow, ...]:
        """The newest window of each version."""
        return tuple(known[-1] for _, known in sorted(self._windows.items()))

    def anomalies(self, versions: Iterable[int]) -> list[Anomaly]:
        """Of the newest windows of these versions."""
        known = [self._windows[version] for version in versions if version in self._windows]
        return [anomaly for each in known for anomaly in windows.anomalies(each[:-1], each[-1])]

    # What the champion is asked

    def inputs(
        self,
        table: pl.DataFrame,
        champion: ModelVersion,
        trigger: DriftTrigger | None,
        spent: Iterable[str],
        now: datetime,
    ) -> InputDrift | None:
        """
        Drift of the requests, whichever version answered them, against what the champion learned.

        Args:
            table: As `adapters.joined` gives it.
            champion: The version.
            trigger: The spec's, with this detector's share of the false alarms.
            spent: Ids of evidence that started a run before.
            now: The policy clock: a batch is over when its time is.
        """
        reference = self._reference(champion.number)
        if reference is None or not table.height:
            return None
        if self._champion != champion.number:
            self._champion, self._batches = champion.number, {}
        seconds = batch_seconds(reference)
        self._measure(table, champion, reference, seconds, trigger.min_effect if trigger else MIN_EFFECT, now)
        ordered = [self._batches[start] for start in sorted(self._batches)]
        reason = ordered[-1][1] if ordered else ""
        return summarize(champion.number, [batch for batch, _ in ordered], seconds, reason, trigger, spent)

    def _measure(
        self,
        table: pl.DataFrame,
        champion: ModelVersion,
        reference: Profile,
        seconds: int,
        min_effect: float,
        now: datetime,
    ) -> None:
        born = pl.coalesce("event_time", "at")
        rows = table.lazy().filter(~pl.col("shadow"), born > champion.trained_until)
        rows = rows.with_columns((born.dt.epoch("us") // (seconds * MICROS) * seconds).alias("_batch"))
        over = pl.col("_batch") + seconds <= now.timestamp()
        counted = rows.filter(over).group_by("_batch").len().collect()
        due = [start for start, count in counted.iter_rows() if count >= MIN_ROWS and start not in self._batches]
        data = self._model.spec.data
        for start in sorted(due):
            part = rows.filter(pl.col("_batch") == start).collect()
            asked = features(part, data.features)
            times = part.select(pl.coalesce("event_time", "at").alias(data.timestamp))
            batch = profile(
                pl.concat([times, asked.drop(data.timestamp, strict=False)], how="horizontal"), data, reference.bins
            )
            self._batches[start] = measured(champion.number, batch, reference, data.target, min_effect)
        for start in sorted(self._batches)[:-MOST_BATCHES]:
            del self._batches[start]

    def _reference(self, version: int) -> Profile | None:
        if version not in self._references:
            try:
                known = self._state.registry.version(version)
            except NotFound:
                return None
            self._references[version] = (
                Profile.from_dict(self._state.data.profile(known.reference)) if known.reference else None
            )
        return self._references[version]
