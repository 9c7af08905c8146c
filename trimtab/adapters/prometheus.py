"""
What was answered, as Seldon's executor counts it and Prometheus keeps it: also what never reached a model server.

The client's own metric is of no use: where no connection came about it counts nothing. When a scrape shows nobody
knows: it is kept under the time it began at, and stores by remote write (Thanos, Mimir) have it later still.
So reading goes on, of each pod by itself, from the newest scrape of it that was read.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab.adapters.executor_counters import Series, gained, series
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Answer

METRIC = "seldon_api_executor_server_requests_seconds_bucket"
LATE_SECONDS = 300.0  # a scrape that shows later after its time than this is passed over
LOOK_BACK_SECONDS = 300.0  # for the sample before; Prometheus forgets a series after so long
LONGEST_SECONDS = 120.0  # asked for at once besides what may come late: bounds what Prometheus sends
WAIT_SECONDS = 10.0

Fetch = Callable[[str], Any]  # the JSON of an address
log = logging.getLogger("trimtab.prometheus")


@dataclass(frozen=True, slots=True)
class Reached:
    """
    Up to where is read, in seconds since 1970.

    Attributes:
        since: Of all.
        read: The newest scrape, of those that were read beyond that: by predictor, pod and status.
    """

    since: float
    read: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, position: str) -> Reached:
        kept = json.loads(position)
        # A version of trimtab that waited for nothing late kept a time alone.
        return cls(**kept) if isinstance(kept, dict) else cls(float(kept))

    def __str__(self) -> str:
        return json.dumps({"since": self.since, "read": self.read}, sort_keys=True)


class PrometheusAnswers:
    """
    `TrafficSplit.answers` of one SeldonDeployment.

    Args:
        url: Of Prometheus, such as http://prometheus.monitoring:9090.
        number: The version of a predictor by its name; None for somebody else's.
        fetch, wall: For tests.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        deployment: str,
        number: Callable[[str], int | None],
        fetch: Fetch | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name = f"{namespace}/{deployment}"
        self._url = url.rstrip("/")
        labels = {"deployment_name": deployment, "namespace": namespace}
        self._selector = METRIC + "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"
        self._number = number
        self._fetch = fetch or _fetch
        self._wall = wall
        self._silent = False

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        """
        As `TrafficSplit.answers`; what shows late comes late. Scrapes are read whole, so a call may give more than
        `limit`.

        Raises:
            Unavailable: If Prometheus does not answer.
            Invalid: If it refuses the query.
        """
        now = self._wall()
        if not position:
            return [], str(Reached(now))
        reached = Reached.of(position)
        end = min(now, reached.since + LATE_SECONDS + LONGEST_SECONDS)
        if end <= reached.since:
            return [], position
        seconds = end - reached.since + LOOK_BACK_SECONDS
        query = urllib.parse.urlencode({"query": f"{self._selector}[{seconds:.0f}s]", "time": f"{end:.3f}"})
        found = series(self._fetch(f"{self._url}/api/v1/query?{query}")["data"]["result"])
        if end == now:
            self._tell_of_silence(found, reached, now)
        answers, after = self._new(found, reached, end, limit)
        return sorted(answers, key=lambda answer: (answer.at, answer.version)), str(after)

    def knows(self) -> bool:
        """
        Whether it has scraped the SeldonDeployment's pods within five minutes.

        Raises:
            Unavailable, Invalid: As `answers`.
        """
        query = urllib.parse.urlencode({"query": f"count({self._selector})", "time": f"{self._wall():.3f}"})
        return bool(self._fetch(f"{self._url}/api/v1/query?{query}")["data"]["result"])

    def _new(self, found: Sequence[Series], reached: Reached, end: float, limit: int) -> tuple[list[Answer], Reached]:
        answers: list[Answer] = []
        read = dict(reached.read)
        for each in sorted(gained(found), key=lambda each: each.at):
            version = self._number(each.predictor)
            # A request that the model refused (4xx) is no failure of the model.
            if version is None or each.code[:1] not in ("2", "5"):
                continue
            name = f"{each.predictor} {each.pod} {each.code}"
            if each.at <= read.get(name, reached.since):
                continue
            if len(answers) >= limit:
                return answers, Reached(reached.since, read)
            answers += each.answers(version)
            read[name] = each.at
        since = max(reached.since, end - LATE_SECONDS)
        return answers, Reached(since, {name: at for name, at in read.items() if at > since})

    def _tell_of_silence(self, found: Sequence[Series], reached: Reached, now: float) -> None:
        """Once, until there is something again: a rollout that nothing is counted for stands still."""
        since = now - LATE_SECONDS
        silent = reached.since < since and all(each.samples[-1][0] <= since for each in found)
        if silent and not self._silent:
            log.warning(
                "%s: Prometheus shows no scrape of its predictors' requests within %.0f s: none is counted. If there "
                "are some, look at the targets of Prometheus, and at how far its store lags behind",
                self._name,
                LATE_SECONDS,
            )
        self._silent = silent


def _fetch(address: str) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=WAIT_SECONDS) as answer:  # noqa: S310  (an operator's setting)
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace")
        if error.code in (400, 422):
            raise Invalid(f"Prometheus refuses the query: {said}", "check TRIMTAB_PROMETHEUS_URL") from error
        raise Unavailable(f"Prometheus answers {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"Prometheus does not answer: {error}", "check TRIMTAB_PROMETHEUS_URL") from error
