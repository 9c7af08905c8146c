"""What `status` and `history` print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from trimtab.app.cli.version_page import console, table
from trimtab.app.rollout.standing import line
from trimtab.app.status import Status
from trimtab.core.records import Decision, JournalEntry, Outcome

COLOURS = {
    "champion": "green",
    "failed": "red",
    "rejected": "yellow",
    "fixData": "yellow",
    "superseded": "yellow",
    "awaitingApproval": "cyan",
    "challenger": "cyan",
    "quarantined": "yellow",
    "alert": "red",
    "promoted": "green",
    "rollout": "cyan",
    "rolledBack": "red",
}
PHASES = {"Promoted": "green", "RolledBack": "red", "Error": "red", "Held": "yellow", "Paused": "yellow"}


def status_lines(status: Status, worker: str | None, problems: Sequence[str]) -> list[str]:
    """One model: a line for each thing there is to say, what failed in red."""
    shown = [click.style(status.model, bold=True)]
    for name, text, colour in _lines(status, worker, problems):
        # An error's hint stands under its message, not at the margin.
        shown.append(f"  {name:10} " + click.style(text.replace("\n", f"\n{'':13}"), fg=colour))
    return shown


def _lines(status: Status, worker: str | None, problems: Sequence[str]) -> Iterable[tuple[str, str, str | None]]:
    serving = status.serving
    if serving is None:
        yield "champion", "none yet", None
    else:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in serving.metrics.items())
        learned = f"learned until {serving.trained_until:%Y-%m-%d %H:%M}"
        yield "champion", f"{status.model}/v{serving.version}  {metrics}, {learned}", "green"
    if status.challenger:
        yield "challenger", f"{status.model}/v{status.challenger}", "cyan"
    if status.rollout is not None:
        yield "rollout", line(status.rollout), PHASES.get(status.rollout.phase, "cyan")
        for test in status.rollout.tests:
            yield "", test, None
    for number, measured in enumerate(status.monitor):
        yield "" if number else "monitor", measured, None
    for anomaly in status.anomalies:
        yield "anomaly", anomaly, "yellow"
    counts = dict(status.uploads)
    seen = counts.pop("seen", 0)
    yield "uploads", f"{seen}: " + ", ".join(f"{count} {state}" for state, count in counts.items()), None
    if status.running:
        yield "running", _running(status), None
    if status.held:
        until = f", until {status.held.until:%Y-%m-%d %H:%M:%S} UTC" if status.held.until else ""
        yield status.held.kind, status.held.reason + until, None
    if status.last:
        last = status.last
        yield "last", f"decision {last.decision} {last.state}: {last.reason}", COLOURS.get(last.state)
    for problem in problems:
        yield "problem", problem, "red"
    if worker is None:
        yield "platform", "nobody works for this model just now: trimtab up -f model.yaml", "yellow"
    if status.next_move:
        yield "next move", status.next_move, "yellow"


def _running(status: Status) -> str:
    run = status.running
    assert run is not None
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    if run.retry_after:
        return (
            f"decision {run.decision} ({run.reason}){attempt} failed; the next starts at {run.retry_after:%H:%M:%S} UTC"
        )
    seconds = max((datetime.now(UTC) - run.since).total_seconds(), 0)
    return f"decision {run.decision} ({run.reason}){attempt}, for {seconds:.0f} s"


def show_decisions(model: str, decisions: Sequence[Decision], outcomes: Mapping[int, Outcome]) -> None:
    """A line for each decision, and why it ended so."""
    from rich.text import Text

    made = table("decision", "decided", "because", "ended", "version", "seconds", "why", right=["decision", "seconds"])
    for decision in decisions:
        outcome = outcomes.get(decision.number)
        state = outcome.state if outcome else "running"
        made.add_row(
            str(decision.number),
            f"{decision.decided_at:%Y-%m-%d %H:%M}",
            Text(because(decision)),  # as text, never as markup: reasons hold file names and errors
            Text(state, style=COLOURS.get(state, "")),
            f"v{outcome.version}" if outcome and outcome.version else "",
            f"{outcome.training_seconds:.1f}" if outcome else "",
            Text(outcome.reason if outcome else ""),
        )
    out = console()
    out.print(made)
    out.print(f"\nmore of one: trimtab logs {model}/{decisions[-1].number}")


def because(decision: Decision) -> str:
    """The evidence of a decision, in a few words."""
    found: Any = decision.evidence.get(decision.reason)
    evidence: dict[str, Any] = found if isinstance(found, dict) else {}
    rows = decision.evidence.get("newRows")
    detail = {
        "upload": f"{evidence.get('newRows')} new rows, {evidence.get('minNewRows')} needed",
        "schedule": f"due {str(evidence.get('due'))[:16].replace('T', ' ')}",
        "trainingDigest": "the recipe changed",
        "performance": "; ".join(evidence.get("found", ())),
        "drift": "; ".join(evidence.get("found", ())),
        "onDemand": f"asked for, {rows} new rows",
        "sdk": f"started by hand ({decision.evidence.get('reason', 'sdk')})",
    }
    return f"{decision.reason}: {detail.get(decision.reason, '')}".rstrip(": ")


def show_journal(entries: Iterable[JournalEntry]) -> None:
    """One line an entry."""
    for entry in entries:
        kind = click.style(f"{entry.kind:11}", fg=COLOURS.get(entry.kind))
        summary = entry.summary.replace("\n", f"\n{'':30}")
        click.echo(f"{entry.decided_at:%Y-%m-%d %H:%M}  {kind} {summary}")
