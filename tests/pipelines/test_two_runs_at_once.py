"""Two runs of one model at the same time, through the SDK and beside the platform's: one champion, no alias lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from trimtab.adapters.state import State
from trimtab.app.embedded.platform import Platform
from trimtab.core.ports import Buckets
from trimtab.core.records import Manifest

pytestmark = pytest.mark.timeout(1500)
PATIENCE_SECONDS = 600.0  # a run takes ten on an idle machine; two at once on a busy one, be patient
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: twice}
spec:
  data:
    source: s3://LANDING/
    format: csv
    timestamp: ts
    target: output
    schema:
      heat: {type: float}
      load: {type: float, min: 0}
      output: {type: float}
  triggers: {upload: {minNewRows: 1, settle: 0s}}
  window: {strategy: all, minRows: 200}
  training: {estimator: "sklearn.linear_model:Ridge", seed: 0}
  evaluation: {holdout: 2w, block: 1d, primary: mean_absolute_error}
"""
# What a user's own script says; kfp.local and the steps are processes below it.
SCRIPT = """\
import sys
from kfp import local
from trimtab.pipelines.continuous_training import continuous_training
spec, state, root = sys.argv[1:]
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=root)
continuous_training(model="twice", spec=spec, state=state)
"""
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def rows(hours: int, start: int, slope: float) -> bytes:
    """Hourly rows from `start` on; equal arguments give equal bytes."""
    chance = random.Random(start)
    lines = ["ts,heat,load,output"]
    for hour in range(start, start + hours):
        heat, load = chance.gauss(20, 5), chance.uniform(0, 10)
        output = slope * load - 0.5 * heat + chance.gauss(0, 0.3)
        lines.append(f"{BEGIN + timedelta(hours=hour):%Y-%m-%dT%H:%M:%S},{heat:.4f},{load:.4f},{output:.4f}")
    return ("\n".join(lines) + "\n").encode()


def wait_for(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.05)
    return found


@dataclass
class Sdk:
    """Starts the pipeline as scripts of users do, all in one folder."""

    folder: Path
    scripts: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, spec: str, address: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{len(self.scripts)}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-c", SCRIPT, spec, address, str(self.folder / "outputs")]
            self.scripts.append(
                subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            )
        return self.scripts[-1]

    def finish(self) -> None:
        for number, script in enumerate(self.scripts):
            assert script.wait(PATIENCE_SECONDS) == 0, (self.folder / f"{number}.log").read_text()[-5000:]

    def end(self) -> None:
        for script in self.scripts:
            with suppress(psutil.NoSuchProcess):
                for process in [*psutil.Process(script.pid).children(recursive=True), script]:
                    process.kill()
            script.wait()


@pytest.fixture
def sdk(tmp_path: Path) -> Iterator[Sdk]:
    sdk = Sdk(tmp_path)
    yield sdk
    sdk.end()


def check_aliases(manifests: list[Manifest]) -> None:
    """Each manifest follows from the one before it: numbers without gaps, no champion dropped or passed over."""
    champions = [manifest.champion for manifest in manifests]
    assert [manifest.number for manifest in manifests] == list(range(1, len(manifests) + 1))
    assert None not in champions
    assert [manifest.previous for manifest in manifests] == [None, *champions[:-1]]


def check_one_won(state: State, decisions: int, champions: int) -> None:
    """Of the decisions made at once one became champion, and the others gave way to it or were judged beside it."""
    outcomes = state.decisions.outcomes()
    assert len(outcomes) == len(state.decisions.all()) == decisions
    manifests = state.registry.manifests()
    check_aliases(manifests)
    assert len(manifests) == champions
    winners = [outcome.version for outcome in outcomes.values() if outcome.state == "champion"]
    assert sorted(winners, key=str) == sorted((m.champion for m in manifests), key=str)
    for outcome in outcomes.values():
        assert outcome.state in ("champion", "superseded", "rejected"), outcome
        if outcome.state != "champion":
            assert "v" in outcome.reason or "champion" in outcome.reason, outcome
    champion = state.registry.version(manifests[-1].champion or 0)
    state.registry.artifact(champion.artifact)  # it stands in the store, whole
    numbers = [version.number for version in state.registry.versions()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_two_runs_started_at_once_through_the_sdk_make_one_champion_each_time(
    sdk: Sdk, buckets: Buckets, state_bucket: str, landing_bucket: str
) -> None:
    spec, address = SPEC.replace("LANDING", landing_bucket), f"s3://{state_bucket}/default"

    def both() -> State:
        for _ in range(2):
            sdk.start(spec, address)
        sdk.finish()
        return State.open(buckets, address, "twice")

    buckets.bucket(landing_bucket).put("a.csv", rows(900, 0, 3.0))
    check_one_won(both(), decisions=2, champions=1)

    # Again, with a champion that serves, and data that shows it to be out of date.
    buckets.bucket(landing_bucket).put("b.csv", rows(900, 900, 4.0))
    state = both()
    check_one_won(state, decisions=4, champions=2)
    assert len(state.ledger.entries()) == len(state.ledger.outcomes()) == 2


def test_a_run_through_the_sdk_beside_the_platforms_own_leaves_one_champion(
    sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "TRIMTAB_")) and name != "TRIMTAB_CACHE"]:
        monkeypatch.delenv(name)
    text = SPEC.replace("LANDING", "landing")
    (tmp_path / "model.yaml").write_text(text)
    # By the stream's clock: on the wall's, a run that was rejected keeps the next upload waiting for minutes.
    spec = tmp_path / "model.yaml"
    with Platform(tmp_path, spec, policy_clock="stream", listing_seconds=0.5, serving=False) as platform:
        address = platform.environment.state
        state = State.open(platform.buckets, address, "twice")

        def both(key: str, body: bytes, before: int) -> None:
            platform.buckets.bucket("landing").put(key, body)
            wait_for(lambda: len(state.decisions.all()) > before)
            sdk.start(text, address)
            sdk.finish()
            wait_for(lambda: len(state.decisions.outcomes()) == before + 2)

        both("a.csv", rows(900, 0, 3.0), before=0)
        check_one_won(state, decisions=2, champions=1)
        both("b.csv", rows(900, 900, 4.0), before=2)
        check_one_won(state, decisions=4, champions=2)
        reasons = [decision.reason for decision in state.decisions.all()]
        assert sorted(reasons) == ["sdk", "sdk", "upload", "upload"]
        wait_for(lambda: platform.loop.snapshot().running is None)
        assert platform.loop.snapshot().problems == ()
        assert platform.launcher.leftovers() == []
