"""Writes the report: one HTML file with its style and plots inside, which opens, mails and prints without a network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from trimtab.app.report import rollout_plots
from trimtab.app.report.plots import NARROW, WIDE, error_over_time
from trimtab.app.report.rollout_plots import weights_and_evidence
from trimtab.app.report.rollouts import NAMES, RolloutStory, outcome
from trimtab.app.report.summary import PER_CENT, Summary, rollouts_in_short, show, title_of, verdict
from trimtab.core.comparison import Comparison

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)")  # times in JSON
FOLDER = Path(__file__).parent


def write(summary: Summary, path: Path) -> None:
    """The page at `path`; folders are made where they lack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(summary), encoding="utf-8")


def render(summary: Summary) -> str:
    """The page as text. Every value from data or specs is escaped; only our own SVG and style go in as they are."""
    environment = Environment(loader=PackageLoader("trimtab.app.report", "."), autoescape=True, trim_blocks=True)
    comparison = summary.comparison
    return environment.get_template("page.html.j2").render(
        summary=summary,
        comparison=comparison,
        verdict=_sentence(verdict(comparison)),
        metric=title_of(comparison.metric),
        headline=_sentence(_headline(comparison)),
        caption=_caption(summary),
        show=lambda value: show(comparison.metric, value),
        share=lambda value: _share(comparison, value),
        day=_day,
        evidence=evidence,
        outcome=outcome,
        names=NAMES,
        rollouts=_sentence(rollouts_in_short(summary.rollouts)),
        stories=[(story, *_plots(story)) for story in summary.rollouts],
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        wide=Markup(error_over_time(summary, WIDE)),  # noqa: S704  labels are escaped by the renderer
        narrow=Markup(error_over_time(summary, NARROW)),  # noqa: S704  the same
    )


def _plots(story: RolloutStory) -> tuple[Markup, Markup]:
    """A rollout's plot, for a wide page and for a narrow one."""
    wide, narrow = (weights_and_evidence(story, size) for size in (rollout_plots.WIDE, rollout_plots.NARROW))
    return Markup(wide), Markup(narrow)  # noqa: S704  labels are escaped by the renderer


def evidence(value: Any) -> Markup:
    """
    Nested evidence as nested lists, each key and value escaped.

    >>> str(evidence({"newRows": 600, "<b>": [1, 2]}))
    '<dl class="evidence"><dt>newRows</dt><dd>600</dd><dt>&lt;b&gt;</dt><dd>1, 2</dd></dl>'
    """
    if isinstance(value, Mapping) and set(value) == {"point", "low", "high"}:
        return Markup("{}").format(_interval(value))
    if isinstance(value, Mapping):
        parts = [Markup("<dt>{}</dt><dd>{}</dd>").format(key, evidence(each)) for key, each in value.items()]
        return Markup('<dl class="evidence">{}</dl>').format(Markup("").join(parts))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(each, Mapping | list | tuple) for each in value):
            items = [Markup("<li>{}</li>").format(evidence(each)) for each in value]
            return Markup("<ul>{}</ul>").format(Markup("").join(items))
        return Markup("{}").format(", ".join(_plain(each) for each in value) or "none")
    return Markup("{}").format(_plain(value))


def _plain(value: object) -> str:
    """One value: figures short, nothing said plainly."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"{_day(datetime.fromisoformat(text))}, {text[11:16]} UTC" if INSTANT.fullmatch(text) else text


def _interval(value: Mapping[str, Any]) -> str:
    """A point estimate with its interval, where there is one."""
    point, low, high = (_plain(value[name]) for name in ("point", "low", "high"))
    return point if value["low"] is None else f"{point} (between {low} and {high})"


def _headline(comparison: Comparison) -> str:
    """What the plot shows, said above it."""
    runs, gain = len(comparison.policies[0].runs), comparison.gain("never")
    trained = f"{title_of(comparison.metric)} by batch: trained {runs} time{'' if runs == 1 else 's'}"
    if comparison.greater_is_better:
        return f"{trained} (more is better)"
    if gain is None:
        return trained
    return f"{trained}, {abs(100 * gain):.0f}{PER_CENT} {'below' if gain >= 0 else 'above'} never retrained"


def _caption(summary: Summary) -> str:
    """What a reader who cannot see the plot needs to know of it."""
    comparison = summary.comparison
    runs = comparison.policies[0].runs
    served = sum(run.outcome == "champion" for run in runs)
    scores = "; ".join(f"{policy.title} {show(comparison.metric, policy.score)}" for policy in comparison.policies)
    marks = (
        f"Triangles mark the {len(runs)} training runs ({served} brought a new champion; a hollow one was turned down)"
    )
    bars = ", bars the rollouts under traffic" if summary.rollouts else ""
    crosses = ", crosses what went wrong on purpose" if summary.incidents else ""
    return f"Over all {len(comparison.policies[0].batches)} batches: {scores}. {marks}{bars}{crosses}."


def _share(comparison: Comparison, value: float) -> float:
    """Length of a bar in per cent of the longest."""
    top = max(policy.score for policy in comparison.policies)
    return max(0.0, 100 * value / top) if top > 0 else 0.0


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
