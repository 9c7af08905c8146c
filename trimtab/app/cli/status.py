"""`trimtab status`: how models stand, once or for as long as one watches."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json

if TYPE_CHECKING:
    from trimtab.app.opening import Platform
    from trimtab.app.status import Status

WATCH_SECONDS = 1.0
TOP, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"  # drawn over, not cleared: nothing flickers


@dataclass(frozen=True)
class Found:
    """One model's status, who works for it, and what does not work just now."""

    status: Status
    owner: str | None
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return self.status.to_json() | {"worker": self.owner, "problems": list(self.problems)}


@click.command(epilog="Example:  trimtab status flights -w")
@click.argument("name", required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on, and show what changes; Ctrl-C ends it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead; with -w one a line.")
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """
    Show what serves, what waits, what failed, and the next move.

    Read from the store, which has to answer; the loop need not run. Without NAME, every model.
    """
    from trimtab.app.opening import Platform

    platform = Platform.find()
    names = [name] if name or not platform.models() else platform.models()
    if watch:
        _watch(platform, names, as_json)
    found = [look(platform, each) for each in names]
    if as_json:
        documents = [each.to_json() for each in found]
        print_json(documents[0] if name else documents)
        return
    click.echo("\n".join(_lines(found)))


def look(platform: Platform, name: str | None) -> Found:
    """
    How a model stands now.

    Raises:
        Unavailable: If the store does not answer.
    """
    from trimtab.app.cli.asking import ask_listener
    from trimtab.app.status import read_status

    state = platform.state(name)
    live = ask_listener(platform, "GET", f"/v1/models/{state.model}/status") or {}
    worker = state.lease.who()
    return Found(read_status(state), worker.owner if worker else None, tuple(live.get("problems", [])))


def _lines(found: list[Found]) -> list[str]:
    from trimtab.app.cli.run_pages import status_lines

    lines: list[str] = []
    for each in found:
        lines += ([""] if lines else []) + status_lines(each.status, each.owner, each.problems)
    return lines


def _watch(platform: Platform, names: list[str | None] | list[str], as_json: bool) -> None:
    """Until Ctrl-C: on a terminal the whole is drawn again when it changes, elsewhere a line for each change."""
    if sys.stdout.isatty() and not as_json:
        click.clear()
    before: list[Found] = []
    while True:
        found = _again(platform, names, before)
        if found != before:
            _show(before, found, as_json)
        before = found
        time.sleep(WATCH_SECONDS)


def _again(platform: Platform, names: list[str | None] | list[str], before: list[Found]) -> list[Found]:
    """The next look; while the store is away, the last one with that problem."""
    from trimtab.core.errors import Unavailable

    try:
        return [look(platform, name) for name in names]
    except Unavailable as error:
        if not before:
            raise
        return [replace(each, problems=(error.message,)) for each in before]


def _show(before: list[Found], found: list[Found], as_json: bool) -> None:
    if as_json:
        for each in found:
            click.echo(json.dumps(each.to_json(), default=str, ensure_ascii=False))
    elif sys.stdout.isatty():
        lines = [line + REST_OF_LINE for block in _lines(found) for line in block.split("\n")]
        click.echo(TOP + "\n".join(lines) + "\n" + REST_OF_SCREEN, nl=False)
    else:
        _say_changes(before, found)


def _say_changes(before: list[Found], found: list[Found]) -> None:
    from trimtab.app.cli.live import changes

    known = {each.status.model: replace(each.status, problems=each.problems) for each in before}
    several = len(found) > 1
    for each in found:
        model = each.status.model
        for line in changes(known.get(model), replace(each.status, problems=each.problems)):
            about = f"{model}: " if several else ""
            click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {about}{line}")
