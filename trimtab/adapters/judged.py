"""
What a version said, beside labels that are mature: from the prediction log where there is one, else from uploads.

A row counts once, because one version is judged by one source: the log, as soon as it holds enough labelled rows of
it, and until then the labelled rows of uploads that are newer than all it learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.adapters import columns as tables
from trimtab.core.joining import own_rows
from trimtab.core.monitor.naive import Micros, naive
from trimtab.core.monitor.performance import LEAST, Judged, Source
from trimtab.core.scoring import Floats, Prediction

if TYPE_CHECKING:
    from trimtab.adapters.models import Champion
    from trimtab.adapters.state import State
    from trimtab.core.records import IntakeOutcome
    from trimtab.core.spec.model import Data

Keys = NDArray[np.uint64] | None  # hashes of the key columns; None where the spec names none
HISTORY = timedelta(weeks=5)  # before the rows: the naive baseline looks back so far


class Uploads:
    """
    Labelled rows of uploads with what a version says of them, each file predicted once. Belongs to one thread.

    Args:
        state: The model's.
        data: The spec's data section.
    """

    def __init__(self, state: State, data: Data) -> None:
        self._state = state
        self._data = data
        self._said: dict[tuple[int, str], tuple[Judged, Keys]] = {}
        self._labels: dict[str, tuple[Micros, Floats]] = {}

    def labels(self, outcomes: Iterable[IntakeOutcome], now: datetime) -> tuple[Micros, Floats]:
        """Event times and labels of all mature labelled rows, by arrival of their files."""
        horizon = _micros(now - self._data.labels.maturity)
        parts = [self._labels_of(outcome.partition.id) for outcome in outcomes if outcome.partition]
        times = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, dtype=np.int64)
        y = np.concatenate([part[1] for part in parts]) if parts else np.empty(0)
        return times[times <= horizon], y[times <= horizon]

    def _labels_of(self, partition: str) -> tuple[Micros, Floats]:
        if partition not in self._labels:
            names = [self._data.timestamp, self._data.target]
            rows = pl.read_parquet(self._state.data.partition(partition), columns=names, glob=False)
            rows = tables.labelled(rows, self._data)
            self._labels[partition] = (event_micros(rows[self._data.timestamp]), tables.truth(rows, self._data))
        return self._labels[partition]

    def judged(self, champion: Champion, outcomes: Sequence[IntakeOutcome], now: datetime) -> Judged:
        """
        The champion on every mature labelled row that is newer than what it learned; where a key repeats, on the last.

        Args:
            champion: Loaded.
            outcomes: Of the uploads that stand in the source, in order of arrival.
            now: The policy clock.

        Raises:
            Invalid: If it cannot predict by the schema of now.
        """
        version = champion.version
        for known in [key for key in self._said if key[0] != version.number]:
            del self._said[known]
        parts = [
            self._part(champion, outcome)
            for outcome in outcomes
            if outcome.state == "ingested" and outcome.partition and outcome.partition.rows
            if outcome.partition.last and outcome.partition.last > version.trained_until
        ]
        found = concatenate("uploads", _last_of_each_key(parts), tables.classes(self._data))
        return _mature(found, now, self._data.labels.maturity)

    def _part(self, champion: Champion, outcome: IntakeOutcome) -> tuple[Judged, Keys]:
        assert outcome.partition is not None, "only ingested files have rows"
        key = (champion.version.number, outcome.partition.id)
        if key not in self._said:
            data = self._data
            rows = pl.read_parquet(self._state.data.partition(outcome.partition.id), glob=False)
            rows = rows.filter(pl.col(data.timestamp) > champion.version.trained_until)
            known = tables.labelled(rows, data)
            times = event_micros(known[data.timestamp])
            # Known once the file is in and the row is old enough, whichever is later.
            at = np.maximum(times + _span(data.labels.maturity), _micros(outcome.decided_at))
            missing = rows.height - known.height
            said = champion.predict(known, data)
            keys = known.select(data.key).hash_rows().to_numpy() if data.key else None
            self._said[key] = Judged("uploads", at, times, tables.truth(known, data), said, None, missing), keys
        return self._said[key]


def _last_of_each_key(parts: Sequence[tuple[Judged, Keys]]) -> list[Judged]:
    """Parts in order of arrival, without the rows that a later arrival brought again."""
    keyed = [keys for _, keys in parts if keys is not None]
    if not keyed:
        return [part for part, _ in parts]
    backwards = np.concatenate(keyed)[::-1]
    last = len(backwards) - 1 - np.unique(backwards, return_index=True)[1]
    keep = np.zeros(len(backwards), dtype=np.bool_)
    keep[last] = True
    ends = np.cumsum([len(part) for part, _ in parts])
    return [part.rows(keep[end - len(part) : end]) for (part, _), end in zip(parts, ends, strict=True)]


def from_log(table: pl.DataFrame, version: int, data: Data, now: datetime, replayed: bool) -> Judged:
    """
    A version's own answers that the gateway returned, with their mature labels.

    Args:
        table: As `adapters.joined` gives it.
        version: Whose.
        data: The spec's data section.
        now: The policy clock.
        replayed: Whether the policy clock is a stream's: then labels come on another clock than rows grow old on, and
            rows are known in the order in which their labels came.
    """
    own = own_rows(table.filter(pl.col("version") == version))
    there = own.filter(pl.col("label").is_not_null() & pl.col("mature") & pl.col("prediction").is_not_null())
    times = event_micros(there.select(pl.coalesce("event_time", "at").alias("at"))["at"])
    received = event_micros(there["label_received"])
    at = received if replayed else np.maximum(received, times + _span(data.labels.maturity))
    order = np.lexsort((times, at))
    missing = own.height - there.height
    return Judged("log", at, times, _codes(there["label"], data), _answers(there, data), None, missing).rows(order)


def answers(table: pl.DataFrame, data: Data) -> Floats:
    """What logged rows were answered: numbers, or codes of classes; NaN where the class is not the schema's."""
    return _codes(table["prediction"], data)


