"""
The report's plot: error by batch under each policy, with retraining and incidents on the same time axis.

Drawn by altair and turned into SVG without a browser, so the page needs no script. Colours are Okabe and Ito's,
which colour-blind readers can tell apart; a policy has the same one everywhere.
"""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

from trimtab.app.report.rollouts import outcome
from trimtab.app.report.summary import PERCENTAGES, Summary, show, title_of
from trimtab.core.comparison import Comparison, PolicyResult

COLOURS = {  # Okabe and Ito, "Color Universal Design", 2008
    "trimtab": "#0072B2",
    "never": "#D55E00",
    "everything": "#E69F00",
    "window": "#009E73",
    "lastWeek": "#CC79A7",
}
DASHES = {"trimtab": [1, 0], "never": [1, 0], "everything": [6, 3], "window": [2, 2], "lastWeek": [8, 3, 2, 3]}
# Stand-ins that the page's style sheet turns into the colours of the reader's theme.
INK, FAINT, GRID, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
ENDS = {True: "#009E73", False: "#D55E00"}  # a rollout's bar: promoted, or not
FONT = "system-ui, sans-serif"
# The year stands under the first label and under each January.
MONTHS = (
    "datum.index == 0 || utcmonth(datum.value) == 0"
    " ? [utcFormat(datum.value, '%b'), utcFormat(datum.value, '%Y')] : utcFormat(datum.value, '%b')"
)
DAYS = MONTHS.replace("'%b'", "'%-d %b'").replace(" || utcmonth(datum.value) == 0", "")
SHORT_DAYS = 100  # streams up to this long are labelled by days
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
LABEL_PIXELS = 15  # least distance between two labels at the ends of lines


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels of the plotting area; `labelled` lines carry their names at their ends."""

    width: int
    height: int
    labelled: bool
    ticks: int


WIDE = Size(width=740, height=330, labelled=True, ticks=12)
NARROW = Size(width=300, height=260, labelled=False, ticks=4)


def error_over_time(summary: Summary, size: Size) -> str:
    """The plot as an SVG element."""
    import altair as alt

    comparison = summary.comparison
    strips = [_retraining(alt, comparison.policies[0], comparison, size)]
    if summary.rollouts:
        strips.append(_rollouts(alt, summary, size))
    if summary.incidents:
        strips.append(_incidents(alt, summary, size))
    chart = (
        alt.vconcat(_lines(alt, comparison, size), *strips, spacing=6)
        .resolve_scale(x="shared", color="independent")
        .configure(font=FONT, background="transparent", padding=_room(size))
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, titleFontWeight="normal", gridColor=GRID, domainColor=FAINT,
            tickColor=FAINT, labelFontSize=12, titleFontSize=12,
        )
    )  # fmt: skip
    return as_svg(chart)


def _room(size: Size) -> dict[str, int]:
    """Pixels around the plot. On the right labels need more than the renderer measures for its own font."""
    return {"left": 2, "top": 2, "bottom": 2, "right": 40 if size.labelled else 2}


def _span(comparison: Comparison) -> tuple[datetime, datetime]:
    """One axis for all panels: from the first batch's beginning to the last one's end."""
    batches = [batch for policy in comparison.policies for batch in policy.batches]
    return min(batch.start for batch in batches), max(batch.end for batch in batches)


def _x(alt: ModuleType, comparison: Comparison, size: Size, labels: bool = True) -> Any:
    first, last = _span(comparison)
    days = (last - first).total_seconds() / 86_400
    if days <= SHORT_DAYS:
        ticks: Any = max(2, size.ticks // 2)
        axis = alt.Axis(labelExpr=DAYS, tickCount=ticks, title=None, grid=False)
    else:
        step = next((each for each in MONTH_STEPS if days / 30 / each <= size.ticks + 1), MONTH_STEPS[-1])
        axis = alt.Axis(labelExpr=MONTHS, tickCount={"interval": "month", "step": step}, title=None, grid=False)
    scale = alt.Scale(type="utc", domain=[first.isoformat(), last.isoformat()])
    return alt.X("at:T", scale=scale, axis=axis if labels else None)


def _lines(alt: ModuleType, comparison: Comparison, size: Size) -> Any:
    """A line a policy, ours last and thickest, so that it lies on top."""
    figures = ".0%" if comparison.metric.endswith(PERCENTAGES) else ""
    axis = alt.Axis(title=title_of(comparison.metric), format=figures, tickCount=6)
    top = max(batch.value for policy in comparison.policies for batch in policy.batches)
    low = (
        min(batch.value for policy in comparison.policies for batch in policy.batches)
        if comparison.greater_is_better
        else 0
    )
    domain = [low, top * 1.02]
    layers = []
    for policy in reversed(comparison.policies):
        ours = policy.name == "trimtab"
        rows = [{"at": batch.end.isoformat(), "value": batch.value} for batch in policy.batches]
        layers.append(
            alt.Chart(alt.Data(values=rows))
            .mark_line(
                color=COLOURS[policy.name], strokeWidth=3 if ours else 1.6, strokeDash=DASHES[policy.name],
                point={"size": 34, "color": COLOURS[policy.name], "filled": True} if ours else False,
            )
            .encode(
                x=_x(alt, comparison, size, labels=False),
                y=alt.Y("value:Q", axis=axis, scale=alt.Scale(domain=domain, nice=False)),
            )
        )  # fmt: skip
    if size.labelled:
        layers.append(_names(alt, comparison, size, domain))
    return alt.layer(*layers).properties(width=size.width, height=size.height)


def _names(alt: ModuleType, comparison: Comparison, size: Size, domain: list[float]) -> Any:
    """Each policy's name and its score over all batches, at the end of its line."""
    ends = [(policy.batches[-1].value, policy) for policy in comparison.policies]
    heights = spread([value for value, _ in ends], (domain[1] - domain[0]) * LABEL_PIXELS / size.height)
    rows = [
        {
            "at": policy.batches[-1].end.isoformat(),
            "value": height,
            "name": f"{policy.title}  {show(comparison.metric, policy.score)}",
            "weight": policy.name == "trimtab",
            "colour": COLOURS[policy.name],
        }
        for height, (_, policy) in zip(heights, ends, strict=True)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_x(alt, comparison, size, labels=False), y=alt.Y("value:Q", scale=alt.Scale(domain=domain, nice=False))
    )
    dots = base.mark_square(size=60, xOffset=12, opacity=1).encode(color=alt.Color("colour:N", scale=None))
    plain = base.transform_filter("!datum.weight").mark_text(align="left", dx=20, fontSize=12.5, color=INK)
    bold = base.transform_filter("datum.weight").mark_text(
        align="left", dx=20, fontSize=12.5, color=INK, fontWeight=700
    )
    return dots + plain.encode(text="name:N") + bold.encode(text="name:N")


