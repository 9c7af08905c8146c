"""Reading the router's access log by position, over rotation, kills and deletion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trimtab.adapters.envoy import access_log
from trimtab.adapters.envoy.access_log import AccessLog, ends, parse_line, read_all
from trimtab.core.errors import Invalid


def line(number: int, **changed: object) -> str:
    value = {
        "at": f"{1000 + number}.500000",
        "route": "split",
        "cluster": "v7-or-v6",
        "answered_by": "v7",
        "code": 200,
        "flags": "-",
        "attempts": 1,
        "total_us": 2000,
        "upstream_us": 1500,
        "ms": 2,
        "id": f"r{number}",
        "user": None,
    }
    return json.dumps({**value, **changed}) + "\n"


def write(folder: Path, *numbers: int) -> None:
    with (folder / "access.jsonl").open("a") as file:
        file.writelines(line(number) for number in numbers)


def ids(log: AccessLog, position: str, limit: int = 100) -> tuple[list[str], str]:
    entries, after = log.read(position, limit)
    return [entry.answer.request_id for entry in entries], after


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    begin = log.end()
    write(tmp_path, 1, 2, 3)
    assert ids(log, begin, 2)[0] == ["r1", "r2"]
    _, middle = ids(log, begin, 2)
    assert ids(log, middle) == (["r3"], log.end())
    assert ids(log, log.end()) == ([], log.end())
    assert ids(log, begin) == (["r1", "r2", "r3"], log.end())


def test_a_line_that_is_still_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    write(tmp_path, 1)
    half = line(2)
    with (tmp_path / "access.jsonl").open("a") as file:
        file.write(half[:40])
    assert ids(log, "1:0") == (["r1"], log.end())
    after = log.end()
    with (tmp_path / "access.jsonl").open("a") as file:
        file.write(half[40:])
    assert ids(log, after)[0] == ["r2"]


def test_positions_stay_valid_when_the_log_is_set_aside(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    write(tmp_path, 1, 2)
    _, middle = ids(log, "1:0", 1)
    assert log.set_aside(1)
    # Envoy has not opened its new file yet and still writes to the old one.
    with (tmp_path / "access-00000001.jsonl").open("a") as old:
        old.write(line(3))
    found, after = ids(log, middle)
    assert found == ["r2", "r3"]
    write(tmp_path, 4)
    assert ids(log, after)[0] == ["r4"]
    assert ids(log, middle)[0] == ["r2", "r3", "r4"]
    assert ids(log, middle, 1)[0] == ["r2"]
    assert not log.set_aside(10**6)


def test_a_line_that_a_kill_cut_off_does_not_hold_up_the_next_file(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    write(tmp_path, 1)
    with (tmp_path / "access.jsonl").open("a") as file:
        file.write(line(2)[:50])
    log.set_aside(1)  # as before each start
    write(tmp_path, 3)
    assert ids(log, "1:0")[0] == ["r1", "r3"]


def test_the_oldest_files_go_and_a_position_in_them_goes_on_at_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "KEPT", 2)
    log = AccessLog(tmp_path)
    for number in range(1, 6):
        write(tmp_path, number)
        log.set_aside(1)
    write(tmp_path, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "access-00000004.jsonl",
        "access-00000005.jsonl",
        "access.jsonl",
    ]
    assert ids(log, "1:0")[0] == ["r4", "r5", "r6"]
    assert ids(log, "99:5")[0] == ["r4", "r5", "r6"]  # of a folder that was emptied meanwhile


def test_two_logs_are_read_as_one_in_the_order_of_completion(tmp_path: Path) -> None:
    logs = {}
    for name, numbers in {"a": (1, 4, 5), "b": (2, 3, 6)}.items():
        (tmp_path / name).mkdir()
        logs[name] = AccessLog(tmp_path / name)
        write(tmp_path / name, *numbers)
    everything, end = read_all(logs, "a=1:0,b=1:0", 100)
    assert [answer.request_id for answer in everything] == ["r1", "r2", "r3", "r4", "r5", "r6"]
    assert read_all(logs, end, 100) == ([], end)
    position, piecewise = "a=1:0,b=1:0", []
    for _ in range(4):
        some, position = read_all(logs, position, 2)
        piecewise += some
    assert piecewise == everything
    # What the other log may still write comes first.
    assert [answer.request_id for answer in read_all(logs, "a=1:0,b=1:0", 100, before=1003.9)[0]] == ["r1", "r2", "r3"]


def test_from_now_on_leaves_out_what_was_complete_and_not_yet_written(tmp_path: Path) -> None:
    logs = {"a": AccessLog(tmp_path)}
    position = ends(logs, now=1002.0)
    write(tmp_path, 1, 2, 3)
    answers, after = read_all(logs, position, 1)
    assert [answer.request_id for answer in answers] == ["r2"]
    assert [answer.request_id for answer in read_all(logs, after, 10)[0]] == ["r3"]


@pytest.mark.parametrize("position", ["x", "a=1", "a=1:x", "a=-1:0", "a=1:0,since=soon"])
def test_a_position_that_is_none_is_refused(tmp_path: Path, position: str) -> None:
    with pytest.raises(Invalid, match="position"):
        read_all({"a": AccessLog(tmp_path)}, position, 10)


@pytest.mark.parametrize(
    ("changed", "version", "failed", "seconds"),
    [
        ({}, 7, False, 0.0015),
        ({"cluster": "v6", "answered_by": "v6"}, 6, False, 0.0015),
        ({"answered_by": "v6", "attempts": 2}, 7, True, 0.0015),  # the champion answered in its place
        ({"code": 500}, 7, True, 0.0015),
        ({"code": 503, "answered_by": None, "attempts": 0, "upstream_us": None}, 7, True, 0.002),
        ({"code": 422}, 7, False, 0.0015),  # the client's mistake
        ({"code": 0, "flags": "DC", "upstream_us": None, "total_us": None, "ms": 900}, 7, False, 0.9),  # hung up
    ],
)
def test_what_a_line_says_of_the_variant_that_was_chosen(
    changed: dict[str, object], version: int, failed: bool, seconds: float
) -> None:
    entry = parse_line(line(1, **changed).encode(), "1:1")
    assert entry is not None
    assert (entry.answer.version, entry.answer.failed) == (version, failed)
    assert entry.answer.seconds == pytest.approx(seconds)
    assert entry.answer.at == 1001.5


@pytest.mark.parametrize(
    "changed",
    [
        {"route": "forced-v7"},  # chosen by the client, not by the split
        {"route": "denied", "cluster": None},
        {"code": 413, "attempts": 0},  # never reached a variant
        {"cluster": None},
    ],
)
def test_what_is_no_evidence_is_left_out(changed: dict[str, object]) -> None:
    assert parse_line(line(1, **changed).encode(), "1:1") is None


def test_garbage_is_left_out() -> None:
    assert parse_line(b'{"at": "12', "1:1") is None
    assert parse_line(b"[]\n", "1:1") is None
