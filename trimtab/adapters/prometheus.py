"""
What was answered, as Seldon's executor counts it and Prometheus keeps it: also what never reached a model server.

Counters say how many requests ended between two scrapes, by predictor, status and duration; each becomes an answer of
that status and of the duration's upper bound, its time somewhere between the scrapes. The client's own metric is of no
use: where no connection came about it counts nothing.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Answer

METRIC = "seldon_api_executor_server_requests_seconds_bucket"
SETTLED_SECONDS = 5.0  # a scrape is in the store by then
LOOK_BACK_SECONDS = 300.0  # for the sample before; Prometheus forgets a series after so long
MISSED_SECONDS = 120.0  # without a sample at the window's beginning, the counter was not there yet
SCRAPE_SECONDS = 15.0  # Prometheus' usual interval
LONGEST_SECONDS = 900.0  # asked for at once
WAIT_SECONDS = 10.0
BEYOND = 60.0  # seconds of an answer beyond the largest bound

Fetch = Callable[[str], Any]  # the JSON of an address


@dataclass(frozen=True, slots=True)
class Series:
    """One counter: samples are (seconds since 1970, value), oldest first."""

    predictor: str
    code: str
    bound: float  # of the duration, seconds; infinite for all
    source: tuple[tuple[str, str], ...]  # the other labels: which pod
    samples: tuple[tuple[float, float], ...]


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
        self._url = url.rstrip("/")
        labels = {"deployment_name": deployment, "namespace": namespace, "service": "predictions"}
        self._selector = METRIC + "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"
        self._number = number
        self._fetch = fetch or _fetch
        self._wall = wall

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        """
        As `TrafficSplit.answers`; the position is a time.

        Raises:
            Unavailable: If Prometheus does not answer.
            Invalid: If it refuses the query.
        """
        newest = self._wall() - SETTLED_SECONDS
        if not position:
            return [], f"{newest:.3f}"
        begin = float(position)
        end = min(newest, begin + LONGEST_SECONDS)
        if end <= begin:
            return [], position
        since = begin - LOOK_BACK_SECONDS
        seconds = end - since
        query = urllib.parse.urlencode({"query": f"{self._selector}[{seconds:.0f}s]", "time": f"{end:.3f}"})
        found = [_from_birth(each, since) for each in _series(self._fetch(f"{self._url}/api/v1/query?{query}"))]
        return self._between(found, begin, end, limit)

    def _between(self, found: Sequence[Series], begin: float, end: float, limit: int) -> tuple[list[Answer], str]:
        answers: list[tuple[float, Answer]] = []  # with the scrape that told of it
        histograms: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Series]] = {}
        for each in found:
            histograms.setdefault((each.predictor, each.code, each.source), []).append(each)
        for (predictor, code, _), some in histograms.items():
            version = self._number(predictor)
            # A request that the model refused (4xx) is no failure of the model.
            failed = code.startswith("5")
            if version is not None and (failed or code.startswith("2")):
                answers += _of_histogram(some, version, failed, begin, end)
        answers.sort(key=lambda pair: (pair[0], pair[1].at, pair[1].version))
        if len(answers) > limit:
            # Whole scrapes only, so that the position stays a time between two of them; one at least.
            last = answers[limit][0]
            whole = [pair for pair in answers if pair[0] < last] or [p for p in answers if p[0] == answers[0][0]]
            return [answer for _, answer in whole], f"{whole[-1][0]:.3f}"
        return [answer for _, answer in answers], f"{end:.3f}"


def _of_histogram(
    some: Sequence[Series], version: int, failed: bool, begin: float, end: float
) -> Iterator[tuple[float, Answer]]:
    """
    The answers that one pod's histogram gained at each scrape after `begin`, up to `end`.

    Counts are cumulative over the bounds: what a bound gained beyond the next lower one took at most that bound.
    """
    gained: dict[float, dict[float, tuple[float, float]]] = {}  # by scrape and bound: since when, and how many
    for each in some:
        for before, at, number in increments(each.samples):
            if begin < at <= end:
                gained.setdefault(at, {})[each.bound] = (before, number)
    for at in sorted(gained):
        below = 0.0
        for bound in sorted(gained[at]):
            before, number = gained[at][bound]
            count = round(number - below)
            below = max(below, number)
            for place in range(count):
                when = before + (at - before) * (place + 1) / (count + 1)
                seconds = bound if bound != float("inf") else BEYOND
                yield at, Answer(when, version, failed, seconds)


def increments(samples: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, float]]:
    """
    What a counter gained: since when, until when, how much. After a restart it counts from 0 again.

    >>> list(increments([(10, 5), (20, 8), (30, 2)]))
    [(10, 20, 3), (20, 30, 2)]
    """
    for (before, old), (at, new) in itertools.pairwise(samples):
        yield before, at, (new - old if new >= old else new)


def _from_birth(series: Series, since: float) -> Series:
    """
    With a count of 0 before its first sample, where that is younger than the window: a counter appears with what it
    counts first, such as the first failure.
    """
    first = series.samples[0][0]
    if first < since + MISSED_SECONDS:
        return series
    return replace(series, samples=((first - SCRAPE_SECONDS, 0.0), *series.samples))


def _series(answer: Mapping[str, Any]) -> Iterator[Series]:
    for each in answer["data"]["result"]:
        labels = dict(each["metric"])
        named = {name: labels.pop(name, "") for name in ("predictor_name", "code", "le")}
        samples = tuple((float(at), float(value)) for at, value in each["values"])
        source = tuple(sorted(labels.items()))
        yield Series(named["predictor_name"], named["code"], float(named["le"].replace("+", "")), source, samples)


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
