"""The cluster's monitor: real models, a real prediction log and labels; what it writes is what the controller reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from versions import register_line

from trimtab.adapters.environment import ClusterSettings, Environment
from trimtab.adapters.kubernetes.kinds import JOB, MODEL
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.replay import loss_pairs
from trimtab.adapters.state import State
from trimtab.app.cluster import own_image
from trimtab.app.cluster.catalog import Catalog, Listed
from trimtab.app.cluster.harm_watch import HarmWatch
from trimtab.app.cluster.intakes import lease_of
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.model_monitor import ModelMonitor, OwnImage
from trimtab.app.cluster.monitor import MEASURED, Window
from trimtab.app.cluster.monitors import Monitors
from trimtab.app.cluster.replays import judged, read_losses
from trimtab.app.cluster.waking import Waking
from trimtab.app.listener import Listener
from trimtab.app.status import read_findings
from trimtab.core.errors import Unavailable
from trimtab.core.predictions import Label, PredictionLine
from trimtab.core.records import Manifest
from trimtab.core.rollout.evidence import LossPairs
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState
from trimtab.core.spec import load
from trimtab.core.spec.document import read

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/rows/
    format: csv
    timestamp: ts
    target: output
    schema:
      heat: {type: float}
      output: {type: float}
  training: {estimator: "sklearn.linear_model:LinearRegression"IMAGE}
  evaluation: {primary: mean_absolute_error}
"""
NOW = datetime.now(UTC).replace(second=0, microsecond=0)  # what is served within a minute stands in one row
LEARNED = NOW - timedelta(days=20)
KEY = ("shop", "plant")


