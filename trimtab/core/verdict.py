"""
What an evaluation means: which candidates go on, and under which name. Pure, so that the whole table is tested.

Rejected is who is proven worse; everything else goes on to live evidence. Where there is no rollout to give it
(`immediate`), an undecided candidate must at least look no worse than the champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trimtab.core.bootstrap import Interval
from trimtab.core.metrics import Metric

Result = Literal["first", "better", "undecided", "worse"]
State = Literal["champion", "challenger", "awaitingApproval", "rejected"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`result` compares, `state` is what becomes of the candidate, `reason` one sentence."""

    result: Result
    state: State
    reason: str

    @property
    def accepted(self) -> bool:
        return self.state != "rejected"


def verdict(
    metric: Metric,
    candidate: Interval,
    difference: Interval | None,
    *,
    champion: int | None,
    margin: float,
    floor: float | None,
    immediate: bool,
    note: str = "",
) -> Verdict:
    """
    Args:
        metric: The primary metric.
        candidate: Its value on the whole holdout.
        difference: Candidate minus champion, paired, on the rows that neither has seen; None when it could not be
            measured.
        champion: The version it was judged against; None for a first model.
        margin: How much worse is proven harm, in the metric's unit.
        floor: The least that is good enough, in the metric's direction.
        immediate: Whether the alias moves at once, without a rollout.
        note: Why there is no difference, for the reason.
    """
    if candidate.point is None:
        why = note or "the holdout does not define it"
        return Verdict("first" if champion is None else "undecided", "rejected", f"no {metric.name}: {why}")
    short = ""
    if floor is not None and metric.better(floor, candidate.point):
        short = f"{metric.name} {candidate.point:.4g} is short of the floor {floor:g}"
    if champion is None:
        if short:
            return Verdict("first", "rejected", short)
        why = note or "there was no champion before"
        return Verdict("first", "champion", f"{metric.name} {candidate.point:.4g}; {why}")
    result = compare(metric, difference, margin)
    reason = describe(metric, difference, champion, result, note)
    if result == "worse":
        return Verdict(result, "rejected", reason)
    if short:
        # It would serve better than what serves now, and yet not well enough to go live by itself.
        state: State = "awaitingApproval" if result == "better" else "rejected"
        return Verdict(result, state, f"{reason}; {short}")
    if not immediate:
        return Verdict(result, "challenger", reason)
    if result == "undecided" and not _no_worse(metric, difference):
        return Verdict(result, "rejected", f"{reason}; the champion stays")
    return Verdict(result, "champion", reason)


def compare(metric: Metric, difference: Interval | None, margin: float) -> Result:
    """`better` and `worse` are proven: the whole interval lies on that side, for worse beyond the margin."""
    if difference is None or difference.low is None or difference.high is None:
        return "undecided"
    low, high = _gain(metric, difference.low, difference.high)
    if low > 0:
        return "better"
    return "worse" if high < -margin else "undecided"


def _gain(metric: Metric, low: float, high: float) -> tuple[float, float]:
    """The interval of what is gained, whatever the metric's direction."""
    return (low, high) if metric.greater_is_better else (-high, -low)


def _no_worse(metric: Metric, difference: Interval | None) -> bool:
    if difference is None or difference.point is None:
        return False
    return difference.point == 0 or metric.better(difference.point, 0.0)


def describe(metric: Metric, difference: Interval | None, champion: int, result: Result, note: str) -> str:
    """One sentence with the figures."""
    if difference is None or difference.point is None:
        return f"undecided against v{champion}: {note or 'no difference could be measured'}"
    said = {"better": "proven better than", "worse": "proven worse than", "undecided": "undecided against"}[result]
    figures = f"{metric.name} {difference.point:+.4g}"
    if difference.low is not None and difference.high is not None:
        figures += f" (between {difference.low:+.4g} and {difference.high:+.4g})"
    else:
        figures += f" ({note or 'too few blocks of time for an interval'})"
    return f"{said} v{champion}: {figures}"
