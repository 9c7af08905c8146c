"""
A rollout as values: what it is to do, what people asked of it meanwhile, and how far it is.

Three objects in the state: the `RolloutSpec` never changes; `Asked` is written by people, compare-and-swapped;
`RolloutState` by the controller alone, compare-and-swapped with the epoch of its lease.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from trimtab.core.records import Record
from trimtab.core.spec.rollout import Rollout


class Phase(StrEnum):
    """Where a rollout stands; the last six are its ends."""

    PENDING = "Pending"  # the challenger is being started
    SHADOW = "Shadow"
    CANARY = "Canary"
    PAUSED = "Paused"
    HELD = "Held"  # not enough evidence at maxDuration: people decide
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"  # harm proven
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    ERROR = "Error"  # could not measure or act

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more; Held and Error go on when somebody asks for it or what failed works."""
        return self in (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED)


class RolloutSpec(Record):
    """
    What a rollout is to do: `rollouts/{number:020d}.json`, create-only.

    Everything that decides is copied from the model's spec at creation: an edit meanwhile changes the next rollout.
    """

    number: int
    name: str  # flights-v7, and flights-v7-2 for a second rollout of the same version
    model: str
    version: int  # the challenger
    champion: int
    rollout: dict[str, Any]  # the spec's rollout section, as it stands in YAML
    max_latency_milliseconds: float | None = None  # evaluation.maxLatencyP99Milliseconds
    loss_scale: float = 1.0  # the absolute error that counts as loss 1; 1 for classes
    maturity_seconds: float = 0.0
    depend_on_prediction: bool = False
    run_key: str = ""  # of the decision that made the challenger; empty when a person asked for it
    cause: str = ""  # one sentence
    recorded_at: datetime

    @property
    def policy(self) -> Rollout:
        """The rollout section, parsed."""
        return Rollout.model_validate(self.rollout)


class Said(Record):
    """What the rollout's custom resource says that people want."""

    paused: bool = False
    approved: bool = False
    promoted: bool = False
    aborted: bool = False


class Asked(Record):
    """What people asked of a rollout: `rollouts/{number:020d}.asked.json`."""

    number: int
    paused: bool = False
    approved: tuple[int, ...] = ()  # indexes of the pause steps that somebody approved
    approved_by: str = ""
    promoted: bool = False  # skip what is left: `trimtab promote`
    aborted: bool = False
    reason: str = ""  # who asked, and why
    said: Said = Said()  # by the custom resource, when that was last taken in: what differs from it is new
    nonce: str = ""


class WeightEpoch(Record):
    """One split of the traffic. The router confirmed it from `confirmed_from` to `confirmed_to`; None: not (yet)."""

    weight_percent: int  # of the challenger
    shadow: bool
    asked_at: datetime
    confirmed_from: datetime | None = None
    confirmed_to: datetime | None = None


class RolloutState(Record):
    """
    How far a rollout is: `rollouts/{number:020d}.state.json`.

    `evidence` is what `core.rollout.evidence.Evidence` says of itself; `position` where the next measurement begins.
    """

    number: int
    epoch: int  # of the lease of the controller that wrote it: a lower one is fenced off
    phase: Phase = Phase.PENDING
    step: int = 0  # index into the policy's steps
    weight_percent: int = 0
    shadow: bool = False
    reason: str = ""
    started: datetime  # wall clock, as all times here
    step_started: datetime | None = None  # when the router confirmed this step
    unanswered_since: datetime | None = None  # the router sends the challenger requests, and it is down
    ended: datetime | None = None
    epochs: tuple[WeightEpoch, ...] = ()
    evidence: dict[str, Any] = Field(default_factory=dict)
    position: str = ""  # in the router's access log
    nonce: str = ""
