"""
An outage of the store while requests go on, in real minutes: `make soak`.

The server is killed in the middle of it, and started again only when the store is back: it needs the artifact.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from trimtab.app.embedded.store import Store

OUTAGE_SECONDS = 600.0
SHARE_OF_TIME = 0.2  # of `make soak SECONDS=…`
PER_SECOND = 20.0
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("TRIMTAB_SOAK_SECONDS" not in os.environ, reason="long: `make soak`"),
]


class Users(threading.Thread):
    """Ask one row at a steady rate until told to stop; what was answered, by id."""

    def __init__(self, server: Any, row: dict[str, Any], prefix: str) -> None:
        super().__init__(daemon=True)
        self._server, self._prefix = server, prefix
        self._body = {"data": {"names": list(row), "ndarray": [list(row.values())]}}
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stop.wait(1 / PER_SECOND):
            number += 1
            name = f"{self._prefix}-{number}"
            try:
                code = self._server.predict(self._body, Seldon_Puid=name)[0]
            except (OSError, ValueError):
                code = 0
            (self.answered if code == 200 else self.failed).append(name)

    def end(self) -> None:
        self.stop.set()
        self.join()


def test_ten_minutes_without_the_store_cost_no_answer_and_no_line(
    tmp_path: Path, deploy: Any, make_server: Any, row: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    limit = os.environ["TRIMTAB_SOAK_SECONDS"]
    seconds = min(OUTAGE_SECONDS, SHARE_OF_TIME * float(limit)) if limit else OUTAGE_SECONDS
    with Store(tmp_path / "store") as store:
        first = deploy(own=store)
        users = Users(first.server, row, "first")
        users.start()
        first.wait_for_lines(lambda line: line["id"] == "first-1")
        os.kill(store.pid or 0, signal.SIGKILL)
        away = time.monotonic()
        time.sleep(seconds)  # the length of the outage is what is tried here
        users.end()
        first.server.kill()
        assert users.failed == [], "a request failed while the store was away"
        away = time.monotonic() - away
        store.restart()
        second = make_server(first.state, first.version.number, first.variables, first.folder)
        later = Users(second, row, "second")
        later.start()
        wanted = set(users.answered)
        first.wait_for_lines(lambda line: line["id"] in wanted, len(wanted))
        later.end()
        assert second.terminate() == 0
        ids = [line["id"] for line in first.logged()]
        assert set(ids) >= wanted | set(later.answered)
        assert len(ids) == len(set(ids))
        assert not list(first.folder.rglob("*.jsonl"))
    with capsys.disabled():
        print(f"\n{away:.0f} s without the store: {len(ids)} answered requests, each in the log once")
