"""The seven steps through kfp.local, on a real store: from uploaded rows to a champion that predicts."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from trimtab.adapters import s3
from trimtab.adapters.environment import Environment
from trimtab.adapters.kfp import LocalLauncher
from trimtab.adapters.models import load_champion
from trimtab.adapters.state import State
from trimtab.app.embedded.store import Store
from trimtab.core import spec as specs
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus

pytestmark = pytest.mark.timeout(1000)
MODEL = "plant"
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://LANDING/
    format: csv
    timestamp: ts
    target: output
    schema:
      shift: {type: category, values: [day, night]}
      heat: {type: float}
      load: {type: float, min: 0}
      output: {type: float}
  triggers: {upload: {minNewRows: 1, settle: 0s}}
  window: {strategy: all, minRows: 200}
  training: {estimator: "sklearn.linear_model:Ridge", seed: 0}
  evaluation:
    holdout: 1w
    metrics: [mean_absolute_error]
    primary: mean_absolute_error
    block: 1d
  rollout: {strategy: immediate}
"""
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DEADLINE_SECONDS = 400  # a run takes ten on an idle machine; for one that many tests share, be patient
ENDED = (RunPhase.SUCCEEDED, RunPhase.FAILED)
STEPS = ("ingest", "validate", "detect_drift", "select_window", "train", "evaluate", "register")


def rows(hours: int, start: int = 0, slope: float = 3.0) -> bytes:
    """Hourly rows from `start` on; equal arguments give equal bytes."""
    rng = random.Random(start)
    lines = ["ts,shift,heat,load,output"]
    for hour in range(start, start + hours):
        when = BEGIN + timedelta(hours=hour)
        shift = "day" if 6 <= when.hour < 18 else "night"
        heat, load = rng.gauss(20, 5), rng.uniform(0, 10)
        output = slope * load - 0.5 * heat + (2 if shift == "day" else 0) + rng.gauss(0, 0.3)
        lines.append(f"{when:%Y-%m-%dT%H:%M:%S},{shift},{heat:.4f},{load:.4f},{output:.4f}")
    return ("\n".join(lines) + "\n").encode()


@dataclass
class Plant:
    """One model with buckets of its own."""

    landing: str
    spec: str
    state: State
    buckets: Buckets
    launcher: LocalLauncher

    def upload(self, key: str, body: bytes) -> str:
        self.buckets.bucket(self.landing).put(key, body)
        return f"s3://{self.landing}/{key}"

    def request(self, *objects: str, reason: str = "sdk", run_key: str = "") -> RunRequest:
        return RunRequest(str(uuid.uuid4()), MODEL, self.spec, self.state.address, objects, reason, run_key)

    def run(self, *objects: str, reason: str = "sdk", run_key: str = "") -> RunStatus:
        return self.end_of(self.launcher.launch(self.request(*objects, reason=reason, run_key=run_key)).run_id)

    def end_of(self, run_id: str) -> RunStatus:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            status = self.launcher.look_up(run_id)
            if status is not None and status.phase in ENDED:
                return status
            time.sleep(0.02)
        raise AssertionError("\n".join(self.launcher.logs(run_id, 1000)))

    def succeeds(self, status: RunStatus) -> None:
        assert status.phase is RunPhase.SUCCEEDED, "\n".join(self.launcher.logs(status.run_id, 1000))

    def again(self) -> Plant:
        """The same state, seen by a process that has read nothing yet."""
        state = State.open(self.buckets, self.state.address, MODEL)
        return replace(self, state=state)


Make = Callable[[], Plant]


@pytest.fixture
def make(store: Store, environment: dict[str, str], tmp_path: Path) -> Iterator[Make]:
    """Makes a model with buckets of its own, as often as it is called; candidates are checked where they will serve."""
    launcher = LocalLauncher(tmp_path / "runs", Environment.pipeline, environment)

    def plant() -> Plant:
        landing, bucket = (store.create_bucket(f"{name}-{uuid.uuid4().hex[:12]}") for name in ("landing", "state"))
        buckets = s3.connect()
        state = State.open(buckets, f"s3://{bucket}/default", MODEL)
        return Plant(landing, SPEC.replace("LANDING", landing), state, buckets, launcher)

    yield plant
    for run in launcher.leftovers():
        launcher.stop(run)


