"""How a model's rollout stands, for people: what `trimtab status` and the live display show of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core.rollout.serving import WHOLE
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState


@dataclass(frozen=True, slots=True)
class Standing:
    """
    The rollout that goes on, or else the last one.

    Attributes:
        tests: By test (errors, mirrored, latency, loss) how far it is, in a sentence with its e-value.
        waiting: Names of rollouts that wait behind it.
    """

    name: str
    version: int
    champion: int
    phase: str
    step: int  # from 1
    steps: int
    weight_percent: int
    shadow: bool
    reason: str
    since: datetime  # wall clock
    ended: datetime | None
    tests: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        return self.ended is None


def standing(specs: Sequence[RolloutSpec], states: Mapping[int, RolloutState | None]) -> Standing | None:
    """None before the first rollout."""
    if not specs:
        return None
    going_on = [spec for spec in specs if (state := states.get(spec.number)) is None or not state.phase.ended]
    spec = going_on[0] if going_on else specs[-1]
    state = states.get(spec.number) or RolloutState(
        number=spec.number, epoch=0, started=spec.recorded_at, reason="waits for the controller"
    )
    return Standing(
        name=spec.name,
        version=spec.version,
        champion=spec.champion,
        phase=state.phase.value,
        step=state.step + 1,
        steps=len(spec.policy.steps),
        weight_percent=state.weight_percent,
        shadow=state.shadow,
        reason=state.reason,
        since=state.started,
        ended=state.ended,
        tests=tests(spec, state) if state.evidence and not state.phase.ended else (),
        waiting=tuple(each.name for each in going_on[1:]),
    )


def tests(spec: RolloutSpec, state: RolloutState) -> tuple[str, ...]:
    """Each test that has seen anything, in a sentence."""
    from trimtab.app.rollout.measuring import evidence_of
    from trimtab.core.rollout.proof import harm

    return tuple(str(found) for found in harm(evidence_of(state), spec) if found.challenger_units)


def next_move(model: str, found: Standing | None) -> str:
    """What a person should do about the rollout, commands between backticks; empty when nothing."""
    if found is None:
        return ""
    if found.phase == Phase.ROLLED_BACK:
        return f"`trimtab history {model} --journal` tells of it; what is uploaded next trains another"
    if not found.goes_on:
        return ""
    if found.phase == Phase.HELD:
        return f"`trimtab plan {model}`, then `trimtab promote {model}` or `trimtab abort {model}`"
    if found.phase == Phase.PAUSED and "waits for approval" in found.reason:
        return f"`trimtab plan {model}`, then `trimtab approve {model}` or `trimtab abort {model}`"
    return ""


def line(found: Standing) -> str:
    """One line: where it stands and why."""
    share = "everything" if found.weight_percent == WHOLE else f"{found.weight_percent} %"
    share = "a copy of the traffic" if found.shadow else share
    split = f", v{found.version} answers {share}" if found.goes_on and (found.weight_percent or found.shadow) else ""
    place = f", step {min(found.step, found.steps)} of {found.steps}" if found.goes_on else ""
    behind = f"; behind it {', '.join(found.waiting)}" if found.waiting else ""
    return f"{found.name} {found.phase}{place}{split}: {found.reason}{behind}"
