"""The embedded store as its users and its neighbours on the machine see it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import httpx
import psutil
import pytest
from botocore.exceptions import ClientError

from trimtab.app.embedded import weed
from trimtab.app.embedded.ports import free_ports
from trimtab.app.embedded.store import Store
from trimtab.core.errors import Unavailable


def test_objects_and_addresses_survive_a_restart_after_kill(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        first = store.endpoint
        store.client().put_object(Bucket="trimtab-state", Key="a/b.json", Body=b"kept")
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while store.running and time.monotonic() < deadline:
            time.sleep(0.01)
        store.restart()
        assert store.endpoint == first
        assert store.client().get_object(Bucket="trimtab-state", Key="a/b.json")["Body"].read() == b"kept"


def test_stopping_leaves_no_process_and_no_socket(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    store = Store(tmp_path / "a folder whose name is long enough that no unix socket fits under it" / ("x" * 60))
    store.start()
    ports = store.ports
    store.stop()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not [port for port in ports.values() if list(Path("/tmp").glob(f"seaweedfs-*-{port + 10_000}.sock"))]
    assert list((store.folder / "pids").iterdir()) == []


def test_the_filer_gives_nothing_to_anonymous_callers(store: Store) -> None:
    store.client().put_object(Bucket="trimtab-state", Key="closed", Body=b"kept")
    address = f"http://127.0.0.1:{store.ports['filer']}/buckets/trimtab-state/closed"
    for answer in (httpx.get(address), httpx.put(address, content=b"x"), httpx.delete(address)):
        assert answer.status_code in (401, 404)
    assert store.client().get_object(Bucket="trimtab-state", Key="closed")["Body"].read() == b"kept"


def test_the_master_gives_no_tokens_and_deletes_nothing(store: Store) -> None:
    store.client().put_object(Bucket="trimtab-state", Key="kept", Body=b"kept")
    master = f"http://127.0.0.1:{store.ports['master']}"
    for path in ("/dir/assign", "/dir/lookup?volumeId=1&fileId=1,01&read=yes", "/col/delete?collection=trimtab-state"):
        answer = httpx.get(f"{master}{path}")
        assert answer.status_code == 404
        assert "authorization" not in answer.headers
    assert store.client().get_object(Bucket="trimtab-state", Key="kept")["Body"].read() == b"kept"


def test_s3_refuses_anonymous_callers_and_does_not_make_buckets_by_itself(store: Store) -> None:
    assert httpx.get(f"{store.endpoint}/trimtab-state?list-type=2").status_code == 403
    with pytest.raises(ClientError) as refused:
        store.client().put_object(Bucket="not-made-by-anyone", Key="x", Body=b"x")
    assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        files = [folder / "credentials.json", *(folder / ".seaweedfs").iterdir()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert Store(folder).credentials == store.credentials
        command = psutil.Process(store.pid).cmdline()
        assert command
        assert store.credentials.secret_key not in " ".join(command)


def test_a_port_lost_between_look_and_bind_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[socket.socket] = []

    def and_lose_one(names: Collection[str], remembered: dict[str, int] | None = None) -> dict[str, int]:
        found = free_ports(names, remembered)
        if not taken:
            taken.append(socket.create_server(("127.0.0.1", found["s3"])))
        return found

    monkeypatch.setattr("trimtab.app.embedded.store.free_ports", and_lose_one)
    with Store(tmp_path / "store") as store:
        assert store.ports["s3"] != taken[0].getsockname()[1]
        assert store.client().list_buckets()["Buckets"][0]["Name"] == "trimtab-state"
    taken[0].close()


def test_a_port_lost_after_the_server_looked_at_all_of_them_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, int]] = []
    command = weed.command
    said = "Filer listener error: listen tcp 127.0.0.1:21837: bind: address already in use"

    def first_dies(program: Path, data: Path, ports: Mapping[str, int], buckets: Sequence[str]) -> list[str]:
        found.append(dict(ports))
        if len(found) == 1:  # what it wrote on a machine where that happened, many lines after it and all
            return ["/bin/sh", "-c", f"echo '{said}'; seq 40; exit 255"]
        return command(program, data, ports, buckets)

    monkeypatch.setattr(weed, "command", first_dies)
    with Store(tmp_path / "store") as store:
        assert store.client().list_buckets()["Buckets"][0]["Name"] == "trimtab-state"
    assert len(found) == 2
    assert found[0] != found[1]


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "data").mkdir()
    (folder / "data" / "filerldb2").write_text("a file where the server needs a folder")
    with pytest.raises(Unavailable, match=r"not ready[\s\S]*its last lines[\s\S]*filerldb2[\s\S]*hint: .*doctor"):
        Store(folder).start()
    assert list((folder / "pids").iterdir()) == []


def test_what_a_killed_owner_left_is_ended_by_the_next_and_its_objects_are_there(tmp_path: Path) -> None:
    script = """
import sys, time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from trimtab.app.embedded import weed
from trimtab.app.embedded.ports import free_ports
from trimtab.app.embedded.store import Store
from trimtab.core.errors import Unavailable
store = Store(Path(sys.argv[1]))
store.start()
store.client().put_object(Bucket="trimtab-state", Key="k", Body=b"kept")
print(store.pid, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    orphan = psutil.Process(int(owner.stdout.readline()))
    orphan.suspend()  # it cannot follow its owner, as a server in the middle of a long write may not
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert orphan.is_running()
    with Store(tmp_path / "store") as store:
        assert not orphan.is_running()
        assert store.client().get_object(Bucket="trimtab-state", Key="k")["Body"].read() == b"kept"