class Site:
    """One model's state: v1 says heat and serves, v2 says twice the heat and is its challenger."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.buckets = cache, MemoryBuckets()
        self.model = load(SPEC.replace("IMAGE", ""))
        self.state = self.open("site")
        for slope in (1.0, 2.0):
            register_line(self.state, self.model, slope, LEARNED)
        self.state.registry.publish(
            lambda _: Manifest(
                number=1, previous=None, champion=1, challenger=None, cause="first", run_key="run-1", recorded_at=NOW
            )
        )
        self.segments = 0
        self.at: RolloutState | None = None

    def open(self, process: str) -> State:
        return State.open(self.buckets, "s3://state/shop", "plant", cache=self.cache / process)

    def roll_out(self, max_latency_milliseconds: float | None = None, **rollout: Any) -> RolloutSpec:
        """A rollout of v2 that the controller leads."""
        number = len(self.state.rollouts.all()) + 1
        spec = self.state.rollouts.propose(
            RolloutSpec(
                number=number,
                name=f"plant-v2-{number}",
                model="plant",
                version=2,
                champion=1,
                rollout={"strategy": "canary", "steps": [{"setWeight": 10}]} | rollout,
                loss_scale=10.0,
                max_latency_milliseconds=max_latency_milliseconds,
                run_key=f"run-2-{number}",
                recorded_at=NOW,
            )
        )
        self.at = self.state.rollouts.save(
            RolloutState(number=spec.number, epoch=1, phase=Phase.CANARY, started=NOW, reason="")
        )
        return spec

    def pause(self, spec: RolloutSpec) -> None:
        at = self.state.rollouts.state(spec.number)
        assert at is not None
        self.at = self.state.rollouts.save(at.model_copy(update={"phase": Phase.PAUSED}))

    def answer(self, good: int, failed: int = 0, slow: int = 0, version: int = 2) -> None:
        """What a version answers meanwhile."""
        kinds = ["prediction"] * good + ["failure"] * failed + ["slow"] * slow
        lines = [
            PredictionLine(
                kind="failure" if kind == "failure" else "prediction",
                id=f"answer-{self.segments}-{number}",
                at=NOW.timestamp(),
                version=version,
                seconds=0.2 if kind == "slow" else 0.01,
                rows=1,
            )
            for number, kind in enumerate(kinds)
        ]
        body = b"".join(line.to_json() + b"\n" for line in lines)
        self.state.bucket.create(self.state.layout.predictions("v2-a", self.segments), body)
        self.segments += 1

    def end(self, phase: Phase, ended: datetime = NOW) -> None:
        assert self.at is not None
        self.at = self.state.rollouts.save(self.at.model_copy(update={"phase": phase, "ended": ended}))

    def serve(self, requests: int, labels: bool = True) -> None:
        """Requests that v1 answered, and the truth: just what v2 says."""
        random = np.random.default_rng(self.segments)
        lines, truths = [], []
        for number, heat in enumerate(random.uniform(0, 10, requests).round(3).tolist()):
            name, at = f"{self.segments}-{number}", NOW.timestamp() - 600 + number
            lines.append(
                PredictionLine(
                    id=name, at=at, version=1, seconds=0.01, rows=1, features={"heat": [heat]}, predictions=[heat]
                )
            )
            truths.append(Label(id=name, value=2 * heat, at=at, received=at))
        body = b"".join(line.to_json() + b"\n" for line in lines)
        self.state.bucket.create(self.state.layout.predictions("v1-a", self.segments), body)
        self.segments += 1
        if labels:
            self.state.labels.add(truths)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def monitor_of(site: Site, process: str = "monitor") -> ModelMonitor:
    return ModelMonitor(site.open(process), site.buckets, site.model)


def test_the_losses_of_a_rollout_are_those_that_one_machine_would_score(site: Site) -> None:
    spec = site.roll_out()
    site.serve(40)
    monitor_of(site).look()
    found = read_losses(site.open("controller"), spec.number)
    expected = loss_pairs(site.open("laptop"), site.model, 1, 2, datetime.now(UTC), loss_scale=10.0)
    assert isinstance(found, LossPairs)
    assert len(found.champion) == 40
    assert np.array_equal(found.champion, expected.champion)
    assert np.array_equal(found.challenger, expected.challenger)
    assert found.mature == 40
    assert found.challenger.max() < 1e-6 < found.champion.max()


def test_new_labels_are_news_and_nothing_new_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.app.cluster.replays.LEAST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("trimtab.app.cluster.replays.PAUSE_FACTOR", 0.0)
    spec = site.roll_out()
    site.serve(10)
    monitor = monitor_of(site)
    monitor.look()
    assert monitor.news
    monitor.news = False
    monitor.look()
    assert not monitor.news
    site.serve(10)
    monitor.look()
    assert monitor.news
    found = read_losses(site.state, spec.number)
    assert found is not None
    assert len(found.challenger) == 20


def watch_of(site: Site, spec: RolloutSpec) -> Callable[[], bool]:
    """A look at what is answered while the rollout is paused: whether the controller is told."""
    watch, state = HarmWatch(site.open("watch")), site.open("watch")
    site.pause(spec)
    assert not watch.look(judged(state, NOW))
    return lambda: watch.look(judged(state, NOW))


def test_failures_of_a_paused_challenger_are_told_as_soon_as_they_grow_notably(site: Site) -> None:
    look = watch_of(site, site.roll_out())
    site.answer(50)
    assert not look()
    site.answer(50, failed=1)
    assert look()
    assert look()  # by then the champion has told of the same seconds
    assert not look()
    site.answer(50, failed=9)
    assert look()
    assert look()
    site.answer(50, failed=1)
    assert not look()  # 11 for 10 move no test
    site.answer(50, failed=2)
    assert look()


def test_slow_answers_are_told_where_latency_is_judged(site: Site) -> None:
    look = watch_of(site, site.roll_out())
    site.answer(50, slow=5)
    assert not look()
    site.end(Phase.ABORTED)
    look = watch_of(site, site.roll_out(max_latency_milliseconds=100.0))
    site.answer(50, slow=5)
    assert look()


def test_what_the_champion_answers_badly_tells_nothing_of_the_challenger(site: Site) -> None:
    look = watch_of(site, site.roll_out())
    site.answer(10, failed=40, version=1)
    assert not look()


def test_a_rollout_that_nobody_paused_is_looked_at_often_enough(site: Site) -> None:
    spec, watch = site.roll_out(), HarmWatch(site.open("watch"))
    assert not watch.look(judged(site.state, NOW))
    site.answer(10, failed=40)
    assert not watch.look(judged(site.state, NOW))
    site.pause(spec)
    assert not watch.look(judged(site.state, NOW))  # and what came before, when it was paused
    site.answer(10, failed=1)
    assert watch.look(judged(site.state, NOW))


def test_the_controller_is_told_of_a_paused_challenger_that_fails(
    site: Site, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.app.cluster.model_monitor.LED_SECONDS", 0.05)
    site.pause(site.roll_out())
    process = running()
    until(lambda: process.told())
    before = process.told()
    site.answer(10, failed=10)
    until(lambda: process.told() != before)


def test_a_rollout_that_has_ended_is_scored_no_more_but_for_its_probation(site: Site) -> None:
    spec = site.roll_out(probation="1h")
    site.end(Phase.PROMOTED, datetime.now(UTC) - timedelta(minutes=1))
    site.serve(10)
    monitor_of(site).look()
    assert read_losses(site.state, spec.number) is not None

    other = site.roll_out()
    site.end(Phase.ROLLED_BACK)
    monitor_of(site, "next").look()
    assert read_losses(site.state, other.number) is None


def test_findings_stand_where_the_controller_reads_them(site: Site) -> None:
    site.serve(30)
    monitor_of(site).look()
    found = read_findings(site.open("controller"))
    assert found is not None
    assert found.champion == 1
    assert [minute.version for minute in found.minutes] == [1]


def test_two_who_measure_the_same_model_harm_nothing(site: Site) -> None:
    spec = site.roll_out()
    site.serve(10)
    first, second = monitor_of(site, "one"), monitor_of(site, "two")
    first.look()
    second.look()
    site.serve(10)
    for monitor in (first, second):
        monitor.forget()
        monitor.look()
        assert monitor.problem == ""
    found = read_losses(site.state, spec.number)
    assert found is not None
    assert len(found.challenger) == 20


def test_a_version_that_cannot_be_loaded_is_a_problem_and_the_rest_is_measured(site: Site) -> None:
    site.roll_out()
    site.serve(30)
    key = site.state.layout.artifact(site.state.registry.version(2).artifact)
    site.buckets.bucket("state").put(key, b"damaged")
    monitor = monitor_of(site)
    monitor.look()
    assert "the loss cannot be measured" in monitor.problem
    assert monitor.findings is not None


def test_a_store_that_is_away_is_no_problem_of_the_model(site: Site) -> None:
    site.roll_out()

    def away(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store did not answer")

    monitor = monitor_of(site)
    site.buckets.fail = away
    with pytest.raises(Unavailable):
        monitor.look()


class Running:
    """A monitor process over the site; its watch is the test's."""

    def __init__(self, api: Any, site: Site, name: str, image: str = "") -> None:
        self.api, self.site = api, site
        self.catalog = Catalog(api, ClusterSettings("state"), lambda: site.buckets)
        jobs = Jobs(api, ClusterSettings("state"))

        def open_work(listed: Listed) -> ModelMonitor | OwnImage:
            state = site.open(name)
            if listed.image:
                return OwnImage(listed, state, jobs)
            return ModelMonitor(state, site.buckets, listed.model)

        lease = lease_of(site.buckets.bucket("state"), "monitor", ())
        self.monitors = Monitors(self.catalog, open_work, lease, name, Waking(api, MEASURED, "monitor"), threads=1)
        if api.find(MODEL, *KEY) is None:
            self.apply(image)
        self.catalog.look()
        self.monitors.start()

    def apply(self, image: str) -> None:
        written = read(SPEC.replace("IMAGE", f", image: {image}" if image else ""), "model.yaml").value
        self.api.create(MODEL, written | {"metadata": {"name": "plant", "namespace": "shop"}})
        accepted = {"type": "Accepted", "status": "True", "observedGeneration": 1}
        self.api.merge(MODEL, *KEY, {"status": {"conditions": [accepted]}}, "status")

    def told(self) -> str:
        return str((self.api.get(MODEL, *KEY)["metadata"].get("annotations") or {}).get(MEASURED, ""))


