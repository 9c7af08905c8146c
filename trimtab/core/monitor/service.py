"""How requests are answered, a minute at a time: availability, latency, requests a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trimtab.core.monitor.bands import Anomaly, judge
from trimtab.core.records import Record

WINDOW_SECONDS = 60
KEPT = 60  # past minutes a version, from which its band is learned
LEAST_REQUESTS = 20  # of a minute: one failure of three requests is no availability of 67 %
LEAST_AVAILABILITY = 0.99
LEAST_SPREAD = 1.0  # millisecond


@dataclass(frozen=True, slots=True)
class Reply:
    """One request, however it ended; `at` in wall seconds since 1970."""

    at: float
    version: int
    failed: bool
    seconds: float


class Minute(Record):
    """What a version answered in one minute; latencies in milliseconds, of all that was answered."""

    version: int
    start: int  # wall seconds since 1970, a whole multiple of the window
    requests: int
    failures: int
    p50: float
    p95: float
    p99: float

    @property
    def availability(self) -> float:
        return 1 - self.failures / self.requests

    @property
    def per_second(self) -> float:
        return self.requests / WINDOW_SECONDS


def minutes(replies: Iterable[Reply]) -> list[Minute]:
    """
    Replies by version and minute, in order.

    >>> minutes([Reply(61.0, 7, False, 0.010), Reply(62.0, 7, True, 0.030)])[0].availability
    0.5
    """
    groups: dict[tuple[int, int], list[Reply]] = {}
    for reply in replies:
        groups.setdefault((int(reply.at // WINDOW_SECONDS) * WINDOW_SECONDS, reply.version), []).append(reply)
    return [_minute(version, start, group) for (start, version), group in sorted(groups.items())]


def _minute(version: int, start: int, replies: Sequence[Reply]) -> Minute:
    p50, p95, p99 = np.quantile([1000 * reply.seconds for reply in replies], [0.5, 0.95, 0.99]).round(3).tolist()
    failures = sum(reply.failed for reply in replies)
    return Minute(version=version, start=start, requests=len(replies), failures=failures, p50=p50, p95=p95, p99=p99)


def anomalies(past: Sequence[Minute], newest: Minute, most_p99: float | None) -> list[Anomaly]:
    """
    What is wrong with a minute.

    Args:
        past: Of the same version, before it.
        newest: The minute.
        most_p99: `evaluation.maxLatencyP99Milliseconds`.
    """
    if newest.requests < LEAST_REQUESTS:
        return []
    before = [minute for minute in past if minute.requests >= LEAST_REQUESTS]
    version = newest.version
    found = [
        judge(version, "availability", newest.availability, at_least=LEAST_AVAILABILITY),
        judge(
            version, "p99 latency in ms", newest.p99, [minute.p99 for minute in before], LEAST_SPREAD, at_most=most_p99
        ),
        judge(version, "median latency in ms", newest.p50, [minute.p50 for minute in before], LEAST_SPREAD),
    ]
    return [anomaly for anomaly in found if anomaly is not None]
