"""From the local disk to the store: in order, once, and never in a request's way."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.seldon import shipping
from trimtab.adapters.seldon.shipping import PredictionLog
from trimtab.adapters.state import State
from trimtab.core.errors import Unavailable
from trimtab.serving.meters import Meters
from trimtab.serving.segments import SegmentWriter

WAIT_SECONDS = 60.0


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(), "s3://state/default", "trips", tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def meters() -> Meters:
    return Meters(1, {"model": "trips", "version": "7"})


@pytest.fixture
def make_log(state: State, root: Path, meters: Meters) -> Iterator[Callable[..., PredictionLog]]:
    made: list[PredictionLog] = []

    def make(rows: int = 2, seconds: float = 0.05) -> PredictionLog:
        log = PredictionLog(state, root, "v7", rows, seconds, meters)
        log.start()
        made.append(log)
        return log

    yield make
    for log in made:
        log.close()


def line(number: int) -> bytes:
    return json.dumps({"number": number}).encode() + b"\n"


def stored(state: State) -> list[list[int]]:
    """By segment, in the order of their keys, the numbers that the store has."""
    infos = state.bucket.list(state.layout.predictions())
    return [[json.loads(each)["number"] for each in state.bucket.get(info.key).body.splitlines()] for info in infos]


def wait_for(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dead_writer(root: Path, state: State, *bodies: bytes) -> SegmentWriter:
    """A writer that was killed: its segments hold these bytes, and nobody holds its lock."""
    writer = SegmentWriter(root, "v6", state.uri(state.layout.root), 1, 3600.0)
    for body in bodies:
        writer.append(body)
    writer.release()
    return writer


def test_segments_come_to_the_store_in_order_and_leave_the_disk(make_log, state, root):
    log = make_log()
    for number in range(5):
        log.append([line(number)])
    wait_for(lambda: stored(state) == [[0, 1], [2, 3], [4]])
    wait_for(lambda: not list(root.rglob("*.jsonl")))
    keys = [info.key for info in state.bucket.list(state.layout.predictions())]
    writer = keys[0].split("/")[-2]
    assert keys == [state.layout.predictions(writer, place) for place in range(3)]
    assert writer.startswith("v7-")


def test_closing_sends_what_is_there_and_leaves_nothing(make_log, state, root):
    log = make_log(rows=100, seconds=3600.0)
    log.append([line(0), line(1)])
    log.close()
    assert stored(state) == [[0, 1]]
    assert list(root.iterdir()) == []


def test_while_the_store_is_away_lines_wait_on_the_disk_and_lose_nothing(make_log, state, root, meters, monkeypatch):
    monkeypatch.setattr(shipping, "BACK_OFF_SECONDS", (0.02,))
    create = type(state.bucket).create
    away = [True]

    def refusing(bucket: object, key: str, body: bytes) -> str:
        if away[0]:
            raise Unavailable("the store does not answer")
        return create(bucket, key, body)

    monkeypatch.setattr(type(state.bucket), "create", refusing)
    log = make_log(rows=1)
    for number in range(20):
        began = time.perf_counter()
        log.append([line(number)])
        assert time.perf_counter() - began < 1.0  # no request waits for the store
    wait_for(lambda: meters.total("log_waiting_segments") == 20)
    assert stored(state) == []
    away[0] = False
    wait_for(lambda: stored(state) == [[number] for number in range(20)])
    wait_for(lambda: meters.total("log_waiting_segments") == 0)
    assert meters.total("log_lost_lines") == 0


def test_what_a_dead_writer_left_is_sent_under_its_own_name_without_the_torn_line(make_log, state, root):
    dead = dead_writer(root, state, line(0), line(1) + line(2)[:6])
    make_log()
    wait_for(lambda: stored(state) == [[0], [1]])
    assert {info.key.split("/")[-2] for info in state.bucket.list(state.layout.predictions())} == {dead.name}
    wait_for(lambda: not dead.folder.exists())


def test_a_leftover_of_a_torn_line_alone_is_no_segment(make_log, state, root):
    dead = dead_writer(root, state, line(0), line(1)[:6])
    make_log()
    wait_for(lambda: not dead.folder.exists())
    assert stored(state) == [[0]]


def test_a_leftover_that_was_sent_before_its_sender_died_is_sent_once(make_log, state, root):
    dead = dead_writer(root, state, line(0), line(1))
    state.bucket.create(state.layout.predictions(dead.name, 0), line(0))
    make_log()
    wait_for(lambda: not dead.folder.exists())
    assert stored(state) == [[0], [1]]


def test_somebody_elses_bytes_under_a_segments_name_are_not_written_over(make_log, state, root):
    dead = dead_writer(root, state, line(0), line(1))
    state.bucket.create(state.layout.predictions(dead.name, 0), line(9))
    make_log()
    wait_for(lambda: stored(state) == [[9], [1]])
    wait_for(lambda: [path.read_bytes() for path in dead.folder.glob("*.kept")] == [line(0)])


def test_a_disk_that_takes_nothing_is_counted(make_log, root, meters):
    root.parent.mkdir(parents=True, exist_ok=True)
    root.touch()
    make_log().append([line(0), line(1)])
    assert meters.total("log_lost_lines") == 2
