"""A disk that fills up under the running platform, and has room again: every acknowledged byte is there."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from trimtab.app.embedded import files
from trimtab.app.embedded.platform import Platform
from trimtab.app.embedded.store import Store
from trimtab.core.errors import Unavailable
from trimtab.core.ports import Bucket

SIZE = 64 << 20  # bytes of the small disk
FILLER = 256 << 10  # bytes of each object that is put until one is refused


@dataclass
class SmallDisk:
    """A file system of 64 MB in memory, filled by a file of somebody else's."""

    folder: Path

    def fill(self, store: int) -> None:
        with (self.folder / "somebody's").open("wb", buffering=0) as file:
            for step in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(step))
                except OSError:
                    continue

    def free(self, store: int) -> None:
        (self.folder / "somebody's").unlink()


@dataclass
class LimitedFiles:
    """Where mounting is not allowed: the store may not make any file larger, and then it may again."""

    folder: Path

    def fill(self, store: int) -> None:
        resource.prlimit(store, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free(self, store: int) -> None:
        resource.prlimit(store, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk | LimitedFiles]:
    """Both ways to a full disk; without the right to mount, the second one in place of the first."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "trimtab", str(folder)]
    if request.param == "tmpfs" and not subprocess.run(mount, capture_output=True, check=False).returncode:
        yield SmallDisk(folder)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        yield LimitedFiles(folder)


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill_up(bucket: Bucket, kept: dict[str, bytes]) -> str:
    """Put objects until one is refused; returns what is said of it."""
    for number in range(100):
        body = os.urandom(FILLER)
        try:
            bucket.put(f"elsewhere/{number}", body)
        except Unavailable as error:
            return str(error)
        kept[f"elsewhere/{number}"] = body
    raise AssertionError("the disk is not full")


def put_empty(store: Store, kept: dict[str, bytes]) -> None:
    """Objects without a byte: they reach the index, also where there is no room for data."""
    client, refused = store.client(), 0
    for number in range(100):
        try:
            client.put_object(Bucket="landing", Key=f"empty/{number}", Body=b"")
        except ClientError:
            refused += 1
            if refused == 3:
                return
        else:
            kept[f"empty/{number}"] = b""
    raise AssertionError("the disk is not full")


def rows(day: int) -> bytes:
    return ("ts,x,y\n" + "".join(f"2026-01-{day:02}T{hour:02}:00:00,{hour},{day}\n" for hour in range(24))).encode()


def test_a_disk_that_fills_up_delays_uploads_and_loses_none(
    disk: SmallDisk | LimitedFiles, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LEAST_FREE_BYTES", 0)
    monkeypatch.setattr("trimtab.app.tenure.LEASE_SECONDS", 3.0)
    monkeypatch.setattr("trimtab.app.embedded.supervisor.TROUBLE_SECONDS", 2.0)
    said: list[str] = []
    with Platform(disk.folder, spec_file, listing_seconds=0.5, serving=False, tell=said.append) as platform:
        uploads = platform.loop.snapshot
        landing = platform.buckets.bucket("landing")
        kept = {"small/1.csv": rows(1)}
        landing.put("small/1.csv", kept["small/1.csv"])
        wait_for(lambda: uploads().uploads.get("ingested") == 1)

        assert platform.store.pid is not None
        disk.fill(platform.store.pid)
        refused = fill_up(landing, kept)
        put_empty(platform.store, kept)
        wait_for(lambda: uploads().problems)
        assert {key: landing.get(key).body for key in kept} == kept  # reading goes on
        disk.free(platform.store.pid)

        wait_for(lambda: not uploads().problems)
        kept["small/2.csv"] = rows(2)
        landing.put("small/2.csv", kept["small/2.csv"])
        wait_for(lambda: uploads().uploads.get("ingested") == 2)
        assert {key: landing.get(key).body for key in kept} == kept

    assert " answers 500 " in refused
    assert "look at its log and disk" in refused
    assert not [line for line in said if "unexpected" in line]
    # A part of the index that could not write once writes no more until the server is started again.
    assert [line for line in said if "full disk, which has room again" in line or "goes on answering" in line]
