"""
When drift is an alarm: at most so many false ones a year, whatever the length of the batches.

Each batch says how far it is, as a p-value by the reference's own batches (core.drift). With N batches a year and F
false alarms a year accepted, a batch alarms alone where p <= F / N: whatever the batches share, the expected number of
false alarms a year is then N x F / N = F. A reference of B batches cannot give less than 1 / (B + 1); where that is
coarser than F / N, several batches in a row have to be that far, and the evidence of a row is added up until an alarm
comes, where nothing has changed, only once in N / F batches.

Source: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2023
(Shiryaev-Roberts form, with the e-value 1{p <= a} / a).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trimtab.core.spec.policy import DriftTrigger

YEAR = timedelta(days=365.25)
COARSEST = 0.2  # one in five says nothing, however many alarms are accepted: fewer than four references never alarm
ROUNDING = 5e-5  # reports hold p with four digits


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What a drift report says of one batch.

    Attributes:
        id: Names the batch: an alarm names those that it is made of.
        at: Event time of its newest row.
        p: Least adjusted p of the columns that moved by `minEffect` or more; 1 where none did.
        references: Batches of the reference that it was compared with.
        columns: Those columns, the furthest first.
    """

    id: str
    at: datetime
    p: float
    references: int
    columns: tuple[str, ...] = ()

    @classmethod
    def of_report(cls, id: str, at: datetime, report: Mapping[str, Any], min_effect: float) -> Batch:
        """A batch as its DriftReport, in JSON, tells of it."""
        moved = [column for column in report.get("columns", ()) if column["effect"] >= min_effect]
        moved.sort(key=lambda column: (column["adjusted"], -column["effect"]))
        p = float(moved[0]["adjusted"]) if moved else 1.0
        far = tuple(str(column["column"]) for column in moved if column["adjusted"] <= p + ROUNDING)
        return cls(id, at, p, int(report.get("referenceBatches", 0)), far)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Drift beyond the accepted rate: the batches in a row that make it, and a sentence with the figures."""

    batches: tuple[Batch, ...]
    sentence: str


def level(per_year: float, false_alarms_per_year: float, references: int) -> float:
    """
    How small p must be for a batch to count.

    >>> round(level(26, 2, 25), 4), round(level(365, 2, 25), 4)  # fortnights; days, for which 25 are too coarse
    (0.0769, 0.0385)
    """
    return min(max(false_alarms_per_year / per_year, 1 / (references + 1)), COARSEST)


def alarm(batches: Sequence[Batch], per_year: float, false_alarms_per_year: float) -> Alarm | None:
    """
    The alarm that stands after the newest batch, None where there is none.

    Args:
        batches: Compared with one reference, in order of event time; those that an earlier alarm was made of, or that
            a run has learned, are left out.
        per_year: Batches a year, not 0.
        false_alarms_per_year: Accepted.
    """
    evidence, raised = 0.0, None
    row: list[Batch] = []
    for batch in batches:
        small = level(per_year, false_alarms_per_year, batch.references)
        if batch.p > small + ROUNDING:
            # A batch like the reference's own ends what had begun; an alarm that was raised before it stands.
            evidence, row = 0.0, []
            continue
        evidence, row = (evidence + 1) / small, [*row, batch]
        if evidence >= per_year / false_alarms_per_year:
            raised = Alarm(tuple(row), _sentence(row, false_alarms_per_year))
    return raised


def batches_a_year(times: Sequence[datetime]) -> float | None:
    """
    The rate of batches, by the event times of their newest rows; None for fewer than two different times.

    >>> from datetime import UTC
    >>> fortnights = [datetime(2012, 1, 1, tzinfo=UTC) + timedelta(weeks=2 * n) for n in range(5)]
    >>> round(batches_a_year(fortnights), 1)
    26.1
    """
    ordered = sorted(set(times))
    if len(ordered) < 2:
        return None
    return (len(ordered) - 1) * (YEAR / (ordered[-1] - ordered[0]))


def halved(trigger: DriftTrigger | None) -> DriftTrigger | None:
    """Each detector's share of the accepted alarms, where uploads and requests are both watched."""
    if trigger is None:
        return None
    return trigger.model_copy(update={"false_alarms_per_year": trigger.false_alarms_per_year / 2})


def _sentence(row: Sequence[Batch], false_alarms_per_year: float) -> str:
    names = ", ".join(dict.fromkeys(name for batch in reversed(row) for name in batch.columns[:3]))
    far = "a batch" if len(row) == 1 else f"{len(row)} batches in a row"
    rank = max(batch.p for batch in row)
    return (
        f"{far} further from the reference than its own {row[-1].references} are ({names or 'no column'}; adjusted p "
        f"{rank:.3g}), as it may happen {false_alarms_per_year:g} times a year by chance"
    )
