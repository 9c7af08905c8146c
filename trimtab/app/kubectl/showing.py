"""`kubectl trimtab status` and `plan`: what the resources say of a model and its rollout, in sentences."""

from __future__ import annotations

from typing import Any

import click

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.app.cli import print_json
from trimtab.app.kubectl.finding import Place, goes_on, of_model, phase_of, place, placed, rollout_of
from trimtab.core.spec.rollout import Rollout

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


@click.command(epilog="Example:  kubectl trimtab status flights")
@click.argument("name", required=False)
@placed
@json_option
def status(name: str | None, namespace: str, context: str, as_json: bool) -> None:
    """Show what serves, how far NAME's rollout is and why, and the next move; without NAME every model's."""
    at = place(namespace, context)
    if name is None:
        models, _ = at.api.list(MODEL, at.namespace)
    else:
        found = at.api.find(MODEL, at.namespace, name)
        models = [found] if found is not None else []
    if name is not None and not models:
        rollout = rollout_of(at, name)
        said = {"rollout": rollout["metadata"]["name"], **(rollout.get("status") or {})}
        print_json(said) if as_json else click.echo("\n".join(rollout_lines(rollout)))
        return
    documents = [_document(at, model) for model in models]
    if as_json:
        print_json(documents[0] if name else documents)
        return
    if not models:
        click.echo(f"no ContinuousModel in namespace {at.namespace}")
    for model, document in zip(models, documents, strict=True):
        click.echo("\n".join(model_lines(model, document["rollouts"])))


@click.command(epilog="Example:  kubectl trimtab plan flights")
@click.argument("name")
@placed
@json_option
def plan(name: str, namespace: str, context: str, as_json: bool) -> None:
    """
    Show what NAME's rollout waits for, how far each test is, and what is still to come.

    As the controller last wrote it; `trimtab plan`, which reads the store, decides anew.
    """
    rollout = rollout_of(place(namespace, context), name)
    coming = steps_to_come(rollout)
    found = rollout.get("status") or {}
    if as_json:
        said = {"rollout": rollout["metadata"]["name"], "phase": phase_of(rollout), "reason": found.get("reason", "")}
        print_json(said | {"tests": found.get("tests") or [], "steps": coming})
        return
    click.echo("\n".join([*rollout_lines(rollout), *(f"  to come    {line}" for line in coming)]))


def model_lines(model: Object, rollouts: list[Object]) -> list[str]:
    """A model in a few lines."""
    found = model.get("status") or {}
    conditions = {each["type"]: each for each in found.get("conditions") or ()}
    champion = f"v{found['champion']} is champion" if found.get("champion") else "no champion yet"
    lines = [f"{model['metadata']['name']}: {champion}"]
    accepted = conditions.get("Accepted") or {"status": "Unknown", "message": "the controller has not looked at it yet"}
    if accepted["status"] != "True":
        lines.append(f"  spec       not accepted: {accepted['message']}")
    for field, title in (("run", "run"), ("waiting", "waiting"), ("lastRun", "last run")):
        if found.get(field):
            lines.append(f"  {title:10} {found[field]}")
    lines += [f"  problem    {problem}" for problem in found.get("problems") or ()]
    for rollout in rollouts:
        lines += [f"  {line}" for line in rollout_lines(rollout)]
    if found.get("nextMove"):
        lines.append(f"  next       {found['nextMove']}")
    return lines


def rollout_lines(rollout: Object) -> list[str]:
    """A rollout in a few lines."""
    found = rollout.get("status") or {}
    place = f", step {found['step']} of {found['steps']}" if goes_on(rollout) and found.get("steps") else ""
    share = f"{found.get('weightPercent', 0)} %"
    share = "a copy of the traffic" if found.get("shadow") else share
    split = f", {found['challenger']} answers {share}" if goes_on(rollout) and found.get("challenger") else ""
    reason = found.get("reason") or "the controller has not taken it up yet"
    lines = [f"{rollout['metadata']['name']} {phase_of(rollout)}{place}{split}: {reason}"]
    lines += [f"  {test}" for test in found.get("tests") or ()]
    move = next_move(rollout)
    return lines + ([f"  next       {move}"] if move else [])


def next_move(rollout: Object) -> str:
    """What a person should do; empty when nothing."""
    meta, found = rollout["metadata"], rollout.get("status") or {}
    name = f"{meta['name']} -n {meta['namespace']}"
    if phase_of(rollout) == "Held":
        return f"kubectl trimtab promote {name}, or kubectl trimtab abort {name}"
    if phase_of(rollout) == "Paused" and "waits for approval" in (found.get("reason") or ""):
        return f"kubectl trimtab approve {name}, or kubectl trimtab abort {name}"
    if phase_of(rollout) == "Paused":
        return f"kubectl trimtab resume {name}"
    return ""


def steps_to_come(rollout: Object) -> list[str]:
    """From the step of now on, with the requests that each asks for."""
    from trimtab.core.rollout.plan import expected

    if not goes_on(rollout):
        return []
    spec = rollout["spec"]
    names = {field.alias or name for name, field in Rollout.model_fields.items()}
    policy = Rollout.model_validate({"strategy": "canary"} | {name: spec[name] for name in names if name in spec})
    judged = spec.get("model") is not None or spec["target"].get("maxLatencyMilliseconds") is not None
    step = int((rollout.get("status") or {}).get("step") or 1) - 1
    coming = [each for each in expected(policy, judges_latency=judged) if each.step is None or each.step >= step]
    return [f"step {each.step + 1}: {each}" if each.step is not None else f"to promote: {each}" for each in coming]


def _document(at: Place, model: Object) -> dict[str, Any]:
    """A model's status with the rollouts that go on, or else the last."""
    rollouts = of_model(at, model["metadata"]["name"])
    shown = [each for each in rollouts if goes_on(each)] or rollouts[-1:]
    return {"model": model["metadata"]["name"], **(model.get("status") or {}), "rollouts": shown}
