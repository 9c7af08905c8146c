"""
Contradictions within a rollout, be it a model's policy or a ModelRollout's own.

Each function answers one rule of `rules.ROLLOUT_RULES`, or of `rules.REQUEST_RULES`: it yields what was found and the
next move, for each breach.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

from trimtab.core.spec.contradictions_data import Breach
from trimtab.core.spec.document import Path
from trimtab.core.spec.model_rollout import RolloutRequest
from trimtab.core.spec.rollout import Rollout
from trimtab.core.spec.units import format_duration


class Led(Protocol):
    """What has a rollout: a model's spec, a ModelRollout's."""

    @property
    def rollout(self) -> Rollout: ...


def one_kind_of_step(spec: Led) -> Iterator[Breach]:
    for index, step in enumerate(spec.rollout.steps):
        kinds = {"shadow": step.shadow, "setWeight": step.set_weight, "pause": step.pause}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            hint = "write one of {shadow: {minRequests: 500}}, {setWeight: 5} and {pause: {}}"
            yield Breach(f"found {' and '.join(given) or 'none of them'}", hint, (index,))
        elif step.set_weight is None and (step.min_requests is not None or step.min_duration is not None):
            hint = "write {shadow: {minRequests: …}}" if step.shadow else "remove minRequests and minDuration"
            yield Breach(f"found minRequests or minDuration beside {given[0]}", hint, (index,))


def steps_of_strategy(spec: Led) -> Iterator[Breach]:
    rollout = spec.rollout
    weights = [step.set_weight for step in rollout.steps if step.set_weight is not None]
    at: Path = ("steps",)
    if rollout.strategy == "immediate" and rollout.steps:
        yield Breach("found steps with strategy: immediate", "write strategy: canary, or remove the steps", at)
    if rollout.strategy == "canary" and not weights:
        yield Breach("found canary without a setWeight step", "add {setWeight: 5}, or write strategy: shadow", at)
    if rollout.strategy == "shadow" and (not rollout.steps or any(step.shadow is None for step in rollout.steps)):
        hint = "write steps: [{shadow: {minRequests: 500}}], or strategy: canary"
        yield Breach("found shadow with other steps, or with none", hint, at)
    if rollout.strategy == "abTest" and len(weights) != 1:
        yield Breach(f"found abTest with {len(weights)} setWeight steps", "keep one, such as {setWeight: 50}", at)


def weights_rise(spec: Led) -> Iterator[Breach]:
    highest = 0
    for index, step in enumerate(spec.rollout.steps):
        if step.set_weight is None:
            if step.shadow is not None and highest:
                yield Breach("found shadow after a weight", "move the shadow step to the front", (index,))
        elif step.set_weight <= highest:
            yield Breach(f"found {step.set_weight} after {highest}", "order the weights upwards", (index, "setWeight"))
        else:
            highest = step.set_weight


def steps_in_time(spec: Led) -> Iterator[Breach]:
    needed = sum((step.min_duration or timedelta(0) for step in spec.rollout.steps), timedelta(0))
    if needed > spec.rollout.max_duration:
        found = f"the steps take at least {format_duration(needed)}"
        yield Breach(found, f"raise maxDuration above {format_duration(needed)}, or shorten minDuration")


def users_named(spec: Led) -> Iterator[Breach]:
    if spec.rollout.strategy == "abTest" and spec.rollout.sticky_header is None:
        yield Breach("found strategy: abTest and no stickyHeader", "add stickyHeader: x-user-id, or write canary")


def one_form(spec: RolloutRequest) -> Iterator[Breach]:
    of_model = {"model": spec.model, "version": spec.version, "champion": spec.champion}
    free = {"target.champion": spec.target.champion, "target.challenger": spec.target.challenger}
    given, others = ([name for name, value in form.items() if value is not None] for form in (of_model, free))
    if (len(given), len(others)) not in ((len(of_model), 0), (0, len(free))):
        hint = "name both predictors, or leave the rollouts of models to trimtab, which makes them"
        yield Breach(f"found {' and '.join((*given, *others)) or 'none of them'}", hint)


def steps_without_model(spec: RolloutRequest) -> Iterator[Breach]:
    if spec.model is not None:
        return
    if not spec.steps:
        yield Breach("found no steps", "write steps: [{setWeight: 10}]", ("steps",))
    for index, step in enumerate(spec.steps):
        # Mirrored answers are counted by trimtab's own model server, which these predictors need not be.
        if step.shadow is not None:
            yield Breach("found a shadow step", "begin with a small setWeight instead", ("steps", index))


def no_users_without_model(spec: RolloutRequest) -> Iterator[Breach]:
    if spec.model is None and spec.sticky_header is not None:
        yield Breach(f"found {spec.sticky_header}", "leave it out, and write strategy: canary")


def predictors_differ(spec: RolloutRequest) -> Iterator[Breach]:
    if spec.target.challenger is None:
        return
    name = spec.target.challenger.predictor.name
    if name == spec.target.champion:
        at: Path = ("target", "challenger", "predictor", "name")
        yield Breach(f"found {name} as champion and as challenger", "give the challenger a name of its own", at)