def test_an_upload_becomes_a_champion_and_the_next_one_a_better_one(make: Make) -> None:
    plant = make()
    plant.upload("a.csv", rows(900))
    status = plant.run()
    plant.succeeds(status)

    log = plant.launcher.logs(status.run_id, 1000)
    assert [line.split()[1] for line in log if ": done in " in line] == [f"{step}:" for step in STEPS]
    assert not any(noise in line for line in log for noise in ("KFP", "executor_input", "credentials", "Traceback"))
    first = plant.state.registry.version(1)
    assert (first.rows, first.estimator) == (900, "sklearn.linear_model:Ridge")  # refitted on window and holdout
    assert first.metrics["mean_absolute_error"] < 0.5
    checked = first.evaluation["serving"]  # the refitted artifact, on the week held out
    assert (checked["made"], checked["problem"], checked["rows"]) == (True, "", 168)
    assert any("serving check: 168 rows as the trainer predicts them; p99" in line for line in log)
    assert "168 rows predicted as where it was trained" in plant.state.data.card(first.card)
    assert first.trained_until == BEGIN + timedelta(hours=899)
    (decision,) = plant.state.decisions.all()
    assert decision.reason == "sdk"
    assert plant.state.decisions.outcomes()[1].state == "champion"

    champion = load_champion(plant.state)
    data = specs.load(plant.spec).spec.data
    new = pl.DataFrame({"shift": ["day", "night"], "heat": [20.0, 20.0], "load": [1.0, 5.0]})
    assert list(champion.predict(new, data).values) == pytest.approx([-5.0, 5.0], abs=0.3)

    # The world changes; the second upload shows it.
    plant.upload("b.csv", rows(900, start=900, slope=4.0))
    plant.succeeds(plant.run())
    later = plant.again().state
    assert later.registry.manifest().champion == 2
    assert later.registry.manifest().previous == 1
    assert later.registry.version(2).evaluation["champion"] == 1  # judged beside it on the same rows
    assert later.rollouts.all() == []  # under `immediate` the alias has moved already
    assert [outcome.state for outcome in later.decisions.outcomes().values()] == ["champion", "champion"]
    assert len(later.ledger.entries()) == 2


def test_under_canary_a_challenger_gets_its_rollout_and_the_champion_stays(make: Make) -> None:
    plant = make()
    canary = "strategy: canary, steps: [{setWeight: 25, minRequests: 50}]"
    plant.spec = plant.spec.replace("strategy: immediate", canary)
    plant.upload("a.csv", rows(600))
    plant.succeeds(plant.run())
    plant.upload("b.csv", rows(600, start=600, slope=4.0))
    status = plant.run()
    plant.succeeds(status)

    later = plant.again().state
    (rollout,) = later.rollouts.all()
    manifest, outcome = later.registry.manifest(), later.decisions.outcomes()[2]
    assert (manifest.champion, manifest.challenger, outcome.state) == (1, 2, "challenger")
    assert (rollout.name, rollout.version, rollout.champion) == ("plant-v2", 2, 1)
    assert rollout.run_key == later.decisions.find(2).run_key
    assert rollout.policy.steps[0].set_weight == 25
    assert 30 < rollout.loss_scale < 50  # an error as large as the largest targets
    assert any("plant-v2: v2 beside v1, canary in 1 steps" in line for line in plant.launcher.logs(status.run_id, 1000))


def test_a_repeated_run_changes_nothing_and_trains_nothing(make: Make) -> None:
    plant = make()
    address = plant.upload("a.csv", rows(600))
    plant.succeeds(plant.run())
    (decision,) = plant.state.decisions.all()
    version = plant.state.registry.version(1)

    # The next attempt of the same decision, as after a launcher that died before it saw the end.
    status = plant.run(address, reason=decision.reason, run_key=decision.run_key)
    plant.succeeds(status)
    later = plant.again().state
    assert [one.number for one in later.registry.versions()] == [1]
    assert later.registry.version(1) == version
    assert len(later.registry.manifests()) == 1
    assert len(later.decisions.all()) == 1
    assert not any("fitting" in line for line in plant.launcher.logs(status.run_id, 1000))


def test_equal_inputs_give_equal_artifacts_in_other_processes_and_another_state(make: Make) -> None:
    plants = [make(), make()]
    for plant in plants:
        plant.upload("a.csv", rows(600))
    # At the same time, so that nothing can pass from one to the other.
    launched = [plant.launcher.launch(plant.request()) for plant in plants]
    for plant, status in zip(plants, launched, strict=True):
        plant.succeeds(plant.end_of(status.run_id))
    one, other = (plant.state.registry.version(1) for plant in plants)
    assert one.artifact == other.artifact
    assert one.evaluated_artifact == other.evaluated_artifact
    assert one.dataset == other.dataset or plants[0].landing != plants[1].landing


def test_too_few_rows_end_the_run_for_good_with_the_reason(make: Make) -> None:
    plant = make()
    plant.upload("a.csv", rows(190))
    status = plant.run()
    assert status.phase is RunPhase.FAILED
    assert status.error.startswith("select_window: ")
    assert "200" in status.error
    (decision,) = plant.state.decisions.all()
    failure = plant.state.data.step(decision.run_key, "failure")
    assert failure["permanent"] is True
    assert plant.state.registry.versions() == []


def test_data_that_must_be_mended_ends_the_run_before_training(make: Make) -> None:
    plant = make()
    plant.upload("a.csv", rows(600))
    plant.upload("b.csv", rows(600, start=600).replace(b"heat", b"warmth", 1))
    status = plant.run()
    plant.succeeds(status)
    outcome = plant.state.decisions.outcomes()[1]
    assert outcome.state == "fixData"
    assert "warmth" in outcome.reason
    assert plant.state.registry.versions() == []
    assert not any(" train: " in line for line in plant.launcher.logs(status.run_id, 1000))
