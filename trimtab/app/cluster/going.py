"""What leads one model's rollouts while there is something to lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.adapters.stored_losses import NewLosses
from trimtab.app.cluster.rollout_objects import RolloutObjects
from trimtab.app.rollout.leader import Leader
from trimtab.app.rollout.measuring import Measuring
from trimtab.app.rollout.replaying import Losses, Replaying
from trimtab.app.rollout.telling import Telling
from trimtab.core.ports import TrafficSplit
from trimtab.core.records import ModelVersion
from trimtab.core.rollout.values import RolloutSpec, RolloutState
from trimtab.core.spec.model import ContinuousModel

EVERY_LOOK = 0.0  # what was scored is read at each: where nothing has come that is one HEAD


@dataclass
class Going:
    state: State
    leader: Leader
    objects: RolloutObjects


def begin(
    state: State,
    model: ContinuousModel,
    traffic: TrafficSplit,
    objects: RolloutObjects,
    epoch: int,
    wall: Callable[[], datetime],
    propose_in_child: Callable[..., RolloutSpec],
) -> Going:
    """
    Args:
        epoch: Of the model's lease.
        propose_in_child: As `proposing.in_a_child`.
    """
    scored = NewLosses(state)

    def losses(spec: RolloutSpec, at: RolloutState) -> Losses | None:
        return scored.of(spec.number)

    def proposing(version: ModelVersion, champion: int, cause: str) -> RolloutSpec:
        if model.spec.data.task == "classification":
            return propose(state, model, version, champion, cause, wall)
        # The scale of a regression's loss needs the rows it learned, and what reads them is large.
        return propose_in_child(state, model, version, champion, cause)

    # A small read, and at once: the process that scores is another one.
    replaying = Replaying(losses, start=lambda read: read(), pause_seconds=EVERY_LOOK)
    measuring = Measuring(state, traffic, replaying)
    telling = Telling(state.journal, wall, objects.told)
    leader = Leader(state, model.spec.rollout, traffic, measuring, telling, wall, proposing)
    leader.forget(epoch)
    return Going(state, leader, objects)
