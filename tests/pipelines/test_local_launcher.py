"""LocalLauncher with a real kfp.local underneath, on a pipeline of two small steps."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from trimtab.adapters.kfp import LocalLauncher
from trimtab.core.errors import NotFound
from trimtab.core.ports import RunPhase, RunRequest, RunStatus

ENDED = (RunPhase.SUCCEEDED, RunPhase.FAILED)


# A process that launches a run and then only stays alive.
PARENT = """
import sys, time
from pathlib import Path
from trimtab.adapters.kfp import LocalLauncher
from trimtab.core.ports import RunRequest
launcher = LocalLauncher(Path(sys.argv[1]), "tiny:tiny", {"PYTHONPATH": sys.argv[2]})
launcher.launch(RunRequest(*sys.argv[3:7], (), "upload", "k1"))
time.sleep(60)
"""


def wait(look: Callable[[], Any], seconds: float = 120) -> Any:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def launcher(tmp_path: Path):
    launcher = launcher_in(tmp_path)
    yield launcher
    for run in launcher.leftovers():
        launcher.stop(run)


def launcher_in(folder: Path) -> LocalLauncher:
    return LocalLauncher(folder / "runs", "tiny:tiny", {"PYTHONPATH": str(Path(__file__).parent)})


def request_for(spec: str, objects: tuple[str, ...] = ()) -> RunRequest:
    return RunRequest(str(uuid.uuid4()), "bikes", spec, "s3://state/default", objects, "upload", "k1")


def end_of(launcher: LocalLauncher, run_id: str) -> RunStatus:
    return wait(lambda: status if (status := launcher.look_up(run_id)) and status.phase in ENDED else None)


def text_in(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_run_passes_parameters_and_artifacts_on_and_leaves_only_its_records(launcher):
    request = request_for("go", objects=("s3://landing/a.csv",))
    assert launcher.launch(request).phase is RunPhase.RUNNING
    assert end_of(launcher, request.run_id) == RunStatus(request.run_id, RunPhase.SUCCEEDED)

    said = [line.split(" ", 1)[1] for line in launcher.logs(request.run_id)]
    assert said[0] == "first: model bikes"
    assert said[1] == "first: from the log"
    assert "second: batch s3://bucket/batch 12ab, objects ['s3://landing/a.csv'], image 'default'" in said
    assert said[-1].startswith("run succeeded after ")
    assert len(said) == 6  # nothing of the engine's
    files = {path.name for path in (launcher.folder / request.run_id).iterdir()}
    assert files == {"request.json", "process.json", "result.json", "log.txt"}


def test_a_gate_that_says_no_ends_the_run_well(launcher):
    request = request_for("stop")
    launcher.launch(request)
    assert end_of(launcher, request.run_id).phase is RunPhase.SUCCEEDED
    assert not any("second:" in line for line in launcher.logs(request.run_id))


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("invalid", "first: found 12 rows; training needs 1000"),
        ("raise", "first: ValueError: Input X contains NaN."),
        ("killed", "first: killed by SIGKILL (out of memory?)"),
    ],
)
def test_a_failure_is_told_in_one_line(launcher, spec, error):
    request = request_for(spec)
    launcher.launch(request)
    assert end_of(launcher, request.run_id) == RunStatus(request.run_id, RunPhase.FAILED, error)


def test_a_pipeline_that_does_not_exist_is_told_by_its_setting(tmp_path):
    launcher = LocalLauncher(tmp_path, "no_such_module:f")
    request = request_for("go")
    launcher.launch(request)
    status = end_of(launcher, request.run_id)
    assert status.error == "could not load the pipeline 'no_such_module:f': No module named 'no_such_module'"
    assert "hint: TRIMTAB_PIPELINE names it" in "\n".join(launcher.logs(request.run_id))


def test_a_run_id_is_started_once_whoever_asks(launcher, tmp_path):
    pid_file = tmp_path / "pid"
    request = request_for(f"wait {pid_file}")
    launcher.launch(request)
    pid = wait(lambda: text_in(pid_file))
    restarted = launcher_in(tmp_path)
    assert restarted.look_up(request.run_id).phase is RunPhase.RUNNING
    assert restarted.launch(request).phase is RunPhase.RUNNING
    assert restarted.leftovers() == [request.run_id]
    assert text_in(pid_file) == pid

    restarted.stop(request.run_id)
    assert not alive(int(pid))
    for either in (restarted, launcher):
        assert either.look_up(request.run_id) == RunStatus(request.run_id, RunPhase.FAILED, "the run was stopped")
        assert either.launch(request).phase is RunPhase.FAILED
        assert either.leftovers() == []


def test_after_a_kill_of_the_child_its_step_is_ended_before_the_failure_is_told(launcher, tmp_path):
    pid_file = tmp_path / "pid"
    request = request_for(f"wait {pid_file}")
    launcher.launch(request)
    step = int(wait(lambda: text_in(pid_file)))
    os.kill(json.loads((launcher.folder / request.run_id / "process.json").read_text())["pid"], signal.SIGKILL)
    status = end_of(launcher, request.run_id)
    assert status.error == "the run's process was killed before it finished"
    assert not alive(step)


def test_a_run_ends_itself_when_its_parent_is_killed(launcher, tmp_path):
    pid_file = tmp_path / "pid"
    request = request_for(f"wait {pid_file}")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
            *(str(launcher.folder), str(Path(__file__).parent)),
            *(request.run_id, request.model, request.spec, request.state),
        ]
    )
    step = int(wait(lambda: text_in(pid_file)))
    parent.kill()
    parent.wait()
    wait(lambda: not alive(step))
    assert end_of(launcher, request.run_id).phase is RunPhase.FAILED
    assert launcher.leftovers() == []


def test_a_pid_that_belongs_to_another_by_now_is_not_taken_for_the_run(launcher):
    request = request_for("go")
    launcher.launch(request)
    end_of(launcher, request.run_id)
    folder = launcher.folder / request.run_id
    (folder / "result.json").unlink()
    (folder / "process.json").write_text(json.dumps({"pid": os.getpid(), "started": 1.0}))
    assert launcher.look_up(request.run_id).phase is RunPhase.FAILED


def test_what_was_never_started_is_unknown(launcher):
    assert launcher.look_up("11111111-0000-0000-0000-000000000000") is None
    assert launcher.logs("11111111-0000-0000-0000-000000000000") == []
    launcher.stop("11111111-0000-0000-0000-000000000000")
    with pytest.raises(NotFound):
        launcher.look_up("../elsewhere")
