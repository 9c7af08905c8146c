"""A small model, and `trimtab up` as its user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://landing/small/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      x: {type: float}
      'y': {type: float}
  triggers: {upload: {minNewRows: 1000000, settle: 0s}}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {holdout: 2d, block: 12h, primary: mean_absolute_error, metrics: [mean_absolute_error]}
"""
READY_SECONDS = 90.0


class Up:
    """`trimtab up` in a process of its own; its output in `output`."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "model.yaml").write_text(SPEC)
        self.folder = folder
        self.output = folder / "up.out"
        with self.output.open("ab") as output:
            command = trimtab("up", "-f", "model.yaml", *options)
            self.process = subprocess.Popen(command, cwd=folder, env=environ(), stdout=output, stderr=output)

    def said(self) -> str:
        return self.output.read_text()

    def wait_until(self, word: str, times: int = 1) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while self.said().count(word) < times:
            assert time.monotonic() < deadline, f"never said {word!r}:\n{self.said()}"
            assert self.process.poll() is None, f"ended before it said {word!r}:\n{self.said()}"
            time.sleep(0.02)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """Whatever the test made of it, nothing stays."""
        family = self.family() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for member in family:
            if member.is_running():
                member.kill()


def trimtab(*words: str) -> list[str]:
    """The command line as it is installed beside this interpreter."""
    return [str(Path(sys.executable).with_name("trimtab")), *words]


def environ() -> dict[str, str]:
    """This process's, without what would lead to another platform."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a trimtab command in a folder to its end: `command(folder, "down")`."""

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            trimtab(*words), cwd=folder, env=environ(), capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """`model.yaml` in this test's folder."""
    (tmp_path / "model.yaml").write_text(SPEC)
    return tmp_path / "model.yaml"


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `trimtab up` in this test's folder, more than once if asked; it is ended after the test."""
    started: list[Up] = []

    def start(*options: str) -> Up:
        started.append(Up(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A platform that the tests of a module look at and leave running."""
    up = Up(tmp_path_factory.mktemp("platform"))
    try:
        up.wait_until("is ready")
        yield up
    finally:
        up.process.terminate()
        up.process.wait(timeout=60)
        up.end()
