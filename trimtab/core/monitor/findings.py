"""Everything the monitor found, as one small value: what `decide`, `status` and `/metrics` read."""

from __future__ import annotations

from datetime import datetime

from trimtab.core.monitor.answers import AnswerWindow
from trimtab.core.monitor.bands import Anomaly
from trimtab.core.monitor.inputs import InputDrift
from trimtab.core.monitor.performance import Performance
from trimtab.core.monitor.service import Minute
from trimtab.core.records import Record
from trimtab.core.triggering import Sign


class Load(Record):
    """What a version's servers use: cores (1.0 is one core busy) and bytes, over all its processes."""

    version: int
    cores: float
    memory_bytes: int


class Findings(Record):
    """
    `current/monitor.json`, compare-and-swapped by the process that holds the model's lease.

    Attributes:
        minutes: The newest whole minute of each version that answered, and the minutes before it, oldest first.
        answers: The newest window of each version.
        performance: The champion's first, then other versions that have mature labels.
        position: In the gateway's log of answers, so that a restart counts none twice.
    """

    champion: int | None = None
    at: datetime  # wall clock
    policy_at: datetime  # policy clock
    minutes: tuple[Minute, ...] = ()
    answers: tuple[AnswerWindow, ...] = ()
    inputs: InputDrift | None = None
    performance: tuple[Performance, ...] = ()
    load: tuple[Load, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    position: str = ""
    nonce: str = ""

    def worse(self, champion: int | None) -> Sign | None:
        """What speaks against the champion; findings about an earlier one say nothing of it."""
        own = [each for each in self.performance if each.version == champion]
        return own[0].sign() if own and champion == self.champion else None

    def drifted(self, champion: int | None) -> tuple[Sign, ...]:
        """Drift in what the champion is asked."""
        sign = self.inputs.sign() if self.inputs and self.inputs.version == champion == self.champion else None
        return (sign,) if sign else ()

    def newest_minutes(self) -> dict[int, Minute]:
        """By version, ascending."""
        return {minute.version: minute for minute in sorted(self.minutes, key=lambda m: (m.version, m.start))}
