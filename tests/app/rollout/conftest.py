"""A model with versions in memory, a traffic split in memory, and the leader between them: a test is its clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.app.rollout.leader import Leader
from trimtab.app.rollout.measuring import Measuring, evidence_of
from trimtab.app.rollout.replaying import Replaying
from trimtab.app.rollout.telling import Telling
from trimtab.app.rollout.watched import Watched
from trimtab.core.ports import Serving
from trimtab.core.records import JournalEntry, Manifest, ModelVersion
from trimtab.core.rollout.evidence import LossPairs
from trimtab.core.rollout.values import RolloutSpec, RolloutState
from trimtab.core.spec import load

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: flights}
spec:
  data:
    source: s3://landing/in/
    format: csv
    timestamp: ts
    target: late
    schema:
      heat: {type: float}
      late: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: log_loss, maxLatencyP99Milliseconds: 50}
  rollout: ROLLOUT
"""
CANARY = (
    "{strategy: canary, steps: [{setWeight: 10, minRequests: 20}, {setWeight: 50, minRequests: 40}], "
    "keepPrevious: 10m, maxDuration: 2h}"
)
BEGIN = datetime(2024, 3, 1, 12, tzinfo=UTC)
LONG_AGO = BEGIN - timedelta(days=9)


@dataclass
class Rig:
    """
    Everything that serves one model, without threads: `look` is one look at everything.

    `pairs` is what replay finds: losses of champion and challenger.
    """

    buckets: MemoryBuckets
    cache: Path
    rollout: str = CANARY
    traffic: MemoryTraffic = field(default_factory=MemoryTraffic)
    now: datetime = BEGIN
    pairs: tuple[Any, Any] = ((), ())
    epoch: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self, rollout: str = "") -> None:
        """A new process under the next epoch: nothing in memory."""
        self.rollout = rollout or self.rollout
        self.model = load(SPEC.replace("ROLLOUT", self.rollout))
        self.state = State.open(self.buckets, "s3://state/default", "flights", self.cache, now=lambda: self.now)
        split = Watched(self.traffic)
        replaying = Replaying(lambda spec, state: self._pairs(), start=lambda work: work(), pause_seconds=0)
        self.leader = Leader(
            self.state,
            self.model.spec.rollout,
            split,
            Measuring(self.state, split, replaying),
            Telling(self.state.journal, lambda: self.now),
            lambda: self.now,
            lambda *asked: propose(self.state, self.model, *asked, now=lambda: self.now),
        )
        self.epoch += 1
        self.leader.forget(self.epoch)

    def _pairs(self) -> LossPairs:
        champion, challenger = (np.array(side, dtype=np.float64) for side in self.pairs)
        return LossPairs(champion, challenger, mature=len(champion))

    def register(self, alias: str = "champion") -> int:
        """Another version, made by a run of its own, under an alias."""

        def build(number: int) -> ModelVersion:
            return ModelVersion(
                number=number,
                run_key=f"run {number}",
                artifact="a" * 64,
                evaluated_artifact="a" * 64,
                dataset="d",
                training_digest="t",
                spec="s",
                trained_from=LONG_AGO,
                trained_until=LONG_AGO + timedelta(days=number),
                rows=100,
                estimator="sklearn.linear_model:LogisticRegression",
                seed=0,
                metrics={},
                evaluation={},
                reference="",
                lineage={},
                training_seconds=1.0,
                fits=2,
                recorded_at=self.now,
            )

        number = sum(1 for _ in self.state.registry.versions()) + 1
        version = self.state.registry.add_version(lambda free: build(free))
        self.publish(**{alias: number})
        return version.number

    def publish(self, **aliases: int | None) -> None:
        """Move an alias, as register, `trimtab rollback` or `approve` do."""

        def moved(now: Manifest | None) -> Manifest:
            before = now or Manifest(
                number=0, champion=None, challenger=None, previous=None, cause="", recorded_at=self.now
            )
            changed = {**aliases, "cause": f"by hand {aliases}", "recorded_at": self.now, "run_key": ""}
            if "champion" in aliases:
                changed["previous"] = before.champion
            return before.model_copy(update=changed)

        self.state.registry.publish(moved)

    def look(self, times: int = 1, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            self.leader.look()

    def send(self, requests: int, **how: Any) -> None:
        """Requests through the split of now, three seconds from now on, and a look after them."""
        self.now += timedelta(seconds=3)
        self.traffic.send(requests, at=self.now.timestamp(), apart=0.01, **how)
        self.now += timedelta(seconds=requests * 0.01 + 1)
        self.look()

    # What there is

    def route(self) -> tuple[int, int | None, int]:
        """Champion, challenger and its weight, by the router."""
        found = self.traffic.seen().route or Serving(champion=0)
        return found.champion, found.challenger, found.weight_percent

    def aliases(self) -> tuple[int | None, int | None]:
        manifest = self.state.registry.manifest()
        return (manifest.champion, manifest.challenger) if manifest else (None, None)

    def specs(self) -> list[RolloutSpec]:
        return self.state.rollouts.all()

    def at(self, number: int = 1) -> RolloutState:
        found = self.state.rollouts.state(number)
        assert found is not None
        return found

    def told(self, kind: str = "") -> list[JournalEntry]:
        return [entry for entry in self.state.journal.entries() if not kind or entry.kind == kind]

    def requests(self, number: int = 1) -> int:
        """Requests of the challenger that count."""
        return sum(each.challenger for each in evidence_of(self.at(number)).counts)


@pytest.fixture
def buckets() -> MemoryBuckets:
    return MemoryBuckets()


@pytest.fixture
def make_rig(buckets: MemoryBuckets, tmp_path: Path) -> Callable[..., Rig]:
    return lambda **more: Rig(buckets, tmp_path / "cache", **more)


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """v1 serves; v2 has been registered as challenger and has no rollout yet."""
    made = make_rig()
    made.register()
    made.look()
    made.register("challenger")
    return made
