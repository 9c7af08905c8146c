"""The log in segments: every line once, whoever compacts at that moment and wherever that one dies."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.adapters.memory import MemoryBucket, MemoryBuckets
from trimtab.adapters.state import State
from trimtab.adapters.state.compaction import FEWEST, LARGEST_BYTES, Compacted, compact, compact_leased, runs
from trimtab.adapters.state.lease import Lease
from trimtab.adapters.state.segments import Piece, Segments
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Bucket
from trimtab.core.predictions import Label, Position, PredictionLine

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def line(number: int, version: int = 1) -> PredictionLine:
    return PredictionLine(id=f"r{number}", at=1e9 + number, version=version, seconds=0.01, rows=1, predictions=[1.0])


def write(log: Segments, writer: str, start: int, stop: int) -> None:
    """A segment a line, numbered as the lines."""
    for number in range(start, stop):
        log.bucket.create(log.key(writer, number), line(number).to_json() + b"\n")


def numbers(log: Segments, position: Position | None = None) -> list[tuple[str, int]]:
    return [(segment.writer, segment.number) for segment in log.read(position or {})[0]]


@pytest.fixture
def log(bucket: Bucket) -> Segments:
    return Segments(bucket, "default/flights/predictions/")


def everything(writer: str, stop: int) -> list[tuple[str, int]]:
    return [(writer, number) for number in range(stop)]


def test_each_segment_is_read_once_as_it_comes(log: Segments) -> None:
    write(log, "v1-a", 0, 3)
    first, position = log.read({})
    write(log, "v1-a", 3, 4)
    write(log, "v2-b", 0, 1)
    second, position = log.read(position)

    assert [(s.writer, s.number) for s in first] == everything("v1-a", 3)
    assert sorted((s.writer, s.number) for s in second) == [("v1-a", 3), ("v2-b", 0)]
    assert log.read(position) == ([], position)


def test_a_late_segment_is_waited_for_and_nothing_behind_it_is_lost(log: Segments) -> None:
    write(log, "w", 0, 1)
    write(log, "w", 2, 4)
    first, position = log.read({})
    write(log, "w", 1, 2)

    assert [s.number for s in first] == [0]
    assert numbers(log, position) == [("w", 1), ("w", 2), ("w", 3)]


@pytest.mark.parametrize("read_before", [0, 1, 17, 40])
def test_a_compacted_log_reads_as_before_from_any_position(log: Segments, read_before: int) -> None:
    write(log, "w", 0, 40)
    bodies = [segment.body for segment in log.read({})[0]]

    done = compact(log, log.pieces()["w"], datetime.now(UTC))
    left, position = log.read({"w": read_before} if read_before else {})

    assert (done.objects, done.deleted) == (1, 40)
    assert len(log.pieces()["w"]) == 1
    assert [segment.body for segment in left] == bodies[read_before:]
    assert position == {"w": 40}


def test_too_few_small_segments_stay_until_their_writer_is_silent(log: Segments) -> None:
    write(log, "w", 0, FEWEST - 1)
    now = datetime.now(UTC)

    assert compact(log, log.pieces()["w"], now) == Compacted(0, 0)
    assert compact(log, log.pieces()["w"], now + timedelta(hours=2)) == Compacted(1, FEWEST - 1)
    assert numbers(log) == everything("w", FEWEST - 1)


def test_segments_behind_a_gap_are_not_taken_together_with_those_before_it(log: Segments) -> None:
    write(log, "w", 0, 40)
    write(log, "w", 41, 90)
    compact(log, log.pieces()["w"], datetime.now(UTC))
    write(log, "w", 40, 41)

    assert numbers(log) == everything("w", 90)


def test_a_segment_put_again_after_its_compaction_counts_once_and_is_cleaned_away(log: Segments) -> None:
    write(log, "w", 0, 40)
    compact(log, log.pieces()["w"], NOW)
    write(log, "w", 7, 8)  # a writer whose answer was lost repeats its put

    assert numbers(log) == everything("w", 40)
    assert compact(log, log.pieces()["w"], datetime.now(UTC)).deleted == 1
    assert len(log.pieces()["w"]) == 1


def test_two_compactions_that_overlap_leave_one_log(log: Segments) -> None:
    write(log, "w", 0, 40)
    seen_by_the_first = log.pieces()["w"]
    write(log, "w", 40, 80)
    seen_by_the_second = log.pieces()["w"]
    unrelated = Segments(log.bucket, log.prefix)

    compact(log, seen_by_the_first, NOW)
    compact(unrelated, seen_by_the_second, NOW)

    assert numbers(log) == everything("w", 80)


def test_what_a_person_left_beside_the_segments_is_no_segment(log: Segments) -> None:
    write(log, "w", 0, 1)
    for key in ("README.md", "w/notes.txt", "w/1.jsonl", "w/x/00000000000000000001.jsonl"):
        log.bucket.put(f"{log.prefix}{key}", b"hello")

    assert numbers(log) == [("w", 0)]


def test_objects_put_before_a_moment_are_passed_over(log: Segments) -> None:
    write(log, "w", 0, 3)

    assert log.read({}, since=datetime.now(UTC) + timedelta(hours=1)) == ([], {"w": 3})
    assert len(log.read({}, since=datetime.now(UTC) - timedelta(hours=1))[0]) == 3


def test_a_large_log_is_read_in_parts(log: Segments) -> None:
    write(log, "w", 0, 10)
    position: Position = {}
    parts = []
    while True:
        part, reached = log.read(position, limit_bytes=300)
        if reached == position:
            break
        parts.append(len(part))
        position = reached

    assert sum(parts) == 10
    assert max(parts) < 10


def test_a_damaged_run_is_said_by_name(log: Segments) -> None:
    log.bucket.create(log.key("w", 0, 3), b"garbage")

    with pytest.raises(Invalid, match=r"00000000000000000003\.jsonl is no run of segments"):
        log.read({})


# Readers and crashes at every single operation, in memory where each can be chosen


class Death(Exception):
    """The compacting process is killed."""


def compacting(stop_at: int, at_each: Callable[[], None]) -> tuple[Segments, bool]:
    """A log whose compaction is looked at after each operation, and dies after `stop_at` of them; whether it did."""
    steps = 0
    inside = False

    def watch(operation: str, key: str, done: bool) -> None:
        nonlocal steps, inside
        if inside or not done or operation not in ("create", "delete"):
            return
        inside = True
        at_each()
        inside = False
        steps += 1
        if steps == stop_at:
            raise Death

    buckets = MemoryBuckets()
    log = Segments(buckets.bucket("held"), "p/")
    write(log, "w", 0, 40)
    buckets.fail = watch
    try:
        compact(log, log.pieces()["w"], datetime.now(UTC))
    except Death:
        return log, True
    finally:
        buckets.fail = None
    return log, False


@pytest.mark.parametrize("stop_at", [1, 2, 5, 40])
def test_wherever_a_compaction_dies_every_segment_is_there_once_and_the_next_pass_ends_it(stop_at: int) -> None:
    log, died = compacting(stop_at, lambda: None)

    assert died
    assert numbers(log) == everything("w", 40)
    compact(log, log.pieces()["w"], datetime.now(UTC))
    assert len(log.pieces()["w"]) == 1
    assert numbers(log) == everything("w", 40)


def test_a_reader_between_any_two_operations_of_a_compaction_sees_each_segment_once() -> None:
    seen: list[list[tuple[str, int]]] = []
    holder: list[Segments] = []
    original = Segments.__init__

    def remember(self: Segments, bucket: Bucket, prefix: str) -> None:
        original(self, bucket, prefix)
        holder.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segments, "__init__", remember)
        compacting(-1, lambda: seen.append(numbers(holder[0])))

    assert len(seen) == 41
    assert all(found == everything("w", 40) for found in seen)


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_whose_listing_is_stale_sees_each_segment_once(seed: int) -> None:
    """A compaction runs at some moment inside of the read: between its listing and any of its gets."""
    draw = random.Random(seed)
    buckets = MemoryBuckets()
    bucket = buckets.bucket("held")
    log = Segments(bucket, "p/")
    write(log, "w", 0, 40)
    moment, gets = draw.randrange(40), 0

    class Meanwhile(MemoryBucket):
        def find(self, key: str):  # type: ignore[no-untyped-def]
            nonlocal gets
            gets += 1
            if gets == moment + 1:
                compact(log, log.pieces()["w"], datetime.now(UTC))
            return bucket.find(key)

        def list(self, prefix: str, start_after: str = ""):  # type: ignore[no-untyped-def]
            return bucket.list(prefix, start_after)

    reader = Segments(Meanwhile("held", buckets), "p/")
    start = draw.randrange(40)
    found, position = reader.read({"w": start})

    assert [segment.number for segment in found] == list(range(start, 40))
    assert position == {"w": 40}


def test_a_byte_is_written_again_a_few_times_at_most() -> None:
    """A year of small segments: what is large is left alone until as much has come behind it."""
    pieces: list[Piece] = []
    written = 0
    for number in range(20_000):
        pieces.append(Piece(f"{number}", "w", number, number, 1000, NOW))
        for run in list(runs(pieces, FEWEST)):
            size = sum(piece.size for piece in run)
            written += size
            place = pieces.index(run[0])
            pieces[place : place + len(run)] = [Piece("c", "w", run[0].first, run[-1].last, size, NOW)]

    assert written < 15 * 20_000 * 1000
    assert len(pieces) < 2 * FEWEST
    assert max(piece.size for piece in pieces) <= LARGEST_BYTES


# The lease


def test_only_one_process_compacts_at_a_time(state: State) -> None:
    write(state.predictions.segments, "w", 0, 40)
    lease = Lease(state.bucket, state.layout.current("compaction"), lambda: datetime.now(UTC))
    other = lease.acquire("other", 60)
    assert other is not None

    assert compact_leased([state.predictions.segments], lease, "me", lambda: datetime.now(UTC)) is None
    lease.release("other", other)
    assert compact_leased([state.predictions.segments], lease, "me", lambda: datetime.now(UTC)) == Compacted(1, 40)
    assert lease.who() is None


# Lines


def test_a_torn_line_is_counted_and_the_rest_is_read(state: State) -> None:
    log = state.predictions
    whole = line(1).to_json() + b"\n" + Label(id="r1", value=1, at=5.0).to_json() + b"\n"
    log.segments.bucket.create(state.layout.predictions("w", 0), whole + line(2).to_json()[:30])

    lines, _ = log.read({})

    assert [type(found).__name__ for found in lines] == ["PredictionLine", "Label"]
    assert log.broken == 1


def test_labels_are_kept_in_their_order(state: State) -> None:
    assert state.labels.add([Label(id=f"r{n}", value=n, at=1.0) for n in range(3)]) == 3
    assert state.labels.add([Label(id="r3", value=3, at=1.0)]) == 1

    labels, position = state.labels.read({})

    assert [label.id for label in labels] == ["r0", "r1", "r2", "r3"]
    assert state.labels.read(position) == ([], position)


def test_after_a_lost_answer_the_labels_are_sent_again_and_none_is_lost(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Also where the put that seemed to fail was compacted away meanwhile: its number is never used again."""
    buckets = MemoryBuckets()
    state = State.open(buckets, "s3://held/default", "flights", cache=tmp_path)
    state.labels.add([Label(id="before", value=1, at=1.0)])

    def lose(operation: str, key: str, done: bool) -> None:
        if operation == "create" and done:
            raise Unavailable("no answer")

    buckets.fail = lose
    with pytest.raises(Unavailable):
        state.labels.add([Label(id="lost answer", value=1, at=1.0)])
    buckets.fail = None
    for pieces in state.labels.segments.pieces().values():
        compact(state.labels.segments, pieces, NOW)
    state.labels.add([Label(id="after", value=1, at=1.0)])

    assert sorted(label.id for label in state.labels.read({})[0]) == ["after", "before", "lost answer"]
