"""`trimtab promote`, `abort`, `pause`, `resume` and `rollback`: what a person asks of a rollout."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.app.opening import Platform
    from trimtab.core.rollout.values import RolloutSpec
    from trimtab.core.rollout.wishes import Verb

reason_option = click.option("--reason", default="", help="Why, in your words; the journal keeps it.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


@click.command(epilog="Example:  trimtab promote flights")
@click.argument("name")
@reason_option
@json_option
def promote(name: str, reason: str, as_json: bool) -> None:
    """Skip what is left of NAME's rollout: the challenger becomes champion, without further evidence."""
    ask("promote", name, reason, as_json, "the challenger becomes champion as soon as it is ready")


@click.command(epilog="Example:  trimtab abort flights --reason 'wrong week for it'")
@click.argument("name")
@reason_option
@json_option
def abort(name: str, reason: str, as_json: bool) -> None:
    """End NAME's rollout: the champion answers everything again; nothing is held against the challenger."""
    ask("abort", name, reason, as_json, "the champion answers everything again")


@click.command(epilog="Example:  trimtab pause flights")
@click.argument("name")
@reason_option
@json_option
def pause(name: str, reason: str, as_json: bool) -> None:
    """Leave the traffic of NAME's rollout as it is; proven harm still rolls back."""
    ask("pause", name, reason, as_json, f"the traffic stays as it is until: trimtab resume {name}")


@click.command(epilog="Example:  trimtab resume flights")
@click.argument("name")
@reason_option
@json_option
def resume(name: str, reason: str, as_json: bool) -> None:
    """Let NAME's rollout go on after `pause`."""
    ask("resume", name, reason, as_json, f"it goes on: trimtab plan {name} shows what comes next")


@click.command(epilog="Example:  trimtab rollback flights        (or: trimtab rollback flights v4)")
@click.argument("name")
@click.argument("version", required=False)
@reason_option
@json_option
def rollback(name: str, version: str | None, reason: str, as_json: bool) -> None:
    """
    Make an older version of NAME champion again: the one before this, or VERSION.

    The former champion is kept running for rollout.keepPrevious and takes over within seconds; any other version is
    started first, while the champion serves on. A rollout that goes on is aborted.
    """
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference
    from trimtab.core.rollout.wishes import rolled_back

    platform = Platform.find()
    state = platform.state(name)
    number = parse_reference(f"{name}/v{version.removeprefix('v')}").number if version else None
    wanted = state.registry.version(number) if number is not None else None
    who = _who()
    goes_on = _going_on(state)
    ended = goes_on.version if goes_on else None
    manifest = state.registry.publish(
        lambda now: rolled_back(state.model, wanted, now, datetime.now(UTC), who, reason, ended)
    )
    # Under the same id as the loop would tell it, which may be quicker.
    evidence = manifest.model_dump(mode="json", by_alias=True, include={"champion", "challenger", "previous"})
    decided_at = platform.policy_time(state)
    state.journal.tell(f"manifest/{manifest.number}", "promoted", manifest.cause, evidence, decided_at)
    if goes_on is not None:
        state.rollouts.ask(
            goes_on.number, lambda asked: asked.model_copy(update={"aborted": True, "reason": manifest.cause})
        )
    poke(platform, state.model)
    if as_json:
        print_json(manifest.model_dump(mode="json", by_alias=True))
        return
    click.echo(f"{name}/v{manifest.champion} is champion, before it v{manifest.previous}")
    if goes_on is not None and goes_on.version != manifest.champion:
        click.echo(f"rollout {goes_on.name} ends with it")
    click.echo(f"it answers as soon as it is ready: trimtab status {name} -w")


def ask(verb: Verb, name: str, reason: str, as_json: bool, what: str) -> None:
    """
    Keep the wish with the rollout that goes on; the controller finds it there.

    Raises:
        Invalid: If no rollout goes on, or the wish changes nothing.
    """
    from trimtab.app.opening import Platform
    from trimtab.core.rollout.wishes import wished

    platform = Platform.find()
    state = platform.state(name)
    spec = _going_on(state)
    if spec is None:
        raise Invalid(
            f"no rollout of {name} goes on",
            f"trimtab status {name} shows what serves; an older version serves again by: trimtab rollback {name}",
        )
    stands, who = state.rollouts.state(spec.number), _who()
    asked = state.rollouts.ask(spec.number, lambda asked: wished(verb, spec, stands, asked, who, reason))
    # Here, because the controller tells what a wish led to, and a `resume` or a second `pause` leads to nothing new.
    said = {"rollout": spec.name, "version": spec.version, "champion": spec.champion, "asked": verb}
    id = f"rollout/{spec.number}/asked/{asked.nonce}"
    state.journal.tell(id, "asked", f"{spec.name}: {asked.reason}", said, platform.policy_time(state))
    poke(platform, state.model)
    if as_json:
        print_json(asked.model_dump(mode="json", by_alias=True) | {"rollout": spec.name})
        return
    click.echo(f"{spec.name}: {what}")
    if state.lease.who() is None:
        click.echo(f"no platform works for {name} now; it is kept until one does: trimtab up -f model.yaml", err=True)


def poke(platform: Platform, model: str) -> None:
    """Let the controller look now; where it cannot be reached, it looks within seconds by itself."""
    from trimtab.app.cli.asking import ask_listener

    ask_listener(platform, "POST", f"/v1/models/{model}/rollout")


def _going_on(state: State) -> RolloutSpec | None:
    from trimtab.core.rollout.wishes import going_on

    return going_on(state.rollouts.all(), state.rollouts.states())


def _who() -> str:
    """The user of this machine, for the journal."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "an unnamed user"
