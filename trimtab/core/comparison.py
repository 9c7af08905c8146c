"""
Policies side by side on identical rows: what each batch cost under each of them, and what training they spent.

A batch always judges a policy's model before the model may learn from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from trimtab.core.records import Record

PolicyName = Literal["trimtab", "never", "everything", "window", "lastWeek"]


class BatchScore(Record):
    """One batch under one policy. `value` is the primary metric; `numerator / denominator` pools over batches."""

    start: datetime  # event time of the oldest judged row
    end: datetime
    rows: int
    value: float
    numerator: float
    denominator: float


class TrainingRun(Record):
    """One training run: when on the stream's clock, why it began, how it ended."""

    at: datetime
    reason: str  # the trigger: upload | schedule | ...; `always` or `once` for the baselines
    why: str  # one sentence with the figures that fired it
    outcome: str  # champion | rejected | failed | ...
    outcome_reason: str = ""
    version: int | None = None
    fits: int = 1
    seconds: float = 0.0  # wall seconds of its fits
    evidence: dict[str, Any] = Field(default_factory=dict)


class PolicyResult(Record):
    """What one policy did with the stream."""

    name: PolicyName
    title: str  # how tables and plots call it
    what: str  # one sentence: what it does
    batches: tuple[BatchScore, ...]
    runs: tuple[TrainingRun, ...] = ()

    @property
    def score(self) -> float:
        """The primary metric over all judged rows."""
        return pooled(self.batches)

    @property
    def fits(self) -> int:
        return sum(run.fits for run in self.runs)

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)


class Comparison(Record):
    """The spec's policy, first, and the baselines, all judged on the same rows."""

    model: str
    metric: str
    greater_is_better: bool
    policies: tuple[PolicyResult, ...]

    def policy(self, name: PolicyName) -> PolicyResult | None:
        return next((each for each in self.policies if each.name == name), None)

    @property
    def rows(self) -> int:
        """Rows that every policy was judged on."""
        return sum(batch.rows for batch in self.policies[0].batches)

    def gain(self, other: PolicyName) -> float | None:
        """
        By how much the spec's policy is better than another: the share of the other's error that it saves.

        For a metric where more is better, the share of the distance to a perfect 1 that it closes. Negative where the
        spec's policy is worse; None when the comparison holds no such policy or nothing is left to gain.
        """
        found = self.policy(other)
        if found is None:
            return None
        theirs, ours = found.score, self.policies[0].score
        if self.greater_is_better:
            theirs, ours = 1 - theirs, 1 - ours
        return (theirs - ours) / theirs if theirs > 0 else None


class Upload(Record):
    """One upload of a replay: what intake made of it, and what was decided after it."""

    name: str
    at: datetime  # the stream's clock: event time of its newest row
    state: str  # ingested | quarantined | duplicate
    kind: str = ""  # class of the finding, `ok` when there is none
    reason: str = ""  # why it was set aside
    rows: int = 0  # valid rows
    decision: Literal["train", "wait", "ignore"]
    why: str  # one sentence


class Backtest(Record):
    """A replay of files: the comparison, and each upload with the decision after it."""

    comparison: Comparison
    uploads: tuple[Upload, ...]


def why_of(reason: str, evidence: dict[str, Any]) -> str:
    """
    What started a run, in a few words with the figures that fired it.

    >>> why_of("upload", {"upload": {"newRows": 8645, "minNewRows": 600, "objects": 1}})
    '8,645 new labelled rows, and 600 start a run'
    """
    fired: dict[str, Any] = evidence.get(reason) or {}
    if reason == "upload":
        return f"{fired['newRows']:,} new labelled rows, and {fired['minNewRows']:,} start a run"
    if reason == "schedule":
        return f"due at {fired['due']} by {fired['cron']} ({fired['timeZone']})"
    if reason == "trainingDigest":
        return "the recipe changed: data, window, training or evaluation"
    if reason == "onDemand":
        return "somebody asked for it"
    if reason in ("performance", "drift"):
        return "; ".join(fired["found"])
    return f"{evidence.get('newRows', 0):,} new labelled rows"


def run_evidence(window: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """
    What stands behind a run's result, for a reader: its window, both models on the holdout, by slice.

    Args:
        window: A TrainingWindow, as JSON.
        evaluation: An Evaluation, as JSON.
    """
    told = ("result", "rows", "comparedRows", "blocks", "confidence", "candidate", "championMetrics", "difference")
    return {
        "window": {
            "why": window["why"],
            "from": window["start"],
            "holdoutFrom": window["cut"],
            "until": window["end"],
            "rows": window["rows"],
            "holdoutRows": window["holdoutRows"],
        },
        "evaluation": {name: evaluation[name] for name in told if evaluation.get(name)},
        "slices": {
            f"{part['column']} = {part['value']}": {
                name: part[name] for name in ("rows", "candidate", "champion", "difference") if part.get(name)
            }
            for part in evaluation.get("slices", ())
        },
    }


def pooled(batches: Sequence[BatchScore]) -> float:
    """
    The metric over several batches: the ratio of the sums, so that large batches count for more.

    Raises:
        ValueError: If the denominators sum to 0: nothing was judged.

    >>> from datetime import UTC, datetime
    >>> day = datetime(2012, 1, 1, tzinfo=UTC)
    >>> few = BatchScore(start=day, end=day, rows=1, value=1.0, numerator=1, denominator=1)
    >>> many = BatchScore(start=day, end=day, rows=9, value=0.0, numerator=0, denominator=9)
    >>> pooled([few, many])
    0.1
    """
    denominator = sum(batch.denominator for batch in batches)
    if denominator <= 0:
        raise ValueError(f"found no judged rows in {len(batches)} batches")
    return sum(batch.numerator for batch in batches) / denominator
