"""Drift of what the model is asked: the prediction log in batches of event time, each held to the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from trimtab.core.drift import DriftReport, compare
from trimtab.core.monitor.alarm import YEAR, Alarm, Batch, alarm
from trimtab.core.profile import Profile
from trimtab.core.records import Record
from trimtab.core.spec.policy import DriftTrigger
from trimtab.core.triggering import Sign

DAY = 86_400
HOUR = 3_600
LEAST_ROWS = 100  # of a batch, about: with fewer, the histogram is noise
BATCHES = 20  # of a reference: with fewer, none is rare enough to be an alarm at once


class InputDrift(Record):
    """What the batches of what the champion was asked say; `columns` are the newest's, furthest first."""

    version: int
    batches: int  # measured so far
    batch_seconds: int
    newest: datetime  # end of the newest batch, event time
    p: float  # of the newest batch
    columns: tuple[str, ...] = ()
    reason: str  # of the newest batch
    alarm: str = ""  # empty where none stands
    ids: tuple[str, ...] = ()  # of the batches in the alarm
    per_year: float

    def sign(self) -> Sign | None:
        """What it is to the trigger: nothing without an alarm."""
        if not self.alarm:
            return None
        return Sign(self.ids, f"requests: {self.alarm}", {"requestBatchesPerYear": round(self.per_year, 1)})


def batch_seconds(reference: Profile) -> int:
    """
    How long a batch of the log is.

    A day, or less where the reference is short, so that it has twenty such batches; whole days more where rows are so
    few that a day of them is noise. Each divides a day or is whole days: hours of the day weigh alike where that can
    be.
    """
    lengths = (length for length in (DAY, 12 * HOUR, 6 * HOUR) if reference.span_seconds >= BATCHES * length)
    seconds = next(lengths, HOUR)
    # Requests are taken to be about as frequent as the rows that were learned.
    needed = LEAST_ROWS * reference.span_seconds / max(reference.total, 1)
    if needed > seconds:
        seconds = math.ceil(needed / DAY) * DAY if needed > 6 * HOUR else 6 * HOUR
    return max(seconds, reference.seconds)


def measured(version: int, batch: Profile, reference: Profile, target: str, min_effect: float) -> tuple[Batch, str]:
    """
    One batch of the log beside the reference, and what its report says.

    Args:
        version: The champion.
        batch: Of the features alone, counted into the reference's bins.
        reference: What the champion learned from.
        target: The column that is predicted.
        min_effect: Least effect that counts.
    """
    report: DriftReport = compare(batch, reference, target, min_effect)
    start = int(batch.starts[0]) if len(batch.starts) else 0
    at = batch.last or datetime.fromtimestamp(start, UTC)
    found = Batch.of_report(f"inputs/v{version}/{start}", at, report.to_dict(), min_effect)
    return found, report.reason


def summarize(
    version: int,
    batches: Sequence[Batch],
    seconds: int,
    reason: str,
    trigger: DriftTrigger | None,
    spent: Iterable[str],
) -> InputDrift | None:
    """
    What the batches say together; None before the first.

    Args:
        version: The champion.
        batches: Of it, in order of event time.
        seconds: Length of a batch.
        reason: What the newest one's report says.
        trigger: None: drift is shown and alarms nobody.
        spent: Batches that started a run before.
    """
    if not batches:
        return None
    used, per_year = set(spent), YEAR.total_seconds() / seconds
    fresh = [batch for batch in batches if batch.id not in used]
    raised: Alarm | None = alarm(fresh, per_year, trigger.false_alarms_per_year) if trigger else None
    newest = batches[-1]
    return InputDrift(
        version=version,
        batches=len(batches),
        batch_seconds=seconds,
        newest=newest.at,
        p=newest.p,
        columns=newest.columns,
        reason=reason,
        alarm=raised.sentence if raised else "",
        ids=tuple(batch.id for batch in raised.batches) if raised else (),
        per_year=per_year,
    )
