"""
How the champion does on labels that are mature: a value with an interval, what is still missing, and what is proven.

Beside it stands a naive baseline on the same rows. A season that is hard for everybody makes both worse, so
`dropFromBaseline` grants the champion what the baseline lost; `worseThan` is a promise in the metric's own unit and
grants nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.core.bootstrap import Interval, blocks_of, interval
from trimtab.core.metrics import METRICS, Metric
from trimtab.core.monitor.proof import badness, block_badness, from_badness, prove, rows_a_block
from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction
from trimtab.core.spec.policy import PerformanceTrigger
from trimtab.core.triggering import Sign

Source = Literal["log", "uploads"]
Micros = NDArray[np.int64]
LEAST = 200  # rows: with fewer nothing is said of the champion


@dataclass(frozen=True)
class Judged:
    """
    Rows that a version answered and whose labels are mature, in the order in which that became known.

    Attributes:
        known_at: When the label was there and old enough, policy clock, microseconds since 1970, ascending.
        times: Event time, microseconds since 1970.
        y: Truth, as metrics take it.
        prediction: What the version said.
        naive: What the baseline says, uniform with `prediction`; None where nothing is known to make one of.
        missing: Answers without a mature label: too young, or never labelled.
    """

    source: Source
    known_at: Micros
    times: Micros
    y: Floats
    prediction: Prediction
    naive: Prediction | None = None
    missing: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Judged:
        """Those where `keep`, or those by these numbers, in their order."""
        naive = None if self.naive is None else self.naive.rows(keep)
        return Judged(
            self.source,
            self.known_at[keep],
            self.times[keep],
            self.y[keep],
            self.prediction.rows(keep),
            naive,
            self.missing,
        )


@dataclass(frozen=True, slots=True)
class Yardstick:
    """
    What the champion is held to.

    Attributes:
        evaluated: The metric in the champion's own evaluation; None where it was not computed there.
        naive: The baseline's on those rows.
        spent: Rows known until then (microseconds) started a run already: only newer ones are evidence.
    """

    evaluated: float | None = None
    naive: float | None = None
    spent: int = 0


class Performance(Record):
    """
    A version on its newest mature rows. Values are in the metric's own unit and direction.

    `bound` is anytime-valid: the value is beyond it for certain (below, where greater is better), to `confidence`.
    """

    version: int
    metric: str
    source: Source
    rows: int  # the value is computed from
    mature: int  # rows in all
    missing_share: float  # of all that was answered: no label yet, or one too young to count
    value: Interval
    naive: float | None = None  # the baseline on the same rows
    evaluated: float | None = None
    naive_evaluated: float | None = None  # the baseline on the rows of the evaluation
    season: float = 1.0  # how many times worse the baseline is than it was there; 1 where it is not
    limit: float | None = None
    bound: float | None = None
    confidence: float
    blocks: int = 0  # that the proof rests on
    proven: bool = False
    through: int = 0  # microseconds: when the newest row became known
    reason: str

    def sign(self) -> Sign | None:
        """What it is to the trigger: nothing, unless it is proven."""
        if not self.proven:
            return None
        figures = {
            **self.model_dump(mode="json", by_alias=True, include={"version", "metric", "source", "rows", "through"}),
            "value": self.value.point,
            "bound": self.bound,
            "limit": self.limit,
            "naive": self.naive,
            "missingShare": self.missing_share,
        }
        return Sign((f"performance/v{self.version}/{self.source}/{self.through}",), self.reason, figures)


def measure(
    version: int,
    judged: Judged,
    metric: Metric,
    over_rows: int,
    yardstick: Yardstick,
    trigger: PerformanceTrigger | None,
    confidence: float,
    block_seconds: int,
) -> Performance:
    """
    Measure one version.

    Args:
        version: Its number.
        judged: Every row of it that is known, oldest first.
        metric: The trigger's; without a trigger the primary one.
        over_rows: The value is of the newest so many.
        yardstick: What it is held to.
        trigger: None: nothing is held against it.
        confidence: Of the interval and of the proof.
        block_seconds: Of the interval's bootstrap over event time.
    """
    newest = judged.rows(np.arange(len(judged)) >= len(judged) - over_rows)
    value = _interval(metric, newest, confidence, block_seconds)
    naive = _naive(metric, newest)
    season = _season(metric, naive, yardstick.naive)
    limit = _limit(metric, trigger, yardstick, season)
    fresh = judged.rows(judged.known_at > yardstick.spent)
    size = rows_a_block(over_rows)
    enough = len(fresh) >= LEAST and _measurable(metric, fresh)
    blocks = block_badness(metric, fresh.y, fresh.prediction, size) if enough else np.empty(0)
    proof = prove(blocks, math.inf if limit is None else badness(metric, limit), over_rows // size, 1 - confidence)
    # The blocks' mean and the whole window's value differ a little for some metrics: both have to be beyond.
    beyond = limit is not None and value.point is not None and metric.better(limit, value.point)
    bound = from_badness(metric, proof.bound) if proof.blocks and proof.bound > 0 else None
    answered = len(judged) + judged.missing
    found = Performance(
        version=version,
        metric=metric.name,
        source=judged.source,
        rows=len(newest),
        mature=len(judged),
        missing_share=round(judged.missing / answered, 4) if answered else 0.0,
        value=value,
        naive=naive,
        evaluated=yardstick.evaluated,
        naive_evaluated=yardstick.naive,
        season=round(season, 4),
        limit=limit,
        bound=bound,
        confidence=confidence,
        blocks=proof.blocks,
        proven=proof.crossed and beyond,
        through=int(judged.known_at[-1]) if len(judged) else 0,
        reason="",
    )
    return found.model_copy(update={"reason": _sentence(found, metric, trigger, len(fresh))})


def _interval(metric: Metric, newest: Judged, confidence: float, block_seconds: int) -> Interval:
    if not len(newest) or not _measurable(metric, newest):
        return Interval(point=None)
    seconds = (newest.times - newest.times.min()) // 1_000_000
    return interval(metric.name, newest.y, newest.prediction, blocks_of(seconds, block_seconds, seed=0), confidence)


def _measurable(metric: Metric, judged: Judged) -> bool:
    """Whether the version gave what the metric needs: some estimators name a class and no score."""
    said = judged.prediction
    return metric.needs == "label" or (said.scores is not None and (said.probability or not metric.probability))


def _naive(metric: Metric, newest: Judged) -> float | None:
    if newest.naive is None or not len(newest):
        return None
    # Where nothing was known beforehand the baseline says nothing.
    says = ~np.isnan(newest.naive.values)
    value = metric.compute(newest.y[says], newest.naive.rows(says))
    return float(value) if math.isfinite(value) else None


def _season(metric: Metric, now: float | None, then: float | None) -> float:
    """How many times worse the baseline does than on the rows of the champion's evaluation; at least 1."""
    if now is None or then is None or badness(metric, then) <= 0:
        return 1.0
    return max(1.0, badness(metric, now) / badness(metric, then))


