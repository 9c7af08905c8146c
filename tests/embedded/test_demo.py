"""`trimtab demo` as its user starts it: the shortest one to its end, and one that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SECONDS = 280.0  # the shortest demo takes 25 on two idle cores


def start(folder: Path) -> subprocess.Popen[str]:
    """The shortest demo, in a session of its own, so that whatever it leaves can be seen."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("trimtab")), "demo", "--fortnights", "1"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def working_in(folder: Path) -> list[psutil.Process]:
    """Living processes that name the folder in their command line or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def test_the_shortest_demo_ends_with_report_and_figures_and_leaves_nothing_running(folder: Path) -> None:
    process = start(folder)
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "v1 serves" in said
    assert "✓ Every policy judged on identical rows: 334 rows" in said
    figures = json.loads((folder / ".trimtab" / "demo" / "summary.json").read_bytes())
    assert [policy["name"] for policy in figures["comparison"]["policies"]] == [
        "trimtab",
        "never",
        "everything",
        "window",
        "lastWeek",
    ]
    assert "never retrained" in (folder / ".trimtab" / "demo" / "report.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in (folder / ".trimtab" / "demo").iterdir()) == [
        "backtest.log",
        "model.yaml",
        "report.html",
        "summary.json",
    ]
    assert working_in(folder) == []


def test_an_interrupted_demo_ends_everything_it_started(folder: Path) -> None:
    process = start(folder)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "ready" in line:
                break
        assert len(working_in(folder)) > 1
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert "nothing is left running" in said
    # The kernel takes an instant to forget what was killed.
    until = time.monotonic() + 10
    while working_in(folder) and time.monotonic() < until:
        time.sleep(0.05)
    assert working_in(folder) == []
