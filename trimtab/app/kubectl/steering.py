"""`kubectl trimtab promote`, `approve`, `abort`, `pause`, `resume` and `rollback`: each one patch of a resource."""

from __future__ import annotations

from typing import Any

import click

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.app.cluster.asking import ASKED_BY, PLUGIN
from trimtab.app.cluster.going_back import PREVIOUS
from trimtab.app.cluster.resources import ROLLBACK_TO
from trimtab.app.kubectl.finding import Place, going_on_only, phase_of, place, placed, rollout_of
from trimtab.core.errors import Invalid
from trimtab.core.references import parse_reference

WAITS = "waits for approval"


@click.command(epilog="Example:  kubectl trimtab promote flights")
@click.argument("name")
@placed
def promote(name: str, namespace: str, context: str) -> None:
    """Skip what is left of NAME's rollout: the challenger takes over, without further evidence."""
    at = place(namespace, context)
    ask(at, name, "promoted", True, "promoted: the challenger takes over as soon as it is ready")


@click.command(epilog="Example:  kubectl trimtab approve flights")
@click.argument("name")
@placed
def approve(name: str, namespace: str, context: str) -> None:
    """Approve the pause step at which NAME's rollout waits; who does so is kept in the journal."""
    at = place(namespace, context)
    rollout = rollout_of(at, name)
    going_on_only(rollout)
    reason = str((rollout.get("status") or {}).get("reason") or "")
    if phase_of(rollout) != "Paused" or WAITS not in reason:
        shown = rollout["metadata"]["name"]
        raise Invalid(
            f"rollout {shown} does not wait for approval: {phase_of(rollout)}: {reason}",
            f"kubectl trimtab promote {shown} -n {at.namespace} skips what is left",
        )
    user = at.api.whoami()
    write(at, rollout, user, {"approved": True, "approvedBy": user})
    click.echo(f"{rollout['metadata']['name']} approved by {user}")


@click.command(epilog="Example:  kubectl trimtab abort flights")
@click.argument("name")
@placed
def abort(name: str, namespace: str, context: str) -> None:
    """End NAME's rollout for good: the champion answers everything again."""
    ask(place(namespace, context), name, "aborted", True, "aborted: the champion answers everything again")


@click.command(epilog="Example:  kubectl trimtab pause flights")
@click.argument("name")
@placed
def pause(name: str, namespace: str, context: str) -> None:
    """Leave the traffic of NAME's rollout as it is; proven harm still rolls back."""
    at = place(namespace, context)
    ask(at, name, "paused", True, f"paused until: kubectl trimtab resume {name} -n {at.namespace}")


@click.command(epilog="Example:  kubectl trimtab resume flights")
@click.argument("name")
@placed
def resume(name: str, namespace: str, context: str) -> None:
    """Let NAME's rollout go on after `pause`."""
    ask(place(namespace, context), name, "paused", False, "resumed")


@click.command(
    epilog="Example:  kubectl trimtab rollback flights        (or: kubectl trimtab rollback flights --to v4)"
)
@click.argument("name")
@click.option("--to", default=PREVIOUS, help="A version such as v4; default: the champion before this one.")
@placed
def rollback(name: str, to: str, namespace: str, context: str) -> None:
    """
    Make an older version of ContinuousModel NAME champion again.

    A rollout that goes on is aborted. A version that does not run any more is started first, while the champion serves.
    """
    at = place(namespace, context)
    if to != PREVIOUS:
        parse_reference(f"{name}/v{to.removeprefix('v')}")
    at.api.get(MODEL, at.namespace, name)
    annotations = {ROLLBACK_TO: to, ASKED_BY: at.api.whoami()}
    at.api.merge(MODEL, at.namespace, name, {"metadata": {"annotations": annotations}}, manager=PLUGIN)
    wanted = "the champion before this one" if to == PREVIOUS else to
    click.echo(
        f"{name} is to go back to {wanted}: kubectl trimtab status {name} -n {at.namespace} shows it, "
        f"or kubectl describe ctm {name} -n {at.namespace} why it cannot"
    )


def ask(at: Place, name: str, field: str, value: bool, done: str) -> None:
    """
    Set a wish in the rollout's spec.

    Raises:
        NotFound: If there is no such rollout.
        Invalid: If it has ended, or the wish stands there already.
    """
    rollout = rollout_of(at, name)
    going_on_only(rollout)
    shown, spec = rollout["metadata"]["name"], rollout["spec"]
    if spec.get("aborted") and field != "aborted":
        raise Invalid(f"rollout {shown} is to end: it was aborted; nothing was changed")
    if bool(spec.get(field)) == value:
        raise Invalid(f"rollout {shown} is {field if value else f'not {field}'} already; nothing was changed")
    write(at, rollout, at.api.whoami(), {field: value})
    click.echo(f"{shown} {done}")


def write(at: Place, rollout: Object, user: str, spec: dict[str, Any]) -> None:
    """With the user's name: a field manager's says only which program wrote."""
    body = {"metadata": {"annotations": {ASKED_BY: user}}, "spec": spec}
    at.api.merge(ROLLOUT, at.namespace, rollout["metadata"]["name"], body, manager=PLUGIN)
