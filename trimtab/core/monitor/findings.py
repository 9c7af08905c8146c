"""Everything the monitor found, as one small value: what `decide`, `status` and `/metrics` read."""

from __future__ import annotations

from datetime import UTC, datetime

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


def told(found: Findings) -> tuple[str, ...]:
    """What `trimtab status` shows of it, a line each; anomalies stand by themselves."""
    lines = []
    for version, minute in found.newest_minutes().items():
        when = datetime.fromtimestamp(minute.start, UTC)
        lines.append(
            f"v{version} at {when:%H:%M}: {minute.per_second:.3g} requests/s, {minute.availability:.2%} answered, "
            f"median {minute.p50:.3g} ms, p99 {minute.p99:.3g} ms"
        )
    for load in found.load:
        lines.append(f"v{load.version} uses {load.cores:.2g} cores and {load.memory_bytes / 1e6:.0f} MB")
    for each in found.performance:
        share = f"; {each.missing_share:.0%} of its answers have no mature label" if each.missing_share else ""
        lines.append(f"{each.reason}{share}")
    if found.inputs is not None:
        lines.append(f"requests: {found.inputs.alarm or found.inputs.reason}")
    return tuple(lines)
