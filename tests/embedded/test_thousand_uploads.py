"""A thousand uploads, each notified three times, shuffled, a tenth notified never: through HTTP, on the real store."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest

from trimtab.adapters.arrivals import assemble, list_source
from trimtab.adapters.environment import Environment
from trimtab.adapters.rows import load_rows
from trimtab.adapters.state import State
from trimtab.app.clocks import StreamClock
from trimtab.app.loop import Loop
from trimtab.app.status import Status
from trimtab.core import spec
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus
from trimtab.core.records import Outcome

UPLOADS = 1000
ROWS = 2  # in each
NOTIFIED_TIMES = 3
THREADS = 8
PATIENCE_SECONDS = 800.0  # about a minute on two idle cores
pytestmark = pytest.mark.timeout(1000)
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: many}
spec:
  data:
    source: s3://LANDING/in/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      id: {type: int}
      'y': {type: float}
  triggers: {upload: {minNewRows: 300, settle: 0s}}
  window: {strategy: all, minRows: 5}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {holdout: 1d, block: 1h, primary: mean_absolute_error}
"""


class Learner:
    """
    `RunLauncher` whose runs end at once: each reads the rows that a run of its decision would learn, and gives way.

    Training a thousand uploads' models would tell nothing more: what is learned twice shows in what is read.
    """

    def __init__(self, state: State, data: Any) -> None:
        self._state = state
        self._data = data
        self._ended: dict[str, RunStatus] = {}
        self.learned: list[list[int]] = []  # ids of rows, by run

    def look_up(self, run_id: str) -> RunStatus | None:
        return self._ended.get(run_id)

    def launch(self, request: RunRequest) -> RunStatus:
        assert request.run_id not in self._ended
        decision = next(each for each in self._state.decisions.all() if each.run_key == request.run_key)
        rows = load_rows(self._state, self._state.data.dataset(decision.dataset), self._data)
        self.learned.append(rows["id"].to_list())
        self._state.decisions.conclude(
            Outcome(
                number=decision.number,
                run_key=request.run_key,
                state="superseded",
                reason="it has read its rows",
                decided_at=decision.decided_at,
                recorded_at=decision.recorded_at,
            )
        )
        self._ended[request.run_id] = RunStatus(request.run_id, RunPhase.SUCCEEDED)
        return self._ended[request.run_id]

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        return []

    def stop(self, run_id: str) -> None:
        """It ended in `launch`."""


@pytest.fixture
def model(landing_bucket: str) -> spec.ContinuousModel:
    return spec.load(SPEC.replace("LANDING", landing_bucket))


@pytest.fixture
def state(buckets: Buckets, state_bucket: str) -> State:
    return State.open(buckets, f"s3://{state_bucket}/default", "many")


@pytest.fixture
def learner(state: State, model: spec.ContinuousModel) -> Learner:
    return Learner(state, model.spec.data)


@pytest.fixture
def loop(
    buckets: Buckets, state_bucket: str, landing_bucket: str, model: spec.ContinuousModel, learner: Learner
) -> Iterator[Loop]:
    """Listener and worker as `trimtab up` has them."""
    environment = Environment(state_bucket=state_bucket, token="t0ken", policy_clock="stream")
    text = SPEC.replace("LANDING", landing_bucket)
    loop = Loop(model, text, environment, buckets, learner, StreamClock(), listing_seconds=5.0)
    loop.start()
    yield loop
    loop.stop()


def file(number: int) -> bytes:
    """Upload `number`: rows whose ids no other has."""
    start = datetime(2024, 1, 1) + timedelta(hours=ROWS * number)  # noqa: DTZ001  naive times are UTC
    ids = [ROWS * number + row for row in range(ROWS)]
    lines = [f"{(start + timedelta(hours=row)).isoformat()},{name},{name % 24}.5" for row, name in enumerate(ids)]
    return ("\n".join(["ts,id,y", *lines]) + "\n").encode()


def payload(bucket: str, key: str, chance: random.Random) -> bytes:
    """One notification, in SeaweedFS's form or in the one that MinIO and AWS share."""
    if chance.random() < 0.5:
        return json.dumps(
            {"event_type": "create", "key": f"/buckets/{bucket}/{key}", "message": {"new_entry": {"name": key}}}
        ).encode()
    s3 = {"bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]}).encode()


def settled(status: Status) -> bool:
    return status.uploads["seen"] == UPLOADS and not status.uploads["pending"] and status.running is None


def wait_until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.05)


def test_every_upload_is_one_entry_and_every_row_is_learned_once(
    loop: Loop, learner: Learner, state: State, buckets: Buckets, model: spec.ContinuousModel, landing_bucket: str
) -> None:
    chance = random.Random(7)
    keys = [f"in/{number:04d}.csv" for number in range(UPLOADS)]
    never = set(chance.sample(keys, UPLOADS // 10))
    # Each notification comes somewhere among the next two hundred uploads.
    events = [
        (number + chance.uniform(THREADS, 200), payload(landing_bucket, key, chance))
        for number, key in enumerate(keys)
        if key not in never
        for _ in range(NOTIFIED_TIMES)
    ]
    sendings = [what for _, what in sorted([*events, *enumerate(range(UPLOADS))], key=lambda each: each[0])]
    landing = buckets.bucket(landing_bucket)

    with (
        httpx.Client(base_url=f"http://127.0.0.1:{loop.port}", trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):

        def send(what: bytes | int) -> int:
            if isinstance(what, int):
                landing.put(keys[what], file(what))
                return 0
            answer = client.post("/v1/events", content=what, headers={"Authorization": "Bearer t0ken"})
            assert answer.status_code == 202, answer.text
            return int(answer.json()["new"])

        new = sum(pool.map(send, sendings))
    assert 0 < new <= UPLOADS - len(never)
    wait_until(lambda: settled(loop.snapshot()))

    entries, outcomes = state.ledger.entries(), state.ledger.outcomes()
    assert sorted(entry.key for entry in entries.values()) == keys
    assert {entry.key for entry in entries.values() if entry.via == "webhook"} & never == set()
    assert set(outcomes) == set(entries)
    assert {outcome.state for outcome in outcomes.values()} == {"ingested"}
    partitions = {outcome.partition.id for outcome in outcomes.values() if outcome.partition}
    rows = [name for each in partitions for name in pl.read_parquet(state.data.partition(each))["id"].to_list()]
    assert len(partitions) == UPLOADS
    assert sorted(rows) == list(range(ROWS * UPLOADS))

    assert learner.learned
    for window in learner.learned:
        assert len(window) == len(set(window)), "a row stands twice in one window"
    offered = [entry for decision in state.decisions.all() for entry in decision.entries]
    assert len(offered) == len(set(offered))
    whole = load_rows(state, assemble(state, list_source(buckets, model), model, buckets), model.spec.data)
    assert sorted(whole["id"].to_list()) == list(range(ROWS * UPLOADS))
