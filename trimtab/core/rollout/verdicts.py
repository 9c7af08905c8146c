"""What a rollout is to do next: the values that `decision.decide` answers with, and that only `app/` applies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trimtab.core.rollout.values import Phase

Numbers = dict[str, Any]  # what the journal keeps of a verdict: `evidence.numbers`


@dataclass(frozen=True, slots=True)
class Advance:
    """
    Enter the step with this index of the policy's steps: split the traffic so.

    `phase` is Paused where the step waits for an approval; weight and shadow are then those of the step before.
    """

    step: int
    weight_percent: int
    shadow: bool
    phase: Phase
    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave the traffic as it is. `phase` is what the rollout is in while it holds: Held once its time is over."""

    reason: str
    phase: Phase
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollBack:
    """All traffic to the champion. `metric` is errors, latency or loss, and empty under `onNoEvidence: rollBack`."""

    reason: str
    metric: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promote:
    """All traffic to the challenger; once the router confirms it, it is the champion."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abort:
    """All traffic to the champion, because somebody asked for it: nothing is said of the challenger."""

    reason: str


@dataclass(frozen=True, slots=True)
class Supersede:
    """A newer challenger takes this one's place before it ever carried weight."""

    by: int
    reason: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Probation is over, and the former champion is no longer needed for it."""

    reason: str
    numbers: Numbers = field(default_factory=dict)


Verdict = Advance | Hold | RollBack | Promote | Abort | Supersede
Probation = Hold | RollBack | Settle
