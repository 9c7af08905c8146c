"""
A model's rollout on a real API server: Seldon's operator by its stand-in, pods as the test says, answers by the log.

The controller's part is what is tested: `ModelRollouts`, looked at by the test in a loop, its traffic a
SeldonDeployment. A witness watches all the while what must never be.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flights import STEPS, continuous_model
from versions import register

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Gone
from trimtab.adapters.kubernetes.kinds import (
    DEPLOYMENT,
    EVENT,
    MODEL,
    ROLLOUT,
    SELDON_DEPLOYMENT,
    VIRTUAL_SERVICE,
    Kind,
)
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import model_of
from trimtab.app.cluster.rollouts import ModelRollouts
from trimtab.core.errors import TrimtabError
from trimtab.core.ports import Answer
from trimtab.core.predictions import PredictionLine
from trimtab.core.rollout.values import RolloutState

Object = dict[str, Any]
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CANARY = {"strategy": "canary", "steps": STEPS, "maxDuration": "2h", "keepPrevious": "10m"}

WAIT_SECONDS = 120.0  # a busy machine may need long


class Canary:
    """
    Model `flights` in a namespace, with its state, its controller and its users.

    Attributes:
        api: The API server as people reach it.
        leads: The same as the controller reaches it.
        state: As people and other processes see it.
        offset: How far the controller's clock is ahead: durations pass without waiting.
    """

    def __init__(self, api: Any, leads: Any, namespace: str, buckets: Any, bucket: str, rollout: Object) -> None:
        self.api = api
        self.leads = leads
        self.namespace = namespace
        self.buckets = buckets
        self.settings = ClusterSettings(state_bucket=bucket, pod_name="controller-0", serving_image="trimtab/serving:1")
        self.offset = timedelta(0)
        self.epoch = 0
        self.sent = 0
        self._chance = random.Random(7)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trimtab-model"}}
        self.api.create(SERVICE_ACCOUNT, account, namespace)
        self.api.create(MODEL, continuous_model(namespace, rollout))
        self.start()

    def start(self, **more: Any) -> None:
        """Another controller leads from now on."""
        self.rollouts = ModelRollouts(self.leads, self.settings, self.buckets, wall=self.now, **more)
        self.epoch += 1

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def state(self) -> State:
        return State.open(self.buckets, f"s3://{self.settings.state_bucket}/{self.namespace}", "flights", now=self.now)

    # What happens

    def register(self, alias: str = "champion") -> int:
        """A run's last steps."""
        state = self.state
        made = register(state, alias, self.now())
        if alias == "challenger":
            champion = self.champion()
            assert champion is not None
            owner = self.api.get(MODEL, self.namespace, "flights")
            propose(state, model_of(owner), made, champion, "its run", now=self.now)
        return made.number

    def look(self) -> None:
        """One look of the controller; what does not work just now is tried again, as the work queue does."""
        owner = self.api.get(MODEL, self.namespace, "flights")
        self.rollouts.lead(self.namespace, model_of(owner), owner, self.epoch)

    def until(self, found: Callable[[], Any], what: str = "", look: Callable[[], Any] | None = None) -> Any:
        """Look again and again until that is so."""
        deadline, error = time.monotonic() + WAIT_SECONDS, ""
        while True:
            try:
                (look or self.look)()
                error = ""
            except TrimtabError as failed:
                error = str(failed)
            value = found()
            if value:
                return value
            assert time.monotonic() < deadline, f"{what or 'it'} did not come: {self.weights()}, {self.shown()} {error}"
            time.sleep(0.05)

    def at_weight(self, percent: int) -> None:
        """Until v2 has this share and the controller has seen so: what is answered before says nothing of it."""
        self.until(lambda: self.answering() == {"v1": 100 - percent, "v2": percent}, f"{percent} %")
        self.until(lambda: self.at().epochs[-1].confirmed_from is not None, f"the router's word on {percent} %")

    def send(self, requests: int, errors: dict[int, float] | None = None) -> None:
        """Requests as the router splits them now, in the model servers' log."""
        self.offset += timedelta(seconds=3)
        carrying = {name: weight for name, weight in self.weights().items() if weight}
        at, lines = self.now().timestamp(), []
        for number in range(requests):
            (name,) = self._chance.choices(list(carrying), weights=list(carrying.values()))
            version = int(name[1:])
            failed = self._chance.random() < (errors or {}).get(version, 0.0)
            lines.append(
                PredictionLine(
                    kind="failure" if failed else "prediction",
                    id=uuid.uuid4().hex,
                    at=at + number * 0.01,
                    version=version,
                    seconds=0.005,
                    rows=1,
                )
            )
        # One writer, as a process has one: another would be waited for until it has been silent for long.
        key = self.state.layout.predictions(f"{0:020d}-variants", self.sent)
        self.sent += 1
        self.state.bucket.create(key, b"".join(line.to_json() + b"\n" for line in lines))
        self.offset += timedelta(seconds=requests * 0.01 + 1)

    # What there is

    def rollout(self, name: str = "flights-v2") -> Object | None:
        found: Object | None = self.api.find(ROLLOUT, self.namespace, name)
        return found

    def status(self, name: str = "flights-v2") -> Object:
        return (self.rollout(name) or {}).get("status") or {}

    def phase(self, name: str = "flights-v2") -> str:
        return str(self.status(name).get("phase"))

    def shown(self) -> str:
        found, _ = self.api.list(ROLLOUT, self.namespace)
        said = [(each["metadata"]["name"], (each.get("status") or {})) for each in found]
        return "; ".join(f"{name} {status.get('phase')}: {status.get('reason')}" for name, status in said)

    def weights(self, name: str = "flights") -> dict[str, int]:
        """As the router has them."""
        found = self.api.find(VIRTUAL_SERVICE, self.namespace, name)
        if found is None:
            return {}
        routes = found["spec"]["http"][0]["route"]
        alone = 100 if len(routes) == 1 else 0
        return {route["destination"]["subset"]: route.get("weight", alone) for route in routes}

    def answering(self, name: str = "flights") -> dict[str, int]:
        return {each: weight for each, weight in self.weights(name).items() if weight}

    def predictors(self, name: str = "flights") -> list[str]:
        found = self.api.find(SELDON_DEPLOYMENT, self.namespace, name)
        return [each["name"] for each in found["spec"]["predictors"]] if found else []

    def deployments(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.api.list(DEPLOYMENT, self.namespace)[0]]

    def at(self, number: int = 1) -> RolloutState:
        found = self.state.rollouts.state(number)
        assert found is not None
        return found

    def champion(self) -> int | None:
        manifest = self.state.registry.manifest()
        return manifest.champion if manifest else None

    def events(self, name: str = "flights-v2") -> list[str]:
        found, _ = self.api.list(EVENT, self.namespace)
        own = [each for each in found if (each.get("regarding") or {}).get("name") == name]
        ours = [each for each in own if each.get("reportingController") == "trimtab.dev/controller"]
        return [each["reason"] for each in sorted(ours, key=lambda each: str(each.get("eventTime")))]


