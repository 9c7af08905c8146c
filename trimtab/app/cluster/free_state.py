"""
What stands in the store of a rollout without a model: versions 1 and 2 of a model of its own, and one rollout.

The state is named after the ModelRollout and its uid, so that one that is made again begins anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.state import State
from trimtab.app.cluster.free_request import CHALLENGER, CHAMPION, policy_of
from trimtab.app.cluster.queue import Calm
from trimtab.app.cluster.rollout_statuses import Statuses
from trimtab.app.rollout.leader import Leader
from trimtab.core.errors import Conflict
from trimtab.core.ports import Buckets
from trimtab.core.records import Manifest
from trimtab.core.rollout.values import RolloutSpec, RolloutState
from trimtab.core.spec.model_rollout import ModelRollout

OWNER, LEASE_SECONDS = "trimtab-controller", 120.0  # as of a model's lease
NUMBER = 1  # each state holds one rollout


class Places:
    """Where the states of a cluster's rollouts without a model stand."""

    def __init__(self, settings: ClusterSettings, buckets: Buckets, wall: Callable[[], datetime]) -> None:
        self._settings = settings
        self._buckets = buckets
        self._wall = wall

    def state(self, namespace: str, name: str, uid: str) -> State:
        address = f"s3://{self._settings.state_bucket}/{namespace}"
        return State.open(self._buckets, address, f"rollout.{name}.{uid[:8]}", now=self._wall)

    def of(self, resource: Object) -> State:
        meta = resource["metadata"]
        return self.state(meta["namespace"], meta["name"], meta["uid"])


class Free:
    """
    One of them, and what leads it.

    Attributes:
        quiet: Looks in a row at which there was nothing to do.
        over: Whether all is as it is to be, and the SeldonDeployment free for the next.
    """

    def __init__(self, state: State, resource: Object) -> None:
        self.state = state
        self.resource = resource
        self.epoch = 0
        self._renewed = 0.0  # monotonic seconds
        self.quiet = 0
        self.calm = Calm()
        self.over = False
        self.leader: Leader | None = None
        self.statuses: Statuses | None = None

    @property
    def spec(self) -> RolloutSpec | None:
        """None before it began."""
        return self.state.rollouts.find(NUMBER)

    @property
    def at(self) -> RolloutState | None:
        return self.state.rollouts.state(NUMBER)

    def ended(self) -> bool:
        at = self.at
        return at is not None and at.phase.ended

    def begin(self, request: ModelRollout, now: datetime) -> RolloutSpec:
        """Write down the champion of now, and what is to be done."""
        meta = self.resource["metadata"]
        kept = {name: self.resource[name] for name in ("apiVersion", "kind", "spec")}
        kept["metadata"] = {name: meta[name] for name in ("namespace", "name", "uid")}
        self.state.bucket.put(_kept(self.state), json.dumps(kept, sort_keys=True).encode())
        cause = f"ModelRollout {meta['name']} was made"

        def first(before: Manifest | None) -> Manifest | None:
            if before is not None:
                return None
            return Manifest(number=0, champion=CHAMPION, challenger=None, previous=None, cause=cause, recorded_at=now)

        self.state.registry.publish(first)
        return self.state.rollouts.propose(
            RolloutSpec(
                number=0,
                name=meta["name"],
                model=self.state.model,
                version=CHALLENGER,
                champion=CHAMPION,
                rollout=policy_of(request),
                max_latency_milliseconds=request.spec.target.max_latency_milliseconds,
                cause=cause,
                recorded_at=now,
            )
        )

    def hold(self) -> None:
        """
        Take the lease of its state, or keep it: whoever led before is fenced off.

        Raises:
            Conflict: If another takes it just now: call again.
            Fenced: If another has taken it.
        """
        now = time.monotonic()
        if self.epoch and now - self._renewed > LEASE_SECONDS / 3:
            self.state.lease.renew(OWNER, self.epoch, LEASE_SECONDS)
            self._renewed = now
        if not self.epoch:
            epoch = self.state.lease.acquire(OWNER, LEASE_SECONDS, succeed=True)
            if epoch is None:
                raise Conflict(f"the lease of {self.state.model} is being taken by another process")
            self.epoch, self._renewed = epoch, now


def as_it_was(state: State) -> Object | None:
    """The ModelRollout that began, needed still when it was deleted; None where none did."""
    found = state.bucket.find(_kept(state))
    kept: Object | None = json.loads(found.body) if found is not None else None
    return kept


def _kept(state: State) -> str:
    return state.layout.current("resource")
