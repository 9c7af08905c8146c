"""The status of a ModelRollout as people read it with kubectl: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trimtab.adapters.kubernetes.conditions import Condition, Truth, merged, stamp
from trimtab.app.rollout.standing import tests
from trimtab.core.rollout.serving import WHOLE
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

MOST_WORDS = 1024  # characters of a sentence
COUNTING = ("reason", "tests")  # fields that change with each request
VERSION = re.compile(r"\bv(\d+)\b")
ACCEPTED = Condition("Accepted", "True", "Valid", "the rollout is led as its spec says")
NO_LOSS = Condition(
    "LossJudged",
    "False",
    "NoLabels",
    "errors judge this rollout, and latency where target.maxLatencyMilliseconds is set: without a model there are no "
    "labels, and a reward sent to /feedback reaches either predictor by weight, whichever answered",
)


def status_of(
    spec: RolloutSpec,
    state: RolloutState | None,
    before: Mapping[str, Any],
    generation: int,
    evidence: str,
    now: datetime,
    names: Mapping[int, str] | None = None,
    accepted: Condition = ACCEPTED,
    also: Sequence[Condition] = (),
) -> dict[str, Any]:
    """
    The status to write.

    Args:
        state: How far it is; None before it is led.
        before: The status as the object has it.
        generation: Of the object's spec that was looked at.
        evidence: Where all that was measured stands.
        names: Of the versions, where they are not `v1`, `v2`, ….
        accepted: The condition of that name.
        also: Conditions that hold whatever happens.
    """
    called = {spec.champion: f"v{spec.champion}", spec.version: f"v{spec.version}"} | dict(names or {})
    at = state or RolloutState(number=spec.number, epoch=0, started=spec.recorded_at, reason="waits for its turn")
    conditions = [accepted, _routed(called[spec.version], at), *_ends(at), *also]
    found: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": at.phase.value,
        "step": min(at.step + 1, max(len(spec.policy.steps), 1)),
        "steps": len(spec.policy.steps),
        "weightPercent": at.weight_percent,
        "shadow": at.shadow,
        "champion": called[spec.champion],
        "challenger": called[spec.version],
        "reason": at.reason[:MOST_WORDS],
        "started": stamp(at.started),
        "evidence": evidence,
        "conditions": merged(before.get("conditions") or (), conditions, generation, now),
    }
    if at.ended is not None:
        found["ended"] = stamp(at.ended)
    told = tests(spec, at) if at.evidence else ()
    if told:
        found["tests"] = [line[:MOST_WORDS] for line in told]
    return _renamed(found, called) if names else found


def refused(
    before: Mapping[str, Any], generation: int, condition: Condition, now: datetime, waits: bool = False
) -> dict[str, Any]:
    """The status of one that is not led: for good, or until its turn comes."""
    conditions = merged(before.get("conditions") or (), [condition], generation, now)
    phase = Phase.PENDING.value if waits else Phase.ERROR.value
    said = {"observedGeneration": generation, "phase": phase, "reason": condition.message[:MOST_WORDS]}
    return {**before, **said, "conditions": conditions}


def news(status: Mapping[str, Any]) -> dict[str, Any]:
    """What of a status is worth writing at once: all but what counts requests."""
    kept = {name: value for name, value in status.items() if name not in COUNTING}
    words = ("type", "status", "reason")
    kept["conditions"] = [{name: each[name] for name in words} for each in status.get("conditions") or ()]
    return kept


def renamed(text: str, names: Mapping[int, str]) -> str:
    """
    A sentence about versions, with their names in it.

    >>> renamed("v2 answers 5 % beside v1 (v20 does not)", {1: "main", 2: "canary"})
    'canary answers 5 % beside main (v20 does not)'
    """
    return VERSION.sub(lambda found: names.get(int(found[1]), found[0]), text)


def _renamed(value: Any, names: Mapping[int, str]) -> Any:
    match value:
        case dict():
            return {key: inner if key == "evidence" else _renamed(inner, names) for key, inner in value.items()}
        case list():
            return [_renamed(inner, names) for inner in value]
        case str():
            return renamed(value, names)
        case _:
            return value


def _routed(challenger: str, at: RolloutState) -> Condition:
    """Whether the router has what was asked of it last."""
    if not at.epochs:
        return Condition("Routed", "True", "ChampionAlone", f"{challenger} answers nobody yet")
    share = "everything" if at.weight_percent == WHOLE else f"{at.weight_percent} %"
    share = "a copy of the traffic" if at.shadow else share
    if at.epochs[-1].confirmed_from is not None or at.phase is Phase.PROMOTED:
        return Condition("Routed", "True", "Confirmed", f"the router has it: {challenger} answers {share}")
    return Condition("Routed", "False", "Unconfirmed", f"not confirmed by the router yet: {challenger} answers {share}")


def _ends(at: RolloutState) -> list[Condition]:
    """`kubectl wait --for=condition=Complete` ends with each end, `Promoted` with one of them."""
    phase = at.phase.value
    if not at.phase.ended:
        waits = {Phase.PAUSED: "it is paused, or waits for approval", Phase.HELD: "people decide"}.get(at.phase, "")
        return [Condition("Complete", "False", phase, waits), Condition("Promoted", "Unknown", phase)]
    promoted: Truth = "True" if at.phase is Phase.PROMOTED else "False"
    return [Condition("Complete", "True", phase, at.reason), Condition("Promoted", promoted, phase, at.reason)]
