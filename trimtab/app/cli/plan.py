"""`trimtab plan`: what the controller would do now, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from trimtab.app.cli import print_json

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.app.rollout.planning import Plan


@click.command(epilog="Example:  trimtab plan flights")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def plan(name: str | None, as_json: bool) -> None:
    """
    Show what the controller would do about NAME's rollout now, and why: a dry run.

    Each test's e-value stands beside the one that proves, and the steps to come with the requests that they ask for.
    """
    from trimtab.app.opening import Platform
    from trimtab.app.rollout import planning

    state = Platform.find().state(name)
    found = planning.plan(state, datetime.now(UTC), _immediate(state))
    if as_json:
        print_json(found.to_json())
        return
    _show(found)


def _immediate(state: State) -> bool:
    """Whether the newest version's spec knows no rollouts."""
    from trimtab.core.spec import load

    versions = state.registry.versions()
    if not versions:
        return True
    return load(state.data.spec(versions[-1].spec)).spec.rollout.strategy == "immediate"


def _show(found: Plan) -> None:
    from trimtab.app.rollout.planning import HARMLESS

    serves = f"v{found.champion} is champion" if found.champion else "no champion yet"
    about = f"{found.rollout} ({found.phase})" if found.rollout else "no rollout goes on"
    click.secho(f"{found.model}: {serves}; {about}", bold=True)
    click.echo(f"  would      {found.would}: {found.reason}")
    for test in found.tests:
        colour = None if not test.proven else "green" if test.name == HARMLESS else "red"
        click.echo(f"  {test.name:10} " + click.style(test.what.removeprefix(f"{test.name}: "), fg=colour))
    if found.requests_per_second:
        click.echo(f"  traffic    {found.requests_per_second:.3g} requests/s")
    for place, step in enumerate(found.steps):
        lasts = f", about {_duration(step.seconds)}" if step.seconds else ""
        title = f"step {step.step + 1}" if step.step is not None else "to promote"
        click.echo(f"  {title:10} {step}{lasts}{' (now)' if place == 0 and step.step is not None else ''}")
    for name in found.waiting:
        click.echo(f"  behind it  {name}")


def _duration(seconds: float) -> str:
    """Rounded to what is worth knowing of an estimate."""
    from trimtab.core.spec.units import format_duration

    unit = next(unit for unit in (3600, 60, 1) if seconds >= 2 * unit or unit == 1)
    return format_duration(timedelta(seconds=max(round(seconds / unit), 1) * unit))