def _answers(table: pl.DataFrame, data: Data) -> Prediction:
    of = tables.classes(data)
    values = answers(table, data)
    names = [f"score_{code}" for code in range(len(of))]
    if not of or any(name not in table.columns for name in names) or not table.height:
        return Prediction(values, classes=len(of))
    if table.select(pl.any_horizontal(pl.col(names).is_null().any())).item():
        return Prediction(values, classes=len(of))
    scores = table.select(names).to_numpy()
    # Decision values rank as well; what is a probability sums to 1.
    probability = bool(((scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) < 1e-6)).all())
    return Prediction(values, scores, probability, len(of))


def _codes(series: pl.Series, data: Data) -> Floats:
    frame = pl.DataFrame({data.target: series})
    return tables.truth(frame, data)


def choose(log: Judged, uploads: Judged, over_rows: int) -> Judged:
    """One source a version: the log where it holds enough labelled rows of it, else the uploads."""
    if len(log) >= min(LEAST, over_rows) or len(log) > len(uploads):
        return log
    return log if log.missing and not len(uploads) else uploads


def with_naive(judged: Judged, known_times: Micros, known: Floats, data: Data) -> Judged:
    """The same rows with what the naive baseline says, from labels of uploads and of these rows themselves."""
    times = np.concatenate([known_times, judged.times])
    labels = np.concatenate([known, judged.y])
    if not len(judged):
        return judged
    near = times >= int(judged.times.min()) - _span(HISTORY)
    said = naive(judged.times, times[near], labels[near], len(tables.classes(data)))
    return replace(judged, naive=said)


def concatenate(source: Source, parts: Sequence[Judged], classes: Sequence[Any]) -> Judged:
    """Parts put together, in the order in which their rows became known."""
    if not parts:
        none = np.empty(0, dtype=np.int64)
        empty = Prediction(np.empty(0), np.empty((0, len(classes))) if classes else None, bool(classes), len(classes))
        return Judged(source, none, none, np.empty(0), empty)
    first, scores = parts[0].prediction, [part.prediction.scores for part in parts]
    known = [each for each in scores if each is not None]
    said = Prediction(
        np.concatenate([part.prediction.values for part in parts]),
        np.concatenate(known) if len(known) == len(parts) else None,
        first.probability,
        first.classes,
    )
    whole = Judged(
        source,
        np.concatenate([part.known_at for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.y for part in parts]),
        said,
        None,
        sum(part.missing for part in parts),
    )
    return whole.rows(np.lexsort((whole.times, whole.known_at)))


def _mature(found: Judged, now: datetime, maturity: timedelta) -> Judged:
    if not maturity:
        return found
    old = found.times <= _micros(now - maturity)
    return replace(found.rows(old), missing=found.missing + int((~old).sum()))


def event_micros(series: pl.Series) -> Micros:
    """Instants as microseconds since 1970."""
    return series.dt.epoch("us").to_numpy().astype(np.int64)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _span(span: timedelta) -> int:
    return int(span.total_seconds() * 1e6)
