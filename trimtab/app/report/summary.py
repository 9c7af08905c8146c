"""What a report tells, as values: the same figures stand in `summary.json` and on the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from trimtab.app.report.rollouts import RolloutStory
from trimtab.core.comparison import Comparison
from trimtab.core.records import Record


class Promise(Record):
    """Something the run set out to show, and what it found."""

    promise: str
    found: str
    kept: bool


class Incident(Record):
    """Something wrong that was put into the stream on purpose, and what became of it."""

    at: datetime  # stream time
    what: str  # a few words: `renamed column`
    did: str  # one sentence: what was done to the file
    found: str  # one sentence: what the loop made of it, from the journal
    kind: str  # class of the finding: renamed_column | unit_change | unreadable | wrong_type | duplicate
    kept: bool  # it ended as it should


class Event(Record):
    """One line of the journal, with its evidence."""

    at: datetime  # stream time
    kind: str
    summary: str
    evidence: dict[str, Any] = Field(default_factory=dict)


class Summary(Record):
    """The whole report."""

    title: str
    about: str  # one paragraph: which data, which model, which order
    source: str = ""  # attribution of the data
    comparison: Comparison
    promises: tuple[Promise, ...] = ()
    incidents: tuple[Incident, ...] = ()
    rollouts: tuple[RolloutStory, ...] = ()
    events: tuple[Event, ...] = ()
    facts: dict[str, str] = Field(default_factory=dict)  # machine, versions, seconds: shown at the foot
    recorded_at: datetime

    @property
    def kept(self) -> bool:
        kept = [promise.kept for promise in self.promises]
        return all([*kept, *(incident.kept for incident in self.incidents), *(story.kept for story in self.rollouts)])


WORDS = dict(enumerate(("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")))
PER_CENT = "\N{NO-BREAK SPACE}%"
PERCENTAGES = "percentage_error"  # metrics that are shares of the truth, read best in per cent


def show(metric: str, value: float) -> str:
    """
    A metric's value as people read it.

    >>> show("weighted_absolute_percentage_error", 0.2013), show("roc_auc", 0.72849), show("mean_absolute_error", 31.37)
    ('20.1\xa0%', '0.728', '31.4')
    """
    if metric.endswith(PERCENTAGES):
        return f"{100 * value:.1f}{PER_CENT}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def title_of(metric: str) -> str:
    """
    A metric's name in words.

    >>> title_of("roc_auc"), title_of("weighted_absolute_percentage_error")
    ('ROC AUC', 'weighted absolute percentage error')
    """
    return {"roc_auc": "ROC AUC", "r2": "R²", "f1": "F1"}.get(metric, metric.replace("_", " "))


def rollouts_in_short(rollouts: tuple[RolloutStory, ...]) -> str:
    """
    How many challengers went under traffic, and how that ended.

    >>> rollouts_in_short(())
    ''
    """
    if not rollouts:
        return ""
    promoted = sum(each.promoted for each in rollouts)
    back = sum(each.phase == "RolledBack" for each in rollouts)
    rest = len(rollouts) - promoted - back
    parts = [
        f"{WORDS.get(promoted, promoted)} promoted",
        f"{WORDS.get(back, back)} rolled back",
        *([f"{rest} ended otherwise"] if rest else []),
    ]
    many = "challengers were" if len(rollouts) > 1 else "challenger was"
    return f"{WORDS.get(len(rollouts), len(rollouts))} {many} put under traffic: {', '.join(parts)}, by the evidence"


def verdict(comparison: Comparison) -> str:
    """The one sentence a reader came for: what it saved, and what that took."""
    ours = comparison.policies[0]
    runs = f"{len(ours.runs)} training run{'' if len(ours.runs) == 1 else 's'}"
    metric, score = title_of(comparison.metric), show(comparison.metric, ours.score)
    never, gain = comparison.policy("never"), comparison.gain("never")
    if never is None or gain is None:
        return f"{runs}: {metric} {score}"
    theirs = show(comparison.metric, never.score)
    if score == theirs:
        return f"{runs} changed nothing that counts: {metric} {score}, as if never trained again"
    instead = f"{score} instead of {theirs}"
    if comparison.greater_is_better:
        step = ours.score - never.score
        return f"{runs} {'raised' if step >= 0 else 'lowered'} {metric} by {abs(step):.3f}: {instead}"
    change = "cut" if gain >= 0 else "raised"
    return f"{runs} {change} the {metric} by {abs(100 * gain):.0f}{PER_CENT}: {instead}"
