"""A model in a cluster in memory: its state, its traffic, its objects, and the one look at all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flights import STEPS, continuous_model
from versions import register, version_of

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.kinds import EVENT, MODEL, ROLLOUT, SELDON_DEPLOYMENT
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import model_of
from trimtab.app.cluster.rollouts import ModelRollouts
from trimtab.core.ports import Serving
from trimtab.core.records import ModelVersion
from trimtab.core.rollout.values import RolloutState

BEGIN = datetime(2024, 3, 1, 12, tzinfo=UTC)
Object = dict[str, Any]


@dataclass
class Cluster:
    """One model `flights` in namespace `shop`; and what rollouts without a model need."""

    api: Any
    rollout: dict[str, Any] = field(default_factory=lambda: {"strategy": "canary", "steps": STEPS, "maxDuration": "2h"})
    buckets: MemoryBuckets = field(default_factory=MemoryBuckets)
    traffic: MemoryTraffic = field(default_factory=lambda: MemoryTraffic(told_apart=True))
    now: datetime = BEGIN
    epoch: int = 0

    def __post_init__(self) -> None:
        self.api.create(MODEL, continuous_model("shop", self.rollout))
        self.state = State.open(self.buckets, "s3://state/shop", "flights", now=lambda: self.now)
        self.start()

    def start(self) -> None:
        """Another process leads from now on."""
        settings = ClusterSettings(state_bucket="state", pod_name="controller-0")
        self.rollouts = ModelRollouts(
            self.api,
            settings,
            self.buckets,
            lambda namespace, model, owner: self.traffic,
            lambda rollout: self.traffic,
            wall=lambda: self.now,
        )
        self.epoch += 1

    # What happens

    def look(self, times: int = 1, seconds: float = 0.0) -> float:
        pause = 0.0
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            owner = self.api.get(MODEL, "shop", "flights")
            pause = self.rollouts.lead("shop", model_of(owner), owner, self.epoch)
        return pause

    def leave(self) -> float:
        """A look after the model was deleted, by whoever leads."""
        gone = continuous_model("shop", self.rollout)
        gone["metadata"] |= {"namespace": "shop", "uid": ""}
        return self.rollouts.gone("shop", model_of(gone), gone, self.epoch)

    def look_free(self, name: str, times: int = 1, seconds: float = 0.0, rollout: Object | None = None) -> float:
        pause = 0.0
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            pause = self.rollouts.lead_free(rollout or self.api.get(ROLLOUT, "shop", name))
        return pause

    def send(self, requests: int, look: Callable[[], Any] | None = None, **how: Any) -> None:
        """Requests through the split of now, three seconds from now on, and a look after them."""
        self.now += timedelta(seconds=3)
        self.traffic.send(requests, at=self.now.timestamp(), apart=0.01, **how)
        self.now += timedelta(seconds=requests * 0.01 + 1)
        (look or self.look)()

    def ask(self, name: str = "flights-v2", **spec: Any) -> None:
        """As `kubectl patch` does."""
        self.api.merge(ROLLOUT, "shop", name, {"spec": spec})

    def register(self, alias: str = "champion") -> int:
        """Another version, made by a run of its own, under an alias."""

        return register(self.state, alias, self.now).number

    def deploy(self, policy: dict[str, Any] | None = None) -> int:
        """What the pipeline's last steps do: a registered challenger, and its rollout."""
        owner = self.api.get(MODEL, "shop", "flights")
        if policy is not None:
            owner["spec"]["rollout"] = policy
        number = self.register("challenger")
        version = self.state.registry.version(number)
        champion = self.state.registry.manifest()
        assert champion is not None
        assert champion.champion is not None
        propose(self.state, model_of(owner), version, champion.champion, "its run", now=lambda: self.now)
        return number

    # What there is

    def route(self) -> tuple[int, int | None, int]:
        found = self.traffic.seen().route or Serving(champion=0)
        return found.champion, found.challenger, found.weight_percent

    def at(self, number: int = 1) -> RolloutState:
        found = State.open(self.buckets, "s3://state/shop", "flights").rollouts.state(number)
        assert found is not None
        return found

    def champion(self) -> int | None:
        manifest = State.open(self.buckets, "s3://state/shop", "flights").registry.manifest()
        return manifest.champion if manifest else None

    def object(self, name: str = "flights-v2") -> Object:
        found: Object = self.api.get(ROLLOUT, "shop", name)
        return found

    def status(self, name: str = "flights-v2") -> Object:
        found: Object = self.object(name).get("status") or {}
        return found

    def condition(self, type: str, name: str = "flights-v2") -> tuple[str, str]:
        found = {each["type"]: each for each in self.status(name)["conditions"]}[type]
        return found["status"], found["reason"]

    def events(self, name: str = "flights-v2") -> list[str]:
        found, _ = self.api.list(EVENT, "shop")
        mine = [each for each in found if each["regarding"]["name"] == name]
        return [each["reason"] for each in sorted(mine, key=lambda each: int(each["metadata"]["resourceVersion"]))]


def resource(kind: Any, name: str, spec: Object, **meta: Any) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": name, "namespace": "shop", **meta},
        "spec": spec,
    }


def free_rollout(name: str = "take-over", **spec: Any) -> Object:
    """A rollout that no model knows, of predictor `green` beside `blue` on SeldonDeployment `web`."""
    target = {
        "seldonDeployment": "web",
        "champion": "blue",
        "challenger": {"predictor": {"name": "green", "graph": {"name": "model"}}},
    }
    return resource(ROLLOUT, name, {"target": target, "steps": STEPS, **spec})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one test's objects are no other's."""
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="version_of")
def version_of_fixture() -> Callable[[int], ModelVersion]:
    return lambda number: version_of(number, BEGIN)


@pytest.fixture
def make_cluster(api: Any) -> Callable[..., Cluster]:
    return lambda **more: Cluster(api, **more)


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """v1 serves; v2 is challenger and its rollout is proposed."""
    made = make_cluster()
    made.register()
    made.look()
    made.deploy()
    return made


@pytest.fixture
def free(make_cluster: Callable[..., Cluster]) -> Cluster:
    """SeldonDeployment `web` with predictor `blue`, and rollout `take-over` of `green`."""
    made = make_cluster()
    spec = {"predictors": [{"name": "blue", "graph": {"name": "model"}}]}
    made.api.create(SELDON_DEPLOYMENT, resource(SELDON_DEPLOYMENT, "web", spec))
    made.api.create(ROLLOUT, free_rollout())
    return made
