"""What people may ask of a rollout, and of the registry, while it goes on: the rules, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from trimtab.core.errors import Invalid
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState

Verb = Literal["pause", "resume", "abort", "promote", "approve"]


def going_on(specs: Sequence[RolloutSpec], states: Mapping[int, RolloutState | None]) -> RolloutSpec | None:
    """The rollout that goes on: the oldest that has not ended; those behind it are queued."""
    for spec in sorted(specs, key=lambda each: each.number):
        state = states.get(spec.number)
        if state is None or not state.phase.ended:
            return spec
    return None


def wished(verb: Verb, spec: RolloutSpec, state: RolloutState | None, asked: Asked, by: str, reason: str) -> Asked:
    """
    What is asked of the rollout once somebody has said `verb`.

    Args:
        spec: The rollout.
        state: How far it is; None before the controller took it up.
        asked: What was asked of it before.
        by: Who asks.
        reason: In their words; may be empty.

    Raises:
        Invalid: If the rollout has ended, or the verb changes nothing.
    """
    if state is not None and state.phase.ended:
        raise Invalid(
            f"rollout {spec.name} has ended: {state.phase}: {state.reason}",
            f"another version becomes champion by: trimtab rollback {spec.model} vN",
        )
    if asked.aborted and verb != "abort":
        # Only a platform that is down leaves time for this: the wish would be taken, and come to nothing.
        raise Invalid(
            f"rollout {spec.name} is to end: {asked.reason}; nothing was changed",
            f"once it has ended, its version becomes champion by: trimtab rollback {spec.model} v{spec.version}",
        )
    said = {"reason": f"{verb} by {by}" + (f": {reason}" if reason else "")}
    if verb == "approve":
        return asked.model_copy(update={**_approval(spec, state, asked), "approved_by": by, **said})
    field, value = {
        "pause": ("paused", True),
        "resume": ("paused", False),
        "abort": ("aborted", True),
        "promote": ("promoted", True),
    }[verb]
    if getattr(asked, field) == value:
        found = {"pause": "paused already", "resume": "not paused", "abort": "aborted already"}.get(
            verb, "asked already"
        )
        raise Invalid(f"rollout {spec.name} is {found}; nothing was changed", f"trimtab status {spec.model} shows it")
    # Who promotes or resumes wants it to move.
    also = {"paused": False} if verb == "promote" else {}
    return asked.model_copy(update={field: value, **also, **said})


def _approval(spec: RolloutSpec, state: RolloutState | None, asked: Asked) -> dict[str, object]:
    """The pause step that waits is approved, and with it nothing that comes later."""
    steps = spec.policy.steps
    step = state.step if state is not None else 0
    waits = state is not None and state.phase is Phase.PAUSED and step < len(steps) and steps[step].pause is not None
    if not waits or step in asked.approved:
        later = [number for number, each in enumerate(steps) if each.pause is not None and number not in asked.approved]
        coming = (
            f"its next pause is step {later[0] + 1} of {len(steps)}" if later else "no step of it waits for approval"
        )
        raise Invalid(
            f"rollout {spec.name} does not wait for approval; {coming}",
            f"trimtab plan {spec.model} shows what it waits for; trimtab promote {spec.model} skips what is left",
        )
    return {"approved": (*asked.approved, step)}


def rolled_back(
    model: str,
    version: ModelVersion | None,
    now: Manifest | None,
    recorded_at: datetime,
    by: str,
    reason: str,
    ended: int | None = None,
) -> Manifest:
    """
    The manifest after `now` with an older version as champion, its number left to the registry.

    Args:
        version: To go back to; None: the champion before this one.
        ended: The challenger whose rollout ends with it: an alias that stays would get it another rollout.

    Raises:
        Invalid: If there is no champion, none before it, or the version serves already.
    """
    if now is None or now.champion is None:
        raise Invalid(f"{model} has no champion to go back from", f"trimtab status {model} shows what waits")
    number = version.number if version is not None else now.previous
    if number is None:
        raise Invalid(
            f"{model}/v{now.champion} is the first champion: there is none before it",
            f"name a version: trimtab show {model} lists them",
        )
    if number == now.champion:
        raise Invalid(f"{model}/v{number} is the champion already", f"trimtab show {model} lists the others")
    return Manifest(
        number=0,
        champion=number,
        challenger=now.challenger if now.challenger not in (number, ended) else None,
        previous=now.champion,
        cause=f"went back from v{now.champion} to v{number} by {by}" + (f": {reason}" if reason else ""),
        recorded_at=recorded_at,
    )
