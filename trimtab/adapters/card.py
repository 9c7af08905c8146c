"""The model card as one HTML file: style inside, nothing fetched, its values as JSON in it too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from trimtab.core.card import describe
from trimtab.core.records import ModelVersion

WIDTH, HEIGHT = 220, 34  # of a plot, pixels
EDGE = 8


def render(model: str, version: ModelVersion) -> str:
    """
    The card's page. Every value is escaped; the same version gives the same bytes.

    Args:
        model: Name of the ContinuousModel.
        version: The version; `card` and `recorded_at` are not shown.
    """
    card = describe(model, version)
    environment = Environment(
        loader=PackageLoader("trimtab.adapters", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(figure=figure, moment=moment, short=lambda digest: digest[:12] or "none")
    # "<" cannot stand in a script element, whatever a column is called.
    embedded = json.dumps(card, ensure_ascii=False, indent=1).replace("<", "\\u003c")
    return environment.get_template("card.html.j2").render(card=card, plot=plot, embedded=Markup(embedded))  # noqa: S704


def figure(value: float | None) -> str:
    """
    A number with four digits that count.

    >>> figure(0.123456), figure(None), figure(12345.6)
    ('0.1235', 'unknown', '12346')
    """
    if value is None:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def moment(text: str) -> str:
    """An ISO time as people read it, to the minute, UTC."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M")


def plot(candidate: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Markup:
    """Both intervals on one scale: the candidate's above, the champion's below; empty where there is none."""
    shown = [interval for interval in (candidate, champion) if interval and interval["low"] is not None]
    if not shown:
        return Markup("")
    low = min(interval["low"] for interval in shown)
    high = max(interval["high"] for interval in shown)
    scale = (WIDTH - 2 * EDGE) / ((high - low) or 1.0)
    lines = []
    for name, y, interval in (("candidate", 11, candidate), ("champion", 24, champion)):
        if interval and interval["low"] is not None:
            a, b, dot = (EDGE + (interval[key] - low) * scale for key in ("low", "high", "point"))
            lines.append(
                f'<g class="{name}"><line x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>'
                f'<circle cx="{dot:.1f}" cy="{y}" r="4"/></g>'
            )
    body = "".join(lines)
    return Markup(f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="intervals">{body}</svg>')  # noqa: S704
