"""The champion, and every other version with enough labels, on mature labels: for the monitor and for a replay."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters.judged import Uploads, choose, concatenate, from_log, with_naive
from trimtab.adapters.models import Champion
from trimtab.adapters.state import State
from trimtab.adapters.yardsticks import yardstick_of
from trimtab.core.errors import Invalid
from trimtab.core.metrics import Metric
from trimtab.core.monitor.performance import (
    LEAST,
    Judged,
    Performance,
    Yardstick,
    measure,
    metric_of,
    spent_until,
)
from trimtab.core.records import Decision, IntakeOutcome
from trimtab.core.spec.model import ContinuousModel

OVER_ROWS = 5000  # without a performance trigger
MOST_VERSIONS = 3  # beside the champion, the newest ones


class PerformanceWatch:
    """Performance by version. What has not changed is not computed again. Belongs to one thread."""

    def __init__(self, state: State, model: ContinuousModel, replayed: bool) -> None:
        self._state = state
        self._model = model
        self._replayed = replayed
        self._trigger = model.spec.triggers.performance
        self._uploads = Uploads(state, model.spec.data)
        self._yardsticks: dict[int, Yardstick] = {}
        self._known: dict[int, tuple[Hashable, Performance]] = {}

    @property
    def metric(self) -> Metric:
        return metric_of(self._trigger, self._model.spec.evaluation.primary)

    def look(
        self,
        champion: Champion | None,
        table: pl.DataFrame,
        outcomes: Sequence[IntakeOutcome],
        decisions: Iterable[Decision],
        now: datetime,
    ) -> tuple[Performance, ...]:
        """
        Measure the champion, then the others.

        Args:
            champion: Loaded; None where there is none.
            table: As `adapters.joined` gives it.
            outcomes: Of the uploads that stand in the source, in order of arrival.
            decisions: All: what started a run is spent.
            now: The policy clock.

        Raises:
            Unavailable: If the store does not answer.
        """
        number = champion.version.number if champion else None
        logged = [version for version in table["version"].unique().sort().to_list() if version != number]
        found = []
        if champion is not None:
            found.append(self._champion(champion, table, outcomes, decisions, now))
        for version in logged[-MOST_VERSIONS:]:
            judged = from_log(table, version, self._model.spec.data, now, self._replayed)
            if len(judged) >= LEAST:
                found.append(self._measured(version, judged, outcomes, Yardstick(), now, is_champion=False))
        return tuple(found)

    def _champion(
        self,
        champion: Champion,
        table: pl.DataFrame,
        outcomes: Sequence[IntakeOutcome],
        decisions: Iterable[Decision],
        now: datetime,
    ) -> Performance:
        data, version = self._model.spec.data, champion.version
        logged = bool((table["version"] == version.number).any())
        log = (
            from_log(table, version.number, data, now, self._replayed)
            if logged
            else concatenate("log", [], tables.classes(data))
        )
        try:
            uploads = self._uploads.judged(champion, outcomes, now)
        except Invalid:
            # It was made for another schema; the changed training digest brings a new one.
            uploads = concatenate("uploads", [], tables.classes(data))
        judged = choose(log, uploads, self._over_rows)
        if version.number not in self._yardsticks:
            self._yardsticks = {version.number: yardstick_of(self._state, version, self.metric, data)}
        evidence = [dict(decision.evidence.get("performance") or {}) for decision in decisions]
        spent = spent_until(evidence, version.number, judged.source)
        yardstick = replace(self._yardsticks[version.number], spent=spent)
        return self._measured(version.number, judged, outcomes, yardstick, now, is_champion=True)

    def _measured(
        self,
        version: int,
        judged: Judged,
        outcomes: Sequence[IntakeOutcome],
        yardstick: Yardstick,
        now: datetime,
        is_champion: bool,
    ) -> Performance:
        through = int(judged.known_at[-1]) if len(judged) else 0
        # Corrected labels change no count: their sum tells of them.
        print_of: Hashable = (judged.source, len(judged), through, judged.missing, float(judged.y.sum()), yardstick)
        if version in self._known and self._known[version][0] == print_of:
            return self._known[version][1]
        times, labels = self._uploads.labels(outcomes, now)
        evaluation = self._model.spec.evaluation
        performance = measure(
            version,
            with_naive(judged, times, labels, self._model.spec.data),
            self.metric,
            self._over_rows,
            yardstick,
            self._trigger if is_champion else None,
            evaluation.confidence,
            max(int(evaluation.block / timedelta(seconds=1)), 1),
        )
        self._known[version] = (print_of, performance)
        return performance

    @property
    def _over_rows(self) -> int:
        return self._trigger.over_rows if self._trigger else OVER_ROWS
