"""Runs that somebody asked for: `requests/ID.json`, create-only. A decision answers them by naming them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.core.records import Record


class RunAsked(Record):
    """`by` says how it came: `cli` or `api`."""

    id: str
    by: str
    recorded_at: datetime


class Requests:
    def __init__(self, state: State, now: Callable[[], datetime] = wall_clock) -> None:
        self._bucket = state.bucket
        self._prefix = f"{state.layout.root}requests/"
        self._now = now

    def ask(self, by: str) -> RunAsked:
        """Ask for a run; once this returns, it will be decided on, whatever is killed."""
        asked = RunAsked(id=uuid.uuid4().hex, by=by, recorded_at=self._now())
        self._bucket.create(f"{self._prefix}{asked.id}.json", asked.to_json())
        return asked

    def ids(self) -> set[str]:
        """Every run ever asked for, by one listing."""
        keys = (info.key for info in self._bucket.list(self._prefix))
        return {key.removeprefix(self._prefix).removesuffix(".json") for key in keys}
