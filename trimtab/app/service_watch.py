"""How requests are answered, minute by minute: from the gateway's own log, or from the model servers' without one."""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

from trimtab.core.monitor.bands import Anomaly
from trimtab.core.monitor.service import KEPT, WINDOW_SECONDS, Minute, Reply, anomalies, minutes
from trimtab.core.ports import TrafficSplit

GRACE_SECONDS = 5.0  # after a minute's end its last answers may still be on their way into the log
LIMIT = 10_000


class ServiceWatch:
    """
    Minutes of every version. Belongs to one thread.

    What the gateway says is what users saw, failures that another variant answered included. A restart loses the
    minute that it falls into, no other.

    Attributes:
        position: In the gateway's log.
        minutes: The newest of each version, oldest first.
    """

    def __init__(self, most_p99: float | None, position: str = "", past: Sequence[Minute] = ()) -> None:
        self.position = position
        self.minutes: tuple[Minute, ...] = tuple(past)
        self._most_p99 = most_p99
        self._open: list[Reply] = []
        self._seen_row = -1
        self._seen_failures = 0

    def ask_gateway(self, traffic: TrafficSplit) -> None:
        """Read what the gateway answered since. Raises Unavailable."""
        while True:
            answers, self.position = traffic.answers(self.position, LIMIT)
            self._open += [Reply(each.at, each.version, each.failed, each.seconds) for each in answers]
            if len(answers) < LIMIT:
                return

    def read_log(self, table: pl.DataFrame, failures: pl.DataFrame) -> None:
        """
        Take in what the model servers logged since; copies whose answers nobody sees are passed over.

        Args:
            table: As `adapters.joined` gives it.
            failures: Requests on which a model raised.
        """
        new = table.filter(pl.col("number") > self._seen_row)
        if new.height:
            self._seen_row = int(new["number"].max())  # type: ignore[arg-type]
        requests = new.filter(~pl.col("shadow")).unique(["request_id", "version"], maintain_order=True)
        seconds = pl.col("at").dt.epoch("us") / 1e6
        self._open += [
            Reply(at, version, False, spent)
            for at, version, spent in requests.select(seconds, "version", "seconds").iter_rows()
        ]
        failed = failures.slice(self._seen_failures).filter(~pl.col("shadow"))
        self._seen_failures = failures.height
        self._open += [Reply(at, version, True, 0.0) for at, version in failed.select(seconds, "version").iter_rows()]

    def close_minutes(self, now: float | None = None) -> None:
        """Count the minutes that are over; `now` in wall seconds since 1970."""
        moment = time.time() if now is None else now
        end = (moment - GRACE_SECONDS) // WINDOW_SECONDS * WINDOW_SECONDS
        over = [reply for reply in self._open if reply.at < end]
        if not over:
            return
        self._open = [reply for reply in self._open if reply.at >= end]
        self.minutes = _newest((*self.minutes, *minutes(over)))

    def anomalies(self) -> list[Anomaly]:
        """Of the newest minute of each version that answered in the last one that anybody answered in."""
        if not self.minutes:
            return []
        last = max(minute.start for minute in self.minutes)
        return [
            anomaly
            for newest in self.minutes
            if newest.start == last
            for anomaly in anomalies(
                [each for each in self.minutes if each.version == newest.version and each.start < last],
                newest,
                self._most_p99,
            )
        ]


def _newest(known: Sequence[Minute]) -> tuple[Minute, ...]:
    """The newest minutes of each version; of versions that answer no more, none once they are as old."""
    ordered = sorted(known, key=lambda minute: (minute.start, minute.version))
    oldest = ordered[-1].start - KEPT * WINDOW_SECONDS
    return tuple(minute for minute in ordered if minute.start > oldest)