def spread(values: list[float], least: float) -> list[float]:
    """
    Positions as near to the values as they can be while `least` apart, in the values' order.

    >>> spread([0.2, 0.2, 0.5], 0.1)
    [0.2, 0.3, 0.5]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = list(values)
    for before, index in itertools.pairwise(order):
        placed[index] = max(placed[index], placed[before] + least)
    return placed


def _retraining(alt: ModuleType, policy: PolicyResult, comparison: Comparison, size: Size) -> Any:
    """A triangle a training run: full where the new model serves, hollow where it was turned down."""
    first, last = comparison.policies[0].batches[0].start, comparison.policies[0].batches[-1].end
    rows = [
        {
            "at": min(max(run.at, first), last).isoformat(),
            "served": run.outcome == "champion",
            "label": f"{run.at:%d %B %Y}: {run.reason}, {run.why}; {run.outcome}: {run.outcome_reason}",
            "name": f"v{run.version}" if run.version is not None else "",
        }
        for run in policy.runs
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=_x(alt, comparison, size, labels=True), y=alt.value(10))
    marks = base.mark_point(shape="triangle-up", size=90, color=COLOURS["trimtab"], opacity=1, strokeWidth=1.6).encode(
        fill=alt.condition("datum.served", alt.value(COLOURS["trimtab"]), alt.value(PAPER)), description="label:N"
    )
    layers = [marks]
    if size.labelled:
        layers.append(base.mark_text(dy=16, fontSize=11, color=INK).encode(text="name:N"))
    return alt.layer(*layers).properties(width=size.width, height=34 if size.labelled else 20)


def _incidents(alt: ModuleType, summary: Summary, size: Size) -> Any:
    """A numbered cross an incident; the table of incidents has the same numbers."""
    rows = [
        {
            "at": incident.at.isoformat(),
            "label": f"{incident.at:%d %B %Y}: {incident.what}. {incident.found}",
            "name": f"{number} {incident.what}" if size.labelled else str(number),
            "odd": number % 2,
        }
        for number, incident in enumerate(summary.incidents, 1)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=_x(alt, summary.comparison, size, labels=False), y=alt.value(8))
    cross = base.mark_point(shape="cross", angle=45, size=90, color=INK, filled=True, opacity=1)
    # Neighbours stand in two rows, so that their names do not run into each other.
    upper = base.transform_filter("datum.odd").mark_text(dy=15, fontSize=11, color=INK)
    lower = base.transform_filter("!datum.odd").mark_text(dy=28 if size.labelled else 15, fontSize=11, color=INK)
    layers = [cross.encode(description="label:N"), upper.encode(text="name:N"), lower.encode(text="name:N")]
    return alt.layer(*layers).properties(width=size.width, height=40 if size.labelled else 26)


def _rollouts(alt: ModuleType, summary: Summary, size: Size) -> Any:
    """A bar a rollout, from its beginning to its end; the rollouts' own section has the same letters."""
    first, last = _span(summary.comparison)
    rows = [
        {
            "at": min(max(story.began, first), last).isoformat(),
            "until": min(max(story.ended, first), last).isoformat(),
            "label": f"{story.letter}, v{story.version} {story.title}: {outcome(story)}. {story.verdict}",
            "name": f"{story.letter}  v{story.version} {outcome(story)}" if size.labelled else story.letter,
            "colour": ENDS[story.promoted],
            "odd": number % 2,
        }
        for number, story in enumerate(summary.rollouts, 1)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=_x(alt, summary.comparison, size, labels=False))
    bar = base.mark_bar(height=9, cornerRadius=2, opacity=1).encode(
        x2="until:T", y=alt.value(8), color=alt.Color("colour:N", scale=None), description="label:N"
    )
    word = base.mark_text(align="left", baseline="top", fontSize=11, color=INK)
    # Neighbours in two rows, as with incidents.
    upper = word.transform_filter("datum.odd").encode(y=alt.value(16), text="name:N")
    lower = word.transform_filter("!datum.odd").encode(y=alt.value(29 if size.labelled else 16), text="name:N")
    return alt.layer(bar, upper, lower).properties(width=size.width, height=44 if size.labelled else 30)


LABELLED = re.compile(r'<path aria-label="([^"]*)"([^>]*)></path>|<path aria-label="([^"]*)"([^>]*)/>')


def as_svg(chart: Any) -> str:
    """The chart as an SVG that scales with the page; what marks say to screen readers becomes a tooltip too."""
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(chart.to_json())
    drawn = LABELLED.sub(_with_title, drawn)
    found = re.search(r'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"[^>]*>', drawn)
    assert found is not None, "an SVG begins with its size"
    width, height = found[1], found[2]
    opening = (
        f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" aria-hidden="true" focusable="false">'
    )
    return opening + drawn[found.end() :]


def _with_title(found: re.Match[str]) -> str:
    label, rest = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return f"<path{rest}><title>{html.escape(html.unescape(label))}</title></path>"
