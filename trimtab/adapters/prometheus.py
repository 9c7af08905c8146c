"""
What was answered, as Seldon's executor counts it and Prometheus keeps it: also what never reached a model server.

Counters say how many requests ended between two scrapes, by predictor, status and duration; each becomes an answer of
that status and of the duration's upper bound, its time somewhere between the scrapes. So a request counts as slow when
the bound of its bucket is beyond the limit: a little early, for champion and challenger alike. The client's own metric
is of no use: where no connection came about it counts nothing.
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
SCRAPES_APART = 120.0  # seconds between two scrapes at most, else some were missed
LONGEST_SECONDS = 120.0  # asked for at once: bounds memory, as each request becomes an object
WAIT_SECONDS = 10.0
BEYOND = 60.0  # seconds of an answer beyond the largest bound

POD_LABELS = ("pod", "kubernetes_pod_name", "pod_name", "instance")  # whichever the scraping job gives first
OF_THE_EXECUTOR = ("__name__", "deployment_name", "predictor_version", "method")  # of no use here

Fetch = Callable[[str], Any]  # the JSON of an address
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One counter: samples are (seconds since 1970, value), oldest first."""

    predictor: str
    service: str  # such as predictions, feedback or status
    code: str
    bound: float  # of the duration, seconds; infinite for all
    target: Labels  # the other labels: which pod, and which job scrapes it
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
        labels = {"deployment_name": deployment, "namespace": namespace}
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
        found = list(_series(self._fetch(f"{self._url}/api/v1/query?{query}")))
        return self._between(_from_births(_scraped_once(found)), begin, end, limit)

    def knows(self) -> bool:
        """
        Whether it has scraped the SeldonDeployment's pods within five minutes.

        Raises:
            Unavailable, Invalid: As `answers`.
        """
        query = urllib.parse.urlencode({"query": f"count({self._selector})", "time": f"{self._wall():.3f}"})
        return bool(self._fetch(f"{self._url}/api/v1/query?{query}")["data"]["result"])

    def _between(self, found: Sequence[Series], begin: float, end: float, limit: int) -> tuple[list[Answer], str]:
        answers: list[tuple[float, Answer]] = []  # with the scrape that told of it
        histograms: dict[tuple[str, str, Labels], list[Series]] = {}
        for each in found:
            if each.service == "predictions":
                histograms.setdefault((each.predictor, each.code, each.target), []).append(each)
        for (predictor, code, target), some in histograms.items():
            version = self._number(predictor)
            # A request that the model refused (4xx) is no failure of the model.
            failed = code.startswith("5")
            if version is not None and (failed or code.startswith("2")):
                teller = json.dumps(target)
                answers += _of_histogram(some, version, failed, teller, begin, end)
        answers.sort(key=lambda pair: (pair[0], pair[1].at, pair[1].version))
        if len(answers) > limit:
            # Whole scrapes only, so that the position stays a time between two of them; one at least.
            last = answers[limit][0]
            whole = [pair for pair in answers if pair[0] < last] or [p for p in answers if p[0] == answers[0][0]]
            return [answer for _, answer in whole], repr(whole[-1][0])
        return [answer for _, answer in answers], f"{end:.3f}"


def _of_histogram(
    some: Sequence[Series], version: int, failed: bool, teller: str, begin: float, end: float
) -> Iterator[tuple[float, Answer]]:
    """
    The answers that one pod's histogram gained at each scrape after `begin`, up to `end`.

    Counts are cumulative over the bounds: what a bound gained beyond the next lower one took at most that bound.
    """
    scrapes: dict[float, dict[float, float]] = {}
    for each in some:
        for at, value in each.samples:
            scrapes.setdefault(at, {})[each.bound] = value
    for (before, old), (at, new) in itertools.pairwise(sorted(scrapes.items())):
        if not begin < at <= end:
            continue
        below = 0
        for bound, gained in gains(old, new).items():
            for place in range(gained - below):
                when = before + (at - before) * (place + 1) / (gained - below + 1)
                seconds = bound if bound != float("inf") else BEYOND
                yield at, Answer(when, version, failed, seconds, within=(before, at), teller=teller)
            below = max(below, gained)


def gains(old: Mapping[float, float], new: Mapping[float, float]) -> dict[float, int]:
    """
    What each bound's count gained; after a restart of the pod all count from 0 again.

    >>> gains({0.1: 5, 1.0: 9}, {0.1: 7, 1.0: 12})
    {0.1: 2, 1.0: 3}
    >>> gains({0.1: 5, 1.0: 9}, {0.1: 6, 1.0: 7})
    {0.1: 6, 1.0: 7}
    """
    restarted = any(new[bound] < old.get(bound, 0.0) for bound in new)
    return {bound: round(new[bound] - (0.0 if restarted else old.get(bound, 0.0))) for bound in sorted(new)}


def _scraped_once(found: Sequence[Series]) -> list[Series]:
    """Without what a second job tells of the same pods: each request would count twice."""
    jobs: dict[tuple[str, str], Labels] = {}
    for each in found:
        pod = (each.predictor, _pod(each))
        jobs[pod] = min(jobs.get(pod, each.target), each.target)
    return [each for each in found if each.target == jobs[each.predictor, _pod(each)]]


def _pod(series: Series) -> str:
    labels = dict(series.target)
    return next((labels[name] for name in POD_LABELS if labels.get(name)), "")


def _from_births(found: Sequence[Series]) -> list[Series]:
    """
    With a count of 0 at the pod's scrape before a series' first sample.

    A counter appears with what it counts first, such as the first failure. Where the pod was not scraped just before,
    nobody knows when it counted: all of it is left out, which costs a new pod the requests until its first scrape.
    """
    scrapes: dict[tuple[str, Labels], set[float]] = {}
    for each in found:
        scrapes.setdefault((each.predictor, each.target), set()).update(at for at, _ in each.samples)
    counted = []
    for each in found:
        first = each.samples[0][0]
        before = max((at for at in scrapes[each.predictor, each.target] if at < first), default=float("-inf"))
        known = first - before <= SCRAPES_APART
        counted.append(replace(each, samples=((before, 0.0), *each.samples)) if known else each)
    return counted


def _series(answer: Mapping[str, Any]) -> Iterator[Series]:
    for each in answer["data"]["result"]:
        labels = {name: value for name, value in each["metric"].items() if name not in OF_THE_EXECUTOR}
        # A job that discovers Services has a label of this name itself, and gives the executor's another.
        service = labels.pop("exported_service", None) or labels.pop("service", "")
        yield Series(
            predictor=labels.pop("predictor_name", ""),
            service=service,
            code=labels.pop("code", ""),
            bound=float(labels.pop("le", "nan")),
            target=tuple(sorted(labels.items())),
            samples=tuple((float(at), float(value)) for at, value in each["values"]),
        )


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