@pytest.fixture
def running(api: Any, site: Site) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(name: str = "monitor-1", image: str = "") -> Running:
        made.append(Running(api, site, name, image))
        return made[-1]

    yield start
    for each in made:
        each.monitors.stop()


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def test_every_model_of_the_cluster_is_measured_and_the_controller_is_told(
    site: Site, running: Callable[..., Running]
) -> None:
    spec = site.roll_out()
    site.serve(30)
    process = running()
    until(lambda: read_losses(site.state, spec.number) is not None and read_findings(site.state) and process.told())
    door = Listener(Window(process.monitors), "token")
    headers = {"Authorization": "Bearer token"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{door.start()}", headers=headers, trust_env=False) as client:
            until(lambda: "trimtab_requests_per_second{" in client.get("/metrics").text)
            text = client.get("/metrics").text
            assert client.post("/v1/events", content=b'{"Records": []}').status_code == 404
            assert client.get("/readyz").status_code == 200
    finally:
        door.stop()
    assert 'trimtab_availability_ratio{model="plant",namespace="shop",version="v1"} 1.0' in text.splitlines()
    assert "trimtab_monitor_acts 1.0" in text.splitlines()


def test_of_two_monitors_one_measures_until_it_ends(site: Site, running: Callable[..., Running]) -> None:
    spec = site.roll_out()
    first = running("monitor-1")
    until(lambda: first.monitors.acts and read_losses(site.state, spec.number) is not None)
    second = running("monitor-2")
    first.monitors.stop()
    site.serve(10)
    until(lambda: second.monitors.acts)
    until(lambda: (found := read_losses(site.state, spec.number)) is not None and len(found.challenger) == 10)


def test_a_model_with_its_own_image_is_measured_by_a_job_in_that_image(
    site: Site, running: Callable[..., Running], api: Any
) -> None:
    image = "registry.example/plant@sha256:" + "0" * 64
    spec = site.roll_out()
    site.serve(10)
    process = running(image=image)
    (job,) = until(lambda: api.list(JOB, "shop")[0])
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"][3]) == (image, "monitor")
    assert read_losses(site.state, spec.number) is None

    # The Job's own process: with nothing but the store.
    settings = Environment("state", namespace="shop")
    own_image.monitor(site.open("job"), site.buckets, site.model, settings, seconds=0.0)
    assert read_losses(site.state, spec.number) is not None
    until(process.told)
