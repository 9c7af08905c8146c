"""Labels as they come to a platform: by its HTTP door, and as files under labels.source."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.clocks import WallClock
from trimtab.app.labels import Labels, parse_labels
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.spec import load

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/rows/
    format: csv
    timestamp: ts
    key: [unit]
    target: late
    labels: {source: s3://landing/labels/}
    schema:
      heat: {type: float}
      unit: {type: int}
      late: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: accuracy}
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Rig:
    """What a platform does with labels, without its thread."""

    def __init__(self, cache: Path, text: str = SPEC) -> None:
        self.buckets = MemoryBuckets()
        self.cache = cache
        self.text = text
        self.said: list[str] = []
        self.open()

    def open(self) -> None:
        """A new process: nothing in memory."""
        self.state = State.open(self.buckets, "s3://state/default", "plant", cache=self.cache)
        model = load(self.text)
        self.labels = Labels(self.state, self.buckets, model, WallClock(), "me", 0.01, self.said.append)

    def put(self, key: str, body: bytes) -> None:
        self.buckets.bucket("landing").put(key, body)

    def kept(self) -> list[tuple[str, int, Any]]:
        return [(label.id, label.row, label.value) for label in self.state.labels.read({})[0]]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


# Files


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


TABLE = pl.DataFrame(
    {"requestId": ["a", "b"], "row": [0, 1], "late": [True, False], "labelTime": [NOW, NOW - timedelta(days=1)]}
)
CSV = b"requestId,row,late,labelTime\na,0,yes,2026-06-01T00:00:00Z\nb,1,no,2026-05-31T00:00:00Z\n"
JSONL = (
    b'{"requestId": "a", "late": true, "labelTime": "2026-06-01T00:00:00Z"}\n'
    b'{"requestId": "b", "row": 1, "late": "no", "labelTime": "2026-05-31T00:00:00Z"}\n'
)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.csv", CSV),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        ("part-0000", CSV),
        ("deep/er/a.CSV", CSV),
        ("a.jsonl", JSONL),
        ("a.parquet", parquet(TABLE)),
    ],
)
def test_a_file_of_labels_is_taken_in_once(rig: Rig, name: str, body: bytes) -> None:
    rig.put(f"labels/{name}", body)

    (record,) = rig.labels.look()

    assert (record.labels, record.set_aside, record.refused) == (2, 0, "")
    labels, _ = rig.state.labels.read({})
    assert [(label.id, label.row, label.value) for label in labels] == [("a", 0, True), ("b", 1, False)]
    assert [label.at for label in labels] == [NOW.timestamp(), (NOW - timedelta(days=1)).timestamp()]
    assert rig.labels.look() == []
    rig.open()
    assert rig.labels.look() == []


def test_a_new_version_of_a_file_is_taken_in_too(rig: Rig) -> None:
    rig.put("labels/a.csv", b"requestId,late\na,yes\n")
    rig.labels.look()
    rig.put("labels/a.csv", b"requestId,late\na,no\n")
    rig.labels.look()

    assert rig.kept() == [("a", 0, True), ("a", 0, False)]
    first, second = rig.state.labels.read({})[0]
    assert first.at <= second.at == second.received


def test_rows_that_are_wrong_are_set_aside_with_the_reason_and_the_others_count(rig: Rig) -> None:
    rig.put("labels/a.csv", b"requestId,late\na,yes\n,yes\nb,perhaps\nc,\nd,no\ne,no,7\n")

    (record,) = rig.labels.look()

    assert rig.kept() == [("a", 0, True), ("d", 0, False)]
    assert (record.labels, record.set_aside) == (2, 4)
    assert "late: found 'perhaps'; needed true or false" in record.reasons
    (told,) = rig.state.journal.entries()
    assert told.kind == "ingested"
    assert "s3://landing/labels/a.csv: 2 labels, 4 rows set aside" in told.summary


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the file is empty"),
        (b"id,late\na,yes\n", "the file has no column requestId; it has id, late"),
        (b"requestId,value\na,yes\n", "the file has no column late"),
        (b"PAR1xxxx", "found a parquet file; spec.data.format says csv"),
        (b"<html>", "HTML"),
        (b"requestId,late\n\xff\xfe,yes\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_none_of_labels_is_refused_once_and_said(rig: Rig, body: bytes, why: str) -> None:
    rig.put("labels/a.csv", body)
    rig.put("labels/b.csv", CSV)

    refused, taken = sorted(rig.labels.look(), key=lambda record: record.uri)

    assert why in refused.refused
    assert taken.labels == 2
    assert rig.labels.look() == []
    assert {entry.kind for entry in rig.state.journal.entries()} == {"ingested", "quarantined"}


def test_hidden_files_and_markers_are_no_labels(rig: Rig) -> None:
    for name in ("_SUCCESS", ".hidden", "x/_temporary/a.csv", ""):
        rig.put(f"labels/{name}", CSV)

    assert rig.labels.look() == []


def test_by_key_a_file_names_the_key_columns(tmp_path: Path) -> None:
    rig = Rig(tmp_path, SPEC.replace("{source:", "{joinBy: key, source:"))
    rig.put("labels/a.csv", b"unit,late\n7,yes\nseven,no\n")

    (record,) = rig.labels.look()

    assert [label.key for label in rig.state.labels.read({})[0]] == [["7"]]
    assert record.reasons == {"unit: found 'seven' in the key; it is no int": 1}


def test_a_kill_between_labels_and_record_keeps_them_twice_which_counts_once(rig: Rig) -> None:
    def die(operation: str, key: str, done: bool) -> None:
        if operation == "create" and "label-files" in key:
            raise Unavailable("killed")

    rig.put("labels/a.csv", CSV)
    rig.buckets.fail = die
    with pytest.raises(Unavailable):
        rig.labels.look()
    rig.buckets.fail = None
    rig.open()
    rig.labels.look()

    assert set(rig.kept()) == {("a", 0, True), ("b", 1, False)}
    assert rig.labels.look() == []


def test_a_file_that_breaks_its_reader_holds_up_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.adapters import labels

    original = labels.read_label_file

    def breaking(path: Path, *more: Any) -> Any:
        if b"poison" in path.read_bytes():
            raise MemoryError
        return original(path, *more)

    monkeypatch.setattr(labels, "read_label_file", breaking)
    rig.put("labels/a.csv", b"requestId,late\npoison,yes\n")
    rig.put("labels/b.csv", CSV)

    assert [record.labels for record in rig.labels.look()] == [2]
    assert any("a.csv cannot be read: MemoryError" in line for line in rig.said)
    assert rig.labels.look() == []


def test_the_thread_finds_files_and_says_once_that_the_store_is_down(rig: Rig, wait_for: Callable[..., Any]) -> None:
    down = True

    def fail(operation: str, key: str, done: bool) -> None:
        if down:
            raise Unavailable("the store did not answer")

    rig.put("labels/a.csv", CSV)
    rig.buckets.fail = fail
    rig.labels.start()
    try:
        wait_for(lambda: rig.said)
        down = False
        wait_for(lambda: len(rig.kept()) == 2)
        wait_for(lambda: len(rig.said) == 2)
    finally:
        rig.labels.stop()

    assert rig.said == ["labels: the store did not answer; trying again", "labels: it works again"]


def test_compaction_takes_both_logs(rig: Rig) -> None:
    for number in range(40):
        rig.labels.add(json.dumps({"labels": [{"requestId": f"r{number}", "late": True}]}).encode())
        rig.state.bucket.create(rig.state.layout.predictions("v1-a", number), b"")
    rig.labels.compact()

    assert len(rig.kept()) == 40
    for log in (rig.state.labels, rig.state.predictions):
        assert [len(pieces) for pieces in log.segments.pieces().values()] == [1]


# By the API


def test_the_labels_of_a_request_are_kept_or_none(rig: Rig) -> None:
    good = {"requestId": "a", "late": True}
    assert rig.labels.add(json.dumps({"labels": [good, good | {"row": 1}]}).encode()) == 2
    with pytest.raises(Invalid):
        rig.labels.add(json.dumps({"labels": [good, good | {"late": "perhaps"}]}).encode())

    assert rig.kept() == [("a", 0, True), ("a", 1, True)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "found no JSON"),
        (b"{", "found no JSON"),
        (b"\xff", "found no JSON"),
        (b"[" * 100_000, "found no JSON"),
        (b"[]", "found no list of labels"),
        (b"{}", "found no list of labels"),
        (b'{"labels": []}', "found no list of labels"),
        (b'{"labels": {"requestId": "a"}}', "found no list of labels"),
        (b'{"labels": [7]}', "labels[0]: found '7'"),
        (b'{"labels": [{"requestId": "a", "late": true}, {"late": true}]}', "labels[1].requestId: found nothing"),
        (b'{"labels": [{"requestId": "a", "late": 7}]}', "labels[0].late: found 7; needed true or false"),
        (b'{"labels": [{"requestId": "a", "late": NaN}]}', "labels[0].late: found nan"),
        (b'{"labels": [{"requestId": "a", "late": true, "labelTime": "now"}]}', "labels[0].labelTime: found 'now'"),
    ],
)
def test_a_wrong_body_says_where_and_what_was_needed(body: bytes, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_labels(body, load(SPEC).spec.data, NOW)
    assert said in str(refused.value)


def test_the_door_of_a_running_loop_takes_labels(
    make_loop: Callable[..., Any], hand: Any, memory: MemoryBuckets, tmp_path: Path
) -> None:
    loop = make_loop(memory, hand)
    address = f"http://127.0.0.1:{loop.port}/v1/models/bikes/labels"
    headers = {"Authorization": "Bearer t0ken"}
    with httpx.Client(headers=headers, trust_env=False) as client:
        taken = client.post(address, json={"labels": [{"requestId": "a", "count": 7}]})
        wrong = client.post(address, json={"labels": [{"requestId": "a", "count": "many"}]})
        other = client.post(address.replace("bikes", "cars"), json={"labels": []})
        large = client.post(address, content=b" " * (1 << 21))
        unknown = httpx.post(address, json={"labels": []}, trust_env=False)

    assert (taken.status_code, taken.json()) == (202, {"labels": 1})
    assert (wrong.status_code, other.status_code, large.status_code, unknown.status_code) == (400, 404, 413, 401)
    assert wrong.json()["error"].startswith("labels[0].count: found 'many'")
    state = State.open(memory, "s3://state/default", "bikes", cache=tmp_path)
    assert [(label.id, label.value) for label in state.labels.read({})[0]] == [("a", 7.0)]
