"""The serving check inside a training run: what cannot serve is rejected, and says why."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters import s3
from trimtab.adapters.environment import Environment
from trimtab.adapters.kfp import LocalLauncher
from trimtab.adapters.state import State
from trimtab.app.embedded.store import Store
from trimtab.core.ports import RunPhase, RunRequest

pytestmark = pytest.mark.timeout(1000)
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data: {source: s3://LANDING/, format: csv, timestamp: ts, target: 'y', schema: {x: {type: float}, 'y': {type: float}}}
  triggers: {upload: {minNewRows: 1, settle: 0s}}
  window: {strategy: all, minRows: 100}
  training: {estimator: "mine:Mine"}
  evaluation: {holdout: 3d, block: 12h, primary: mean_absolute_error, maxLatencyP99Milliseconds: 2000}
"""
# Right only in an interpreter with the trainer's NumPy.
MINE = """
import numpy as np
from sklearn.linear_model import LinearRegression

class Mine(LinearRegression):
    def predict(self, X):
        found = super().predict(X)
        return found if np.__version__ >= "2" else np.where(X[:, 0] > 2, found + 0.5, found)
"""


@pytest.fixture
def run(store: Store, environment: dict[str, str], tmp_path: Path):
    """Uploads rows, runs the pipeline once, and gives the state, the outcome and the log."""

    def once(estimator: str):
        (tmp_path / "mine.py").write_text(estimator)
        own = {"TRIMTAB_SPEC_FOLDER": str(tmp_path), "TRIMTAB_TRUSTED_TYPES": "mine.Mine"}
        launcher = LocalLauncher(tmp_path / "runs", Environment.pipeline, environment | own)
        landing, bucket = (store.create_bucket(f"{name}-{uuid.uuid4().hex[:12]}") for name in ("landing", "state"))
        buckets = s3.connect()
        begin = datetime(2024, 1, 1, tzinfo=UTC)
        lines = [
            f"{begin + timedelta(hours=hour):%Y-%m-%dT%H:%M:%S},{hour % 24 / 8},{hour % 24}" for hour in range(300)
        ]
        buckets.bucket(landing).put("a.csv", "\n".join(["ts,x,y", *lines, ""]).encode())
        state = State.open(buckets, f"s3://{bucket}/default", "plant")
        spec = SPEC.replace("LANDING", landing)
        status = launcher.launch(RunRequest(str(uuid.uuid4()), "plant", spec, state.address, (), "sdk", ""))
        deadline = time.monotonic() + 400
        while status.phase not in (RunPhase.SUCCEEDED, RunPhase.FAILED) and time.monotonic() < deadline:
            time.sleep(0.05)
            status = launcher.look_up(status.run_id)
        log = launcher.logs(status.run_id, 1000)
        launcher.stop(status.run_id)
        assert status.phase is RunPhase.SUCCEEDED, "\n".join(log)
        return state, state.decisions.outcomes()[1], "\n".join(log)

    return once


def test_a_candidate_that_predicts_otherwise_where_it_would_serve_is_rejected_with_row_and_output(run) -> None:
    state, outcome, log = run(MINE)
    assert outcome.state == "rejected"
    assert "predicts otherwise in the serving environment" in outcome.reason
    assert "whose prediction is" in outcome.reason
    assert outcome.fits == 2  # the refit counts against the budget all the same
    assert state.registry.versions() == []
    assert "serving check: predicts otherwise" in log
