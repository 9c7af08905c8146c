"""`trimtab run`, `history` and `logs`: training runs, asked for, watched and looked back on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import NotFound, TrimtabError, Unavailable
from trimtab.core.wording import counted

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.app.opening import Platform
    from trimtab.core.records import Decision, Outcome

WATCH_SECONDS = 0.3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


@click.command(epilog="Example:  trimtab run flights")
@click.argument("name", required=False)
@click.option("--no-wait", is_flag=True, help="Return once the request is kept; `trimtab status` shows how it goes on.")
@json_option
def run(name: str | None, no_wait: bool, as_json: bool) -> None:
    """
    Train NAME now, on demand.

    Exempt from cooldown, back-off and a verdict that the data has to be fixed; within the budget. Waits for the
    outcome and shows what the run prints. Ctrl-C ends the waiting only.
    """
    from trimtab.app.opening import Platform

    platform = Platform.find()
    state = platform.state(name)
    request = _ask(platform, state)
    if no_wait:
        if as_json:
            print_json({"model": state.model, "request": request})
        else:
            click.echo(f"asked for a run of {state.model}; how it goes on: trimtab status {state.model}")
        return
    outcome = _watch(platform, state, request, quiet=as_json)
    if as_json:
        print_json(outcome.model_dump(mode="json", by_alias=True))
    if outcome.state == "failed":
        said, _, hint = outcome.reason.partition("\nhint: ")
        log = f"the whole log: trimtab logs {state.model}/{outcome.number}"
        raise TrimtabError(f"decision {outcome.number} failed: {said}", f"{hint}; {log}" if hint else log)


@click.command(epilog="Example:  trimtab history flights -n 5")
@click.argument("name", required=False)
@click.option(
    "-n", "--number", "count", type=click.IntRange(min=1), default=20, show_default=True, help="The newest N."
)
@click.option("--journal", is_flag=True, help="Everything that was told, uploads and waiting included.")
@json_option
def history(name: str | None, count: int, journal: bool, as_json: bool) -> None:
    """Show every decision of NAME with its evidence and how it ended, oldest first."""
    from trimtab.app.cli import run_pages
    from trimtab.app.opening import Platform

    state = Platform.find().state(name)
    if journal:
        entries = state.journal.entries()[-count:]
        if as_json:
            print_json([entry.model_dump(mode="json", by_alias=True) for entry in entries])
        else:
            run_pages.show_journal(entries)
        return
    decisions, outcomes = state.decisions.all()[-count:], state.decisions.outcomes()
    if as_json:
        print_json([_as_json(state, each, outcomes.get(each.number)) for each in decisions])
        return
    if not decisions:
        click.echo(f"nothing was decided for {state.model} yet; why: trimtab status {state.model}")
        return
    run_pages.show_decisions(state.model, decisions, outcomes)


@click.command(epilog="Example:  trimtab logs 5 --follow")
@click.argument("run")
@click.option("-m", "--model", metavar="NAME", help="Of which model, where there are several.")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last N lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
def logs(run: str, model: str | None, lines: int | None, follow: bool) -> None:
    """
    Show what a run printed.

    RUN is the number of a decision (of its last attempt), NAME/NUMBER, or a run id.
    """
    from trimtab.app.opening import Platform
    from trimtab.app.run_logs import LogOf

    log = LogOf.find(Platform.find(), run, model)
    shown = log.lines()
    for line in shown[-lines:] if lines else shown:
        click.echo(line)
    seen = len(shown)
    while follow and not log.ended():
        time.sleep(WATCH_SECONDS)
        shown = log.lines()
        for line in shown[seen:]:
            click.echo(line)
        seen = len(shown)


def _ask(platform: Platform, state: State) -> str:
    """Keep the request: through the listener, which acts at once, else in the store, where the worker will find it."""
    from trimtab.adapters.requests import Requests
    from trimtab.app.cli.asking import ask_listener

    answer = ask_listener(platform, "POST", f"/v1/models/{state.model}/runs")
    return str(answer["request"]) if answer else Requests(state).ask("cli").id


def _watch(platform: Platform, state: State, request: str, quiet: bool) -> Outcome:
    """Show how the request goes on until its decision has an outcome."""
    say = (lambda line: click.echo(line, err=True)) if quiet else click.echo
    say(f"asked for a run of {state.model}; Ctrl-C ends the waiting, not the run")
    decision = _decision_of(platform, state, request, say)
    say(f"decision {decision.number}: training on {counted(len(decision.entries), 'new object')}")
    shown: dict[str, int] = {}
    while True:
        outcome = state.decisions.outcome(decision.number)
        _show_new_lines(state, decision, shown, say)
        if outcome is not None:
            version = f" (trimtab show {state.model}/v{outcome.version})" if outcome.version else ""
            if outcome.state != "failed":  # that is told as an error
                say(f"decision {decision.number}: {outcome.state}: {outcome.reason}{version}")
            return outcome
        _require_worker(state)
        time.sleep(WATCH_SECONDS)


def _decision_of(platform: Platform, state: State, request: str, say: Any) -> Decision:
    """The decision that answers the request, once there is one; tells why there is none yet."""
    from trimtab.app.status import read_status
    from trimtab.core.observation import answered

    told = ""
    while True:
        for decision in state.decisions.all():
            if request in answered([decision]):
                return decision
        _require_worker(state)
        now = read_status(state)
        why = (
            f"decision {now.running.decision} is being executed" if now.running else now.held.reason if now.held else ""
        )
        if why and why != told:
            say(f"waiting: {why}")
            told = why
        time.sleep(WATCH_SECONDS)


def _show_new_lines(state: State, decision: Decision, shown: dict[str, int], say: Any) -> None:
    from trimtab.app.run_logs import LogOf

    claim = state.decisions.claim(decision.number)
    if claim is None:
        return
    try:
        lines = LogOf(state, claim.run_id).lines()
    except NotFound:
        return
    for line in lines[shown.get(claim.run_id, 0) :]:
        say(f"  {line}")
    shown[claim.run_id] = len(lines)


def _require_worker(state: State) -> None:
    if state.lease.who() is None:
        raise Unavailable(
            f"the request for {state.model} is kept, and nobody works for {state.model} just now",
            "start the platform (trimtab up -f model.yaml): it takes the request up",
        )


def _as_json(state: State, decision: Decision, outcome: Outcome | None) -> dict[str, Any]:
    claim = state.decisions.claim(decision.number)
    return decision.model_dump(mode="json", by_alias=True) | {
        "runId": claim.run_id if claim else None,
        "attempt": claim.attempt if claim else None,
        "outcome": outcome.model_dump(mode="json", by_alias=True) if outcome else None,
    }