class Witness:
    """Watches one namespace's SeldonDeployments, VirtualServices and Deployments, and keeps what must never be."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self.broken: list[str] = []
        self.templates: dict[str, list[str]] = {}  # of Deployments, each pod template once, as they came
        self.splits: list[dict[str, int]] = []
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=args, daemon=True)
            for args in (
                (SELDON_DEPLOYMENT, self._split),
                (VIRTUAL_SERVICE, self._routes),
                (DEPLOYMENT, self._template),
            )
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def _watch(self, kind: Kind, see: Callable[[Object], None]) -> None:
        version = ""
        while not self._ending.is_set():
            try:
                if not version:
                    found, version = self._api.list(kind, self._namespace)
                    for each in found:
                        see(each)
                for event, each in self._api.watch(kind, self._namespace, version, seconds=2):
                    version = each["metadata"]["resourceVersion"]
                    if event != "DELETED":
                        see(each)
            except Gone:
                version = ""
            except TrimtabError:
                self._ending.wait(0.2)

    def _split(self, found: Object) -> None:
        predictors = found["spec"]["predictors"]
        given = {each["name"]: each.get("traffic") for each in predictors if not each.get("shadow")}
        if not _is_whole(given):  # Seldon's webhook lets many of these through
            self.broken.append(f"weights {given}")
        if len(predictors) > 1 and any("replicas" not in each for each in predictors):  # one may be a person's own
            self.broken.append(f"no replicas: {[each['name'] for each in predictors]}")
        live = {name: weight or 0 for name, weight in given.items()}
        if not self.splits or self.splits[-1] != live:
            self.splits.append(live)

    def _routes(self, found: Object) -> None:
        routed = [
            {each["destination"]["subset"]: each.get("weight") for each in entry["route"]}
            for entry in found["spec"]["http"]
        ]
        if not all(_is_whole(each) and each == routed[0] for each in routed):  # REST and gRPC alike
            self.broken.append(f"routes {routed}")

    def _template(self, found: Object) -> None:
        seen = self.templates.setdefault(found["metadata"]["name"], [])
        template = json.dumps(found["spec"]["template"], sort_keys=True)
        if template not in seen:
            seen.append(template)


def _is_whole(weights: dict[str, int | None]) -> bool:
    """Whether these split all of the traffic: who is alone may leave it unsaid, and of several that means nothing."""
    if list(weights.values()) == [None]:
        return True
    shares = [weight or 0 for weight in weights.values()]
    return sum(shares) == 100 and all(0 <= share <= 100 for share in shares)


class Counted:
    """What two predictors answered, as Prometheus would tell it of a rollout without a model."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []

    def add(self, *answers: Answer) -> None:
        self._answers += answers

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        begin = int(position) if position else len(self._answers)
        found = self._answers[begin : begin + limit]
        return found, str(begin + len(found))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="Witness")
