"""The README's session of a canary by kubectl, replayed: its commands, and the lines that they print."""

from __future__ import annotations

import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from console import Session, sessions

from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.core.errors import TrimtabError

README = Path(__file__).parents[3] / "README.md"
HEADING = "## Run it on Kubernetes"


def session() -> Session:
    """Each command of the canary, with the lines that follow it."""
    return sessions(README, HEADING)[-1]


def matches(expected: list[str], printed: str) -> bool:
    """Each line begins some line that was printed, word by word; `…` stands for anything."""
    lines = printed.splitlines()
    return all(any(re.match(_pattern(line), each) for each in lines) for line in expected if line.split())


def _pattern(line: str) -> str:
    return r"\s*" + r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())


class Going(threading.Thread):
    """The controller, and users who ask as the router splits them."""

    def __init__(self, canary: Any) -> None:
        super().__init__(daemon=True)
        self._canary = canary
        self.ending = threading.Event()
        self.asked = threading.Event()  # users ask from now on

    def run(self) -> None:
        sent: dict[str, int] = {}
        while not self.ending.wait(0.1):
            try:
                self._canary.look()
                now = self._canary.answering()
                if self.asked.is_set() and "v2" in now and now != sent:
                    epochs = self._canary.at().epochs
                    if epochs and epochs[-1].confirmed_from is not None:
                        self._canary.send(400)
                        sent = now
            except TrimtabError:
                continue


@pytest.fixture
def going(canary: Any) -> Iterator[Going]:
    found = Going(canary)
    found.start()
    yield found
    found.ending.set()
    found.join(60)


def test_the_readmes_canary_goes_from_apply_to_promoted(
    cluster: Any, namespace: str, canary: Any, going: Going, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was applied, as its author has it in a file.
    made = cluster.api.get(MODEL, namespace, "flights")
    kept = {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "metadata": {"name": "flights"},
        "spec": made["spec"],
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(kept))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    for command, expected in session():
        words = [*shlex.split(command)[1:], "-n", namespace]
        deadline = time.monotonic() + 120
        while True:
            done = cluster.kubectl(*words)
            printed = done.stdout.replace(" configured", " created")
            if done.returncode == 0 and matches(expected, printed):
                break
            # What is shown comes when the rollout is so far.
            assert time.monotonic() < deadline, f"$ {command}\n{printed}{done.stderr}\nREADME:\n" + "\n".join(expected)
            time.sleep(0.3)
        if '"paused": false' in command:
            going.asked.set()
    assert canary.phase() == "Promoted"


def test_the_session_is_one_from_apply_to_promoted() -> None:
    commands = [command for command, _ in session()]
    assert commands[0].startswith("kubectl apply -f model.yaml")
    assert "Promoted" in "\n".join(session()[-1][1])
