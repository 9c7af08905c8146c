"""The policy clock: what cooldown, budget, schedule and maturity are measured on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from trimtab.adapters.environment import Environment
from trimtab.core.ports import Clock

BEFORE_ANY_DATA = datetime(1970, 1, 1, tzinfo=UTC)


class WallClock:
    """Production: time passes by itself."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class StreamClock:
    """A replay: it is as late as the newest event that was taken in, and stands still in between."""

    def __init__(self, start: datetime = BEFORE_ANY_DATA) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def advance(self, to: datetime) -> None:
        """Go on to this moment; an older one (a late file) leaves the clock where it is."""
        with self._lock:
            self._now = max(self._now, to)


def clock_of(environment: Environment) -> Clock:
    """The clock that TRIMTAB_POLICY_CLOCK asks for."""
    return StreamClock() if environment.policy_clock == "stream" else WallClock()