def _limit(metric: Metric, trigger: PerformanceTrigger | None, yardstick: Yardstick, season: float) -> float | None:
    if trigger is None:
        return None
    if trigger.worse_than is not None:
        return trigger.worse_than
    if yardstick.evaluated is None or trigger.drop_from_baseline is None:
        return None
    return from_badness(metric, badness(metric, yardstick.evaluated) * season + trigger.drop_from_baseline)


def _sentence(found: Performance, metric: Metric, trigger: PerformanceTrigger | None, fresh: int) -> str:
    if found.value.point is None:
        lacking = "its answers hold no scores" if found.rows else "there are no mature labels yet"
        return f"v{found.version}: no {metric.name}: {lacking}"
    value = f"v{found.version}: {metric.name} {found.value.point:.4g} on the newest {found.rows} mature rows"
    if found.naive is not None:
        value += f" (naive baseline {found.naive:.4g})"
    if trigger is None:
        return value
    if found.limit is None:
        return f"{value}; its own evaluation holds no {metric.name} to drop from, the next version's will"
    side = "below" if metric.greater_is_better else "above"
    limit = f"{found.limit:.4g}{', the season granted' if found.season > 1 and trigger.drop_from_baseline else ''}"
    if found.proven:
        certain = f"{side} {found.bound:.4g} at {found.confidence:.0%}" if found.bound is not None else side
        return f"{value}: proven {certain}, and {limit} is the limit"
    if fresh < LEAST:
        return f"{value}; {fresh} new rows prove nothing, {LEAST} are needed"
    return f"{value}; not proven to be {side} the limit {limit}"


def spent_until(evidence: list[dict[str, object]], version: int, source: Source) -> int:
    """
    Until when rows of this version started a run already.

    Args:
        evidence: The decisions', each the part about performance.

    >>> spent_until([{"version": 3, "source": "log", "through": 7}, {"version": 2, "source": "log"}], 3, "log")
    7
    """
    marks = [e.get("through", 0) for e in evidence if (e.get("version"), e.get("source")) == (version, source)]
    return max((mark for mark in marks if isinstance(mark, int)), default=0)


def moment(micros: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime.fromtimestamp(micros / 1e6, UTC)


def metric_of(trigger: PerformanceTrigger | None, primary: str) -> Metric:
    """The metric that is watched: the trigger's, else the evaluation's primary one."""
    return METRICS[trigger.metric if trigger else primary]