def witness_class() -> type[Witness]:
    return Witness


@pytest.fixture
def witness(cluster: Any, namespace: str) -> Iterator[Witness]:
    """What it kept is judged when the test has ended."""
    found = Witness(cluster.api, namespace)
    yield found
    found.end()
    assert found.broken == []


@pytest.fixture
def make_model(
    cluster: Any, accounts: Any, namespace: str, operator: Any, pods: Any, witness: Witness
) -> Callable[..., Canary]:
    """Nothing is registered yet."""

    def made(rollout: Object = CANARY, buckets: Any = None, bucket: str = "state") -> Canary:
        leads = accounts.api("controller")
        return Canary(cluster.api, leads, namespace, buckets or MemoryBuckets(), bucket, rollout)

    return made


@pytest.fixture
def make_canary(make_model: Callable[..., Canary]) -> Callable[..., Canary]:
    """v1 serves, and the rollout of v2 is proposed."""

    def made(*args: Any, **more: Any) -> Canary:
        canary = make_model(*args, **more)
        canary.register()
        canary.until(lambda: canary.answering() == {"v1": 100}, "the first champion")
        canary.register("challenger")
        return canary

    return made


@pytest.fixture
def canary(make_canary: Callable[..., Canary]) -> Canary:
    return make_canary()


@pytest.fixture
def kubectl(cluster: Any, namespace: str) -> Callable[..., str]:
    """As a person at a terminal."""

    def run(*words: str, stdin: str | None = None) -> str:
        done = cluster.kubectl(*words, "-n", namespace, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    return run


@pytest.fixture(name="Counted")
def counted_class() -> type[Counted]:
    return Counted
