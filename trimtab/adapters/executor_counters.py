"""
What the counters of Seldon's executor gained from scrape to scrape.

Counters say how many requests ended between two scrapes, by predictor, status and duration; each becomes an answer of
that status and of the duration's upper bound, its time somewhere between the scrapes. So a request counts as slow when
the bound of its bucket is beyond the limit: a little early, for champion and challenger alike.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trimtab.core.ports import Answer

SCRAPES_APART = 120.0  # seconds between two scrapes at most, else some were missed
BEYOND = 60.0  # seconds of an answer beyond the largest bound

POD_LABELS = ("pod", "kubernetes_pod_name", "pod_name", "instance")  # whichever the scraping job gives first
OF_THE_EXECUTOR = ("__name__", "deployment_name", "predictor_version", "method")  # of no use here

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

    @property
    def pod(self) -> str:
        labels = dict(self.target)
        return next((labels[name] for name in POD_LABELS if labels.get(name)), "")


@dataclass(frozen=True, slots=True)
class Gained:
    """What one pod counted of its predictions of one status, by bound, at two scrapes after one another."""

    predictor: str
    code: str
    pod: str
    target: Labels
    before: float  # seconds since 1970
    at: float
    old: Mapping[float, float]
    new: Mapping[float, float]

    def answers(self, version: int) -> Iterator[Answer]:
        """Counts are cumulative over the bounds: what a bound gained beyond the next lower one took at most that."""
        failed, teller = self.code.startswith("5"), json.dumps(self.target)
        below = 0
        for bound, gained in gains(self.old, self.new).items():
            for place in range(gained - below):
                when = self.before + (self.at - self.before) * (place + 1) / (gained - below + 1)
                seconds = bound if bound != float("inf") else BEYOND
                yield Answer(when, version, failed, seconds, within=(self.before, self.at), teller=teller)
            below = max(below, gained)


def series(result: Sequence[Mapping[str, Any]]) -> list[Series]:
    """The counters of a range vector, as Prometheus' API gives it; each pod's by one job only."""
    return _scraped_once([_one_series(each) for each in result])


def gained(found: Sequence[Series]) -> Iterator[Gained]:
    """
    What predictions gained at each scrape, of each pod and status from old to new.

    Of a scrape that is there in part nothing is read, since a store by remote write gets each counter by itself. It
    is known by the bounds, which are the same for all histograms of a pod.
    """
    bounds: dict[tuple[str, Labels], set[float]] = {}
    histograms: dict[tuple[str, str, Labels], list[Series]] = {}
    for each in _from_births(found):
        bounds.setdefault((each.predictor, each.target), set()).add(each.bound)
        if each.service == "predictions":
            histograms.setdefault((each.predictor, each.code, each.target), []).append(each)
    for (predictor, code, target), some in histograms.items():
        scrapes: dict[float, dict[float, float]] = {}
        for each in some:
            for at, value in each.samples:
                scrapes.setdefault(at, {})[each.bound] = value
        whole = sorted((at, counts) for at, counts in scrapes.items() if len(counts) == len(bounds[predictor, target]))
        for (before, old), (at, new) in itertools.pairwise(whole):
            yield Gained(predictor, code, some[0].pod, target, before, at, old, new)


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


def _one_series(each: Mapping[str, Any]) -> Series:
    labels = {name: value for name, value in each["metric"].items() if name not in OF_THE_EXECUTOR}
    # A job that discovers Services has a label of this name itself, and gives the executor's another.
    service = labels.pop("exported_service", None) or labels.pop("service", "")
    return Series(
        predictor=labels.pop("predictor_name", ""),
        service=service,
        code=labels.pop("code", ""),
        bound=float(labels.pop("le", "nan")),
        target=tuple(sorted(labels.items())),
        samples=tuple((float(at), float(value)) for at, value in each["values"]),
    )


def _scraped_once(found: Sequence[Series]) -> list[Series]:
    """Without what a second job tells of the same pods: each request would count twice."""
    jobs: dict[tuple[str, str], Labels] = {}
    for each in found:
        pod = (each.predictor, each.pod)
        jobs[pod] = min(jobs.get(pod, each.target), each.target)
    return [each for each in found if each.target == jobs[each.predictor, each.pod]]


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
