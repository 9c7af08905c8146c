"""Which rows a run learns from and which it is judged on."""

from __future__ import annotations

from datetime import datetime

from trimtab.core.records import Record


class TrainingWindow(Record):
    """
    The candidate learns from rows with start <= event time < cut and is judged on cut <= event time < end.

    Only labelled rows count. `end` lies a microsecond after the newest of them, so that every interval here is
    half open and a holdout of 2w holds exactly two weeks.
    """

    dataset: str  # digest of the DatasetVersion
    strategy: str
    start: datetime
    cut: datetime
    end: datetime
    rows: int
    holdout_rows: int
    why: str  # one sentence
    class_shares: dict[str, float]  # of the window's rows; empty for a regression
