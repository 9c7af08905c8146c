"""
A rollout's plot: the challenger's weight over time, beneath it on the same axis the evidence and what it counted.

Each test has its own share of alpha, so each e-value is drawn as a share of the one that proves: one line of proof
for all of them, on a log scale.
"""

from __future__ import annotations

from datetime import timedelta
from math import log
from types import ModuleType
from typing import Any

from trimtab.app.report.plots import FAINT, FONT, GRID, INK, Size, as_svg
from trimtab.app.report.rollouts import RolloutStory

COLOURS = {  # Okabe and Ito, as in the year's plot
    "weight": "#0072B2",
    "errors": "#D55E00",
    "mirrored": "#D55E00",
    "latency": "#E69F00",
    "loss": "#CC79A7",
    "harmless": "#009E73",
}
DASHES = {"mirrored": [2, 3]}
LEAST, MOST = -3.0, 1.5  # decades around proof that are drawn; what lies beyond stands at the edge
PROOF = (
    "datum.value == 0 ? 'proof' : datum.value == -1 ? '1/10' : datum.value == -2 ? '1/100'"
    " : datum.value == -3 ? '1/1000' : '×10'"
)
DAYS = "utcFormat(datum.value, '%-d %b')"
ROOM = timedelta(days=1)  # after the end, so that it can be seen

WIDE = Size(width=400, height=96, labelled=True, ticks=5)
NARROW = Size(width=268, height=96, labelled=False, ticks=4)


def weights_and_evidence(story: RolloutStory, size: Size) -> str:
    """The plot as an SVG element."""
    import altair as alt

    panels = [_weights(alt, story, size), _evidence(alt, story, size)]
    if story.tally:
        panels.append(_tally(alt, story, size))
    chart = (
        alt.vconcat(*panels, spacing=10)
        .resolve_scale(x="shared", color="independent")
        .configure(font=FONT, background="transparent", padding={"left": 2, "top": 2, "bottom": 2, "right": 14})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, titleFontWeight="normal", gridColor=GRID, domainColor=FAINT,
            tickColor=FAINT, labelFontSize=11.5, titleFontSize=11.5, titleAlign="left", titleAnchor="start",
            titleAngle=0, titleX=0, titleY=-6,
        )
    )  # fmt: skip
    return as_svg(chart)


