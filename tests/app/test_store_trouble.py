"""The store killed, and the disk full, in the middle of intake: uploads wait, and each is taken in once."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from trimtab.adapters.state import State
from trimtab.app.embedded.store import Store
from trimtab.core.errors import Unavailable

DayFile = Callable[..., bytes]
WaitFor = Callable[..., Any]
UPLOADS = 12
EVENT = '{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"landing"},"object":{"key":"in/%s"}}}]}'


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that the test may kill."""
    with Store(tmp_path / "store", buckets=("state", "landing")) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_store_killed_in_the_middle_of_intake_loses_no_upload(
    own_store: Store, hand: Any, make_loop: Any, day_file: DayFile, wait_for: WaitFor
) -> None:
    from trimtab.adapters import s3

    buckets = s3.connect()
    loop = make_loop(buckets, hand, listing_seconds=0.5, tell=lambda line: None)

    def notify(name: str) -> int:
        address, token = f"http://127.0.0.1:{loop.port}/v1/events", {"Authorization": "Bearer t0ken"}
        return httpx.post(address, content=EVENT % name, headers=token, timeout=120, trust_env=False).status_code

    for day in range(UPLOADS):
        buckets.bucket("landing").put(f"in/{day:02}.csv", day_file(day))
    wait_for(lambda: notify("00.csv") == 202)
    assert own_store.pid is not None
    os.kill(own_store.pid, signal.SIGKILL)
    wait_for(lambda: not own_store.running)

    while_down = notify("01.csv")
    wait_for(lambda: any(own_store.endpoint in problem for problem in loop.snapshot().problems), 60)
    own_store.restart()

    state = State.open(buckets, "s3://state/default", "bikes")
    wait_for(lambda: len(state.ledger.outcomes()) == UPLOADS, 120)
    wait_for(lambda: not loop.snapshot().problems, 60)
    assert while_down == 503
    outcomes = state.ledger.outcomes().values()
    assert {outcome.state for outcome in outcomes} == {"ingested"}
    partitions = {outcome.partition.id for outcome in outcomes}
    assert len(partitions) == UPLOADS
    rows = pl.concat([pl.read_parquet(state.data.partition(name)) for name in partitions])
    assert sorted(rows["count"]) == sorted(100.0 * day + row for day in range(UPLOADS) for row in range(12))


def test_a_full_temporary_folder_delays_intake_and_blames_no_file(rig: Any, day_file: DayFile) -> None:
    rig.put("large.csv", day_file(0, rows=290))
    rig.intake.reconcile()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk does it: Python ignores the signal, and the write fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    try:
        with pytest.raises(Unavailable, match=r"cannot write in/large\.csv to .*: File too large") as refused:
            rig.intake.take_next()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "TMPDIR" in refused.value.hint
    assert rig.state.ledger.outcomes() == {}
    (outcome,) = rig.take_in()
    assert (outcome.state, outcome.partition.rows) == ("ingested", 290)
