"""
The evaluation of a candidate on rows it has not seen: metrics with intervals, beside the champion's, and by slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from trimtab.core.bootstrap import Blocks, Interval, blocks_of, difference, interval
from trimtab.core.curves import Curves, curves
from trimtab.core.errors import Invalid
from trimtab.core.metrics import METRICS
from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction
from trimtab.core.serving_check import ServingCheck
from trimtab.core.spec.model import Evaluation as Policy
from trimtab.core.verdict import Result, State, verdict

MIN_FRESH_ROWS = 200  # after a champion's own trainedUntil; fewer are no comparison
MAX_SLICE_VALUES = 20  # of a column, the most frequent ones


class SliceResult(Record):
    """The primary metric on the rows where `column` is `value`; reported, never decides."""

    column: str
    value: str
    rows: int
    candidate: Interval
    champion: Interval | None = None
    difference: Interval | None = None


class Evaluation(Record):
    """
    How a candidate was judged. Values are in each metric's own unit and direction; differences are candidate minus
    champion, on the rows that neither has seen.
    """

    result: Result
    state: State
    reason: str
    primary: str
    greater_is_better: bool
    champion: int | None  # the version it was judged against
    champion_trained_until: datetime | None = None
    holdout_start: datetime
    holdout_end: datetime
    rows: int  # of the holdout
    compared_rows: int  # of them, after the champion's own trainedUntil
    blocks: int
    block_seconds: int
    confidence: float
    margin: float
    floor: float | None
    candidate: dict[str, Interval]
    champion_metrics: dict[str, Interval]
    difference: dict[str, Interval]
    slices: tuple[SliceResult, ...] = ()
    curves: Curves | None = None  # of a classifier
    note: str = ""
    serving: ServingCheck | None = None  # None where none was made: it was rejected before, or in a backtest

    @property
    def accepted(self) -> bool:
        return self.state != "rejected"


@dataclass(frozen=True)
class Holdout:
    """
    The rows that are judged.

    Attributes:
        y: Truth, as metrics take it.
        times: Event times in microseconds since 1970, shape (rows,).
        start: Cut c, where the holdout begins; `end` lies just after its newest row.
        slices: By column, codes (below 0: missing) and names of its values.
        classes: The target's, in the order of their codes; empty for a regression.
    """

    y: Floats
    times: NDArray[np.int64]
    start: datetime
    end: datetime
    slices: Mapping[str, tuple[NDArray[np.intp], Sequence[str]]]
    classes: tuple[object, ...] = ()


@dataclass(frozen=True)
class Rival:
    """The champion that stands: its predictions of the same rows, or why it has none."""

    version: int
    trained_until: datetime
    prediction: Prediction | None
    note: str = ""


def evaluate(
    holdout: Holdout, candidate: Prediction, rival: Rival | None, policy: Policy, *, immediate: bool, seed: int
) -> Evaluation:
    """
    Judge a candidate by itself and, where there is a champion, beside it on the same rows.

    A champion that cannot predict these rows any more (its columns, its task or its artifact are gone) is no rival:
    the candidate is judged as a first model, by the floor.

    Raises:
        Invalid: If a metric needs scores that the estimator does not give.
    """
    names = tuple(dict.fromkeys((policy.primary, *policy.reported)))
    _check_scores(names, candidate)
    blocks = _blocks(holdout, policy, seed)
    own = {name: interval(name, holdout.y, candidate, blocks, policy.confidence) for name in names}
    fresh, note = _fresh(holdout, rival)
    beside: dict[str, Interval] = {}
    gained: dict[str, Interval] = {}
    other = rival.prediction if rival and fresh is not None else None
    if other is not None and fresh is not None:
        theirs, ours, y = other.rows(fresh), candidate.rows(fresh), holdout.y[fresh]
        paired = blocks if fresh.all() else blocks.rows(fresh, seed)
        # A former estimator may have given no scores: then only what it gives is compared.
        shared = [name for name in names if gives(name, theirs)]
        beside = {name: interval(name, y, theirs, paired, policy.confidence) for name in shared}
        gained = {name: difference(name, y, ours, theirs, paired, policy.confidence) for name in shared}
    judged_against = rival.version if rival and rival.prediction is not None else None
    decided = verdict(
        METRICS[policy.primary],
        own[policy.primary],
        gained.get(policy.primary),
        champion=judged_against,
        margin=policy.margin,
        floor=policy.floor,
        immediate=immediate,
        note=note,
    )
    return Evaluation(
        result=decided.result,
        state=decided.state,
        reason=decided.reason,
        primary=policy.primary,
        greater_is_better=METRICS[policy.primary].greater_is_better,
        champion=rival.version if rival else None,
        champion_trained_until=rival.trained_until if rival else None,
        holdout_start=holdout.start,
        holdout_end=holdout.end,
        rows=len(holdout.y),
        compared_rows=int(fresh.sum()) if other is not None and fresh is not None else 0,
        blocks=blocks.number,
        block_seconds=int(policy.block.total_seconds()),
        confidence=policy.confidence,
        margin=policy.margin,
        floor=policy.floor,
        candidate=own,
        champion_metrics=beside,
        difference=gained,
        slices=_by_slice(holdout, candidate, other, fresh, blocks, policy, seed),
        curves=curves(holdout.y, candidate, holdout.classes) if holdout.classes else None,
        note=note,
    )


def _blocks(holdout: Holdout, policy: Policy, seed: int) -> Blocks:
    since = (holdout.times - _micros(holdout.start)) // 1_000_000
    return blocks_of(since, int(policy.block.total_seconds()), seed)


def _fresh(holdout: Holdout, rival: Rival | None) -> tuple[NDArray[np.bool_] | None, str]:
    """Rows that the champion has not learned, or None and why there is no comparison."""
    if rival is None:
        return None, ""
    if rival.prediction is None:
        return None, f"v{rival.version} cannot predict these rows any more: {rival.note}"
    if rival.trained_until < holdout.start:
        return np.ones(len(holdout.y), dtype=bool), ""
    fresh = holdout.times > _micros(rival.trained_until)
    if fresh.sum() < MIN_FRESH_ROWS:
        return None, (
            f"only {int(fresh.sum())} rows are newer than what it was trained on "
            f"(until {rival.trained_until:%Y-%m-%d %H:%M}); {MIN_FRESH_ROWS} are needed"
        )
    return fresh, ""


def _by_slice(
    holdout: Holdout,
    candidate: Prediction,
    other: Prediction | None,
    fresh: NDArray[np.bool_] | None,
    blocks: Blocks,
    policy: Policy,
    seed: int,
) -> tuple[SliceResult, ...]:
    results = []
    for column, (codes, values) in holdout.slices.items():
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        frequent = sorted(np.argsort(-counts, kind="stable")[:MAX_SLICE_VALUES].tolist())
        for code in (code for code in frequent if counts[code]):
            keep = codes == code
            part = blocks.rows(keep, seed)
            y, ours = holdout.y[keep], candidate.rows(keep)
            own = interval(policy.primary, y, ours, part, policy.confidence)
            theirs = gained = None
            both = keep if fresh is None else keep & fresh
            if other is not None and both.any() and gives(policy.primary, other):
                paired = blocks.rows(both, seed)
                rows = (policy.primary, holdout.y[both])
                theirs = interval(*rows, other.rows(both), paired, policy.confidence)
                gained = difference(*rows, candidate.rows(both), other.rows(both), paired, policy.confidence)
            results.append(
                SliceResult(
                    column=column,
                    value=values[code],
                    rows=int(keep.sum()),
                    candidate=own,
                    champion=theirs,
                    difference=gained,
                )
            )
    return tuple(results)


def gives(name: str, prediction: Prediction) -> bool:
    """Whether a prediction has what a metric needs: labels, scores, or probabilities."""
    metric = METRICS[name]
    if metric.needs == "label":
        return True
    return prediction.scores is not None and (prediction.probability or not metric.probability)


def _check_scores(names: Sequence[str], candidate: Prediction) -> None:
    lacking = [name for name in names if not gives(name, candidate)]
    if lacking:
        kind = "probabilities" if candidate.scores is not None else "scores"
        raise Invalid(
            f"the estimator gives no {kind}; {', '.join(lacking)} need them",
            "take an estimator with predict_proba, or metrics of labels such as accuracy or f1",
        )


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