def _x(alt: ModuleType, story: RolloutStory, size: Size, labels: bool) -> Any:
    days = max(1, -(-(story.ended - story.began).days // size.ticks))
    ticks = [(story.began + timedelta(days=days * index)).timestamp() * 1000 for index in range(size.ticks + 1)]
    axis = alt.Axis(labelExpr=DAYS, values=ticks, title=None, grid=False, labelOverlap="greedy")
    scale = alt.Scale(type="utc", domain=[story.began.isoformat(), (story.ended + ROOM).isoformat()], nice=False)
    return alt.X("at:T", scale=scale, axis=axis if labels else None)


def _weights(alt: ModuleType, story: RolloutStory, size: Size) -> Any:
    """Steps of the weight, a band where the challenger answered copies only, and where labels came."""
    end = 100 if story.promoted else 0
    rows = [{"at": sample.at.isoformat(), "weight": sample.weight_percent} for sample in story.samples]
    rows += [{"at": each.isoformat(), "weight": end} for each in (story.ended, story.ended + ROOM)]
    axis = alt.Axis(title="traffic to the challenger, %", values=[0, 25, 50, 100], grid=True)
    y = alt.Y("weight:Q", axis=axis, stack=None, scale=alt.Scale(domain=[0, 105], nice=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=_x(alt, story, size, labels=False), y=y)
    colour = COLOURS["weight"]
    area = base.mark_area(interpolate="step-after", color=colour, opacity=0.16)
    line = base.mark_line(interpolate="step-after", color=colour, strokeWidth=2.4)
    layers = [*_copies(alt, story, size), area, line, *_labels(alt, story, size)]
    return alt.layer(*layers).properties(width=size.width, height=size.height * 0.8)


def _copies(alt: ModuleType, story: RolloutStory, size: Size) -> list[Any]:
    """The stretch in which the challenger answered copies of the traffic, unseen."""
    inside = [sample.at for sample in story.samples if sample.shadow]
    if not inside:
        return []
    until = next((sample.at for sample in story.samples if sample.at >= inside[-1] and not sample.shadow), story.ended)
    middle = inside[0] + (until - inside[0]) / 2
    row = {"at": inside[0].isoformat(), "until": until.isoformat(), "middle": middle.isoformat()}
    base = alt.Chart(alt.Data(values=[row]))
    x = _x(alt, story, size, labels=False)
    band = base.mark_rect(color=COLOURS["weight"], opacity=0.07).encode(x=x, x2="until:T")
    word = base.mark_text(fontSize=11, color=INK, baseline="middle").encode(
        x=alt.X("middle:T", axis=None), y=alt.value(size.height * 0.4), text=alt.value("copies")
    )
    return [band, word]


def _labels(alt: ModuleType, story: RolloutStory, size: Size) -> list[Any]:
    """A rule where labels came, in every panel's place on the axis."""
    if not story.labels:
        return []
    near = story.began + (story.ended - story.began) * 0.3  # too near the axis for words on its left
    rows = [{"at": at.isoformat(), "word": "labels come", "near": at < near} for at in story.labels]
    base = alt.Chart(alt.Data(values=rows)).encode(x=_x(alt, story, size, labels=False))
    rule = base.mark_rule(color=FAINT, strokeDash=[3, 3])
    words = [
        base.transform_filter(test).mark_text(fontSize=11, color=INK, align=align, dx=dx, baseline="top")
        for test, align, dx in (("datum.near", "left", 4), ("!datum.near", "right", -4))
    ]
    return [rule, *(word.encode(y=alt.value(0), text="word:N") for word in words)]


def _evidence(alt: ModuleType, story: RolloutStory, size: Size) -> Any:
    """Each test's e-value as a share of proof; proof is a line across."""
    axis = alt.Axis(
        title="evidence, as a share of proof", values=[-3, -2, -1, 0, 1], labelExpr=PROOF, labelOverlap=False
    )
    y = alt.Y("value:Q", axis=axis, scale=alt.Scale(domain=[LEAST, MOST], nice=False))
    layers = [_rule(alt, story, size)]
    for test in ("mirrored", "latency", "errors", "loss", "harmless"):
        rows = [
            {"at": sample.at.isoformat(), "value": min(max(sample.tests[test].share / log(10), LEAST), MOST)}
            for sample in story.samples
            if test in sample.tests
        ]
        if rows:
            decided = test == ("harmless" if story.promoted else story.metric)
            mark = alt.Chart(alt.Data(values=rows)).mark_line(
                interpolate="step-after", color=COLOURS[test], strokeWidth=3 if decided else 1.5,
                strokeDash=DASHES.get(test, [1, 0]), opacity=1 if decided else 0.65, clip=True,
            )  # fmt: skip
            layers.append(mark.encode(x=_x(alt, story, size, labels=not story.tally), y=y))
    return alt.layer(*layers).properties(width=size.width, height=size.height * 1.25)


def _rule(alt: ModuleType, story: RolloutStory, size: Size) -> Any:
    row = {"value": 0.0}
    y = alt.Y("value:Q", scale=alt.Scale(domain=[LEAST, MOST], nice=False))
    return alt.Chart(alt.Data(values=[row])).mark_rule(color=INK, strokeWidth=1.4).encode(y=y)


def _tally(alt: ModuleType, story: RolloutStory, size: Size) -> Any:
    """What the deciding test counted: the challenger's line is the first."""
    layers = []
    axis = alt.Axis(title=story.tally_title, tickCount=4, grid=True)
    for index, line in enumerate(story.tally):
        rows = [{"at": at.isoformat(), "value": value, "name": line.name} for at, value in line.points]
        base = alt.Chart(alt.Data(values=rows)).encode(
            x=_x(alt, story, size, labels=True), y=alt.Y("value:Q", axis=axis, scale=alt.Scale(nice=True))
        )
        own = index == 0
        layers.append(
            base.mark_line(
                interpolate="linear" if line.name == "accepted" else "step-after",
                color=COLOURS["weight"] if own else FAINT, strokeWidth=2 if own else 1.6,
                strokeDash=[1, 0] if own else [5, 3], clip=True,
            )
        )  # fmt: skip
    return alt.layer(*layers).properties(width=size.width, height=size.height * 0.9)
