"""What `trimtab up` shows while it runs: a line for each change, and on a terminal how things stand now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from trimtab.app.rollout.standing import Standing, line
from trimtab.app.status import Status

if TYPE_CHECKING:
    from rich.console import RenderableType

UPLOAD_STATES = ("ingested", "quarantined", "duplicate")


def changes(before: Status | None, after: Status) -> list[str]:
    """What is new in a status, one line each; everything worth saying when there was none before."""
    lines: list[str] = []
    counts: Mapping[str, int] = before.uploads if before else {}
    for state in UPLOAD_STATES:
        more = after.uploads.get(state, 0) - counts.get(state, 0)
        if more:
            lines.append(f"{more} upload{'s' if more > 1 else ''} {state}, {after.uploads.get(state, 0)} in all")
    was_running = (before.running.decision, before.running.attempt) if before and before.running else None
    if after.running and (after.running.decision, after.running.attempt) != was_running:
        run = after.running
        again = f", attempt {run.attempt}" if run.attempt > 1 else ""
        lines.append(f"training: decision {run.decision} ({run.reason}){again}")
    if after.last and (before is None or after.last != before.last):
        lines.append(f"decision {after.last.decision} ended {after.last.state}: {after.last.reason}")
    if after.serving and (before is None or before.serving is None or after.serving.version != before.serving.version):
        lines.append(f"champion: {after.model}/v{after.serving.version} ({_metrics(after.serving.metrics)})")
    if after.rollout and _place(after.rollout) != _place(before.rollout if before else None):
        lines.append(f"rollout: {line(after.rollout)}")
    if after.held and (before is None or after.held != before.held):
        lines.append(f"{after.held.kind}: {after.held.reason}{_until(after.held.until)}")
    lines += [f"problem: {each}" for each in after.problems if before is None or each not in before.problems]
    if after.next_move and (before is None or after.next_move != before.next_move):
        lines.append(f"next move: {after.next_move}")
    return lines


def panel(status: Status, addresses: Mapping[str, str]) -> RenderableType:
    """How things stand, as one block that is drawn over itself."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    rows = [(name, address, "") for name, address in addresses.items()]
    serving = status.serving
    champion = f"{status.model}/v{serving.version}  {_metrics(serving.metrics)}" if serving else "none yet"
    rows.append(("champion", champion, "bold"))
    if status.rollout:
        rows.append(("rollout", line(status.rollout), ""))
    rows.append(("uploads", ", ".join(f"{count} {state}" for state, count in status.uploads.items()), ""))
    rows.append(("now", _now(status), ""))
    if status.last:
        rows.append(("last", f"decision {status.last.decision} {status.last.state}: {status.last.reason}", ""))
    rows += [("problem", problem, "red") for problem in status.problems]
    if status.next_move:
        rows.append(("next move", status.next_move, "yellow"))
    table = Table.grid(padding=(0, 2))
    for name, value, style in rows:
        # As text, never as markup: reasons hold file names and errors.
        table.add_row(Text(name, style="dim"), Text(value, style=style, overflow="fold"))
    return Panel(table, title=f"trimtab {status.model}", subtitle="Ctrl-C stops everything", border_style="dim")


def _place(found: Standing | None) -> tuple[object, ...]:
    """What of a rollout is news when it changes: its reason counts requests, and changes all the time."""
    if found is None:
        return ()
    return found.name, found.phase, found.step, found.weight_percent, found.shadow, found.waiting


def _now(status: Status) -> str:
    if status.running:
        seconds = (datetime.now(status.running.since.tzinfo) - status.running.since).total_seconds()
        return f"training, decision {status.running.decision} ({status.running.reason}), for {max(seconds, 0):.0f} s"
    if status.held:
        return f"{status.held.kind}: {status.held.reason}{_until(status.held.until)}"
    return "waiting for uploads"


def _until(moment: datetime | None) -> str:
    return f", until {moment.strftime('%Y-%m-%d %H:%M:%S')}" if moment else ""


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
