"""The prediction log's local end: what is on the disk, whatever happens to its writer."""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimtab.serving.segments import LOCK, SegmentWriter, leftovers, segments, whole_lines

HERE = "s3://state/default/trips/"


def writer(root: Path, rows: int = 3, seconds: float = 3600.0) -> SegmentWriter:
    return SegmentWriter(root, "v7", HERE, rows, seconds)


def line(number: int) -> bytes:
    return json.dumps({"number": number}).encode() + b"\n"


def numbers(folder: Path) -> list[list[int]]:
    """By segment the numbers in it."""
    return [[json.loads(each)["number"] for each in path.read_bytes().splitlines()] for _, path in segments(folder)]


def test_lines_stand_in_numbered_segments_in_their_order(tmp_path):
    one = writer(tmp_path)
    for number in range(7):
        assert one.append(line(number))
    assert numbers(one.folder) == [[0, 1, 2], [3, 4, 5], [6]]
    assert [path.stem for path in one.finished()] == [f"{place:020d}" for place in (0, 1)]


def test_a_segment_ends_by_its_age_also_when_nothing_comes(tmp_path):
    one = writer(tmp_path, seconds=0.05)
    one.append(line(0))
    deadline = time.monotonic() + 10
    while not one.finished() and time.monotonic() < deadline:
        one.rotate_if_old()
    assert [path.stem for path in one.finished()] == [f"{0:020d}"]
    assert one.append(line(1))
    assert numbers(one.folder) == [[0], [1]]


def test_a_writer_without_a_line_leaves_no_folder(tmp_path):
    one = writer(tmp_path)
    one.close()
    one.release()
    assert list(tmp_path.iterdir()) == []


def test_a_living_writers_folder_is_left_alone_and_a_dead_ones_found(tmp_path):
    living = writer(tmp_path)
    living.append(line(0))
    assert list(leftovers(tmp_path, HERE)) == []
    living.release()
    assert list(leftovers(tmp_path, HERE)) == [living.folder]


def test_a_folder_of_another_model_is_left_alone(tmp_path):
    one = writer(tmp_path)
    one.append(line(0))
    one.release()
    assert list(leftovers(tmp_path, "s3://state/default/other/")) == []


def test_a_leftover_folder_goes_when_its_segments_are_gone(tmp_path):
    one = writer(tmp_path)
    one.append(line(0))
    one.release()
    for folder in leftovers(tmp_path, HERE):
        for _, path in segments(folder):
            path.unlink()
    assert not one.folder.exists()


@pytest.mark.parametrize("content", [b"", b"no json", b"[]"])
def test_a_folder_with_a_damaged_lock_file_is_passed_over(tmp_path, content):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / LOCK).write_bytes(content)
    (tmp_path / "file").touch()
    assert list(leftovers(tmp_path, HERE)) == []


def test_every_line_survives_kill_9_of_its_writer(tmp_path):
    program = f"""
import os
from pathlib import Path
from trimtab.serving.segments import SegmentWriter
one = SegmentWriter(Path({str(tmp_path)!r}), "v7", {HERE!r}, 100, 3600.0)
for number in range(1000):
    one.append(b'{{"number": %d}}\\n' % number)
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert ended.returncode == -9
    (folder,) = leftovers(tmp_path, HERE)
    assert [number for segment in numbers(folder) for number in segment] == list(range(1000))


def test_half_a_line_is_cut_off_and_counted_when_the_disk_is_full(tmp_path, monkeypatch):
    one = writer(tmp_path, rows=100)
    one.append(line(0))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, body: write(file, body[:5]))
        assert not one.append(line(1))
    with monkeypatch.context() as patch:

        def full(file: int, body: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", full)
        assert not one.append(line(2))
    assert one.append(line(3))
    assert numbers(one.folder) == [[0, 3]]
    assert one.lost == 2


def test_a_limit_of_the_system_on_a_file_costs_only_what_does_not_fit(tmp_path):
    one = writer(tmp_path, rows=100)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        kept = [one.append(line(number)) for number in range(5)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept == [True, True, False, False, False]
    assert numbers(one.folder) == [[0, 1]]


def test_a_folder_that_cannot_be_made_costs_the_line_and_not_the_request(tmp_path):
    (tmp_path / "file").touch()
    one = writer(tmp_path / "file")
    assert not one.append(line(0))
    assert one.lost == 1


def test_a_torn_last_line_is_cut_off():
    assert whole_lines(line(1) + line(2)[:4]) == line(1)
    assert whole_lines(b'{"torn') == b""
