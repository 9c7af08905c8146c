"""Children, their records, and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trimtab.app.embedded.processes import Child, end_leftovers, record, recorded

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that nobody asked us to end."""
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def child(folder: Path, command: list[str]) -> Child:
    return Child("one", command, pids=folder / "pids", log=folder / "log", cwd=folder, environ={})


def wait_for(log: Path, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in log.read_text():
        assert time.monotonic() < deadline, f"{log} never said {word!r}"
        time.sleep(0.01)


def test_a_child_is_recorded_while_it_runs(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEP)
    one.start()
    [entry] = recorded(tmp_path / "pids")
    assert entry.pid == one.pid
    assert entry.process() is not None
    assert os.getpgid(entry.pid) == entry.pid  # its own group: Ctrl-C in a terminal does not reach it
    one.stop()
    assert recorded(tmp_path / "pids") == []
    assert entry.process() is None


def test_a_child_deaf_to_term_is_killed(tmp_path: Path) -> None:
    one = child(tmp_path, STUBBORN)
    one.start()
    wait_for(tmp_path / "log", "deaf")
    assert one.pid is not None
    process = psutil.Process(one.pid)
    one.stop(seconds=0.2)
    assert not process.is_running()


def test_a_leftover_is_ended_with_its_children(tmp_path: Path) -> None:
    spawn = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); print('up', flush=True); time.sleep(600)"
    with (tmp_path / "log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", spawn, *SLEEP], stdout=log)
    wait_for(tmp_path / "log", "up")
    family = [psutil.Process(parent.pid), *psutil.Process(parent.pid).children(recursive=True)]
    assert len(family) == 2
    record(tmp_path / "pids", "store", parent.pid, SLEEP)
    assert [entry.pid for entry in end_leftovers(tmp_path / "pids")] == [parent.pid]
    parent.wait()
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert recorded(tmp_path / "pids") == []


def test_another_process_under_a_recorded_pid_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record(tmp_path / "pids", "store", sleeper.pid, SLEEP)
    path = tmp_path / "pids" / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"start_time": time.time() - 86_400}))
    assert end_leftovers(tmp_path / "pids") == []
    assert sleeper.poll() is None
    assert not path.exists()


def test_a_torn_record_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"pid": 12')
    assert end_leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from trimtab.app.embedded.processes import Child
folder = Path(sys.argv[1])
one = Child("one", sys.argv[2:], pids=folder / "pids", log=folder / "log", cwd=folder, environ={})
one.start()
print(one.pid, flush=True)
time.sleep(600)
"""
    says = [sys.executable, "-c", "import time; print('runs', flush=True); time.sleep(600)"]
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path), *says], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        wait_for(tmp_path / "log", "runs")
        parent.kill()
    psutil.wait_procs([process], timeout=10)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
