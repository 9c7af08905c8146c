"""What to expect of a rollout before it begins: by step, how many requests it asks for and what they can find out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np

from trimtab.core.rollout.levels import needed, parts
from trimtab.core.sequential.alternatives import nearest
from trimtab.core.spec.rollout import Rollout

LEARNING = 1.2  # requests that not knowing the rates costs, as a factor (benchmarks/sequential_tests.py)
FAILING = (0.02, 0.10)  # the harm that the plan speaks of: a champion that fails 2 %, a challenger that fails 10 %
DISAGREEMENT = 0.1  # share of rows on which two good models' 0/1 losses differ; of numbers the loss differs less


@dataclass(frozen=True, slots=True)
class Expected:
    """
    One step, or what comes after the last.

    Attributes:
        step: Index into the policy's steps; None for the proof after them.
        what: In words.
        requests: All requests, of both variants, until the gate is met (for the proof: labelled rows).
        seconds: Until then; None when that depends on traffic that is not known, or on people.
        finds: Requests at this share until FAILING is found, in the median; None where nothing is compared.
    """

    step: int | None
    what: str
    requests: int
    seconds: float | None
    finds: int | None = None

    def __str__(self) -> str:
        """For example: `5 % of the traffic: 8,000 requests; 10 % errors against 2 % found after about 1,900`."""
        text = self.what
        if self.requests:
            text += f": {self.requests:,} requests"
        if self.finds is not None:
            champion, challenger = (f"{100 * rate:g} %" for rate in FAILING)
            text += f"; {challenger} errors against {champion} found after about {self.finds:,}"
        return text


def expected(
    policy: Rollout, requests_per_second: float | None = None, *, judges_latency: bool = False
) -> list[Expected]:
    """
    Args:
        policy: The rollout section.
        requests_per_second: All traffic of the model; None where it is not known.
        judges_latency: Whether `evaluation.maxLatencyP99Milliseconds` is set, so that latency takes a part of alpha.
    """
    alpha = parts(policy, judges_latency)
    margin = policy.analysis.max_error_ratio_increase
    found: list[Expected] = []
    for index, step in enumerate(policy.steps):
        if step.pause is not None:
            found.append(Expected(index, "waits for approval", 0, None))
        elif step.shadow is not None:
            requests = step.shadow.min_requests or policy.min_requests
            finds = _pairs_to_find(alpha["mirrored"], margin)
            seconds = requests / requests_per_second if requests_per_second else None
            found.append(Expected(index, "a copy of the traffic", requests, seconds, finds))
        else:
            weight = step.set_weight or 0
            requests = ceil((step.min_requests or policy.min_requests) * 100 / weight)
            least = step.min_duration.total_seconds() if step.min_duration else 0.0
            seconds = max(least, requests / requests_per_second) if requests_per_second else None
            finds = requests_to_find(weight / 100, margin, alpha["errors"])
            found.append(Expected(index, f"{weight} % of the traffic", requests, seconds, finds))
    rows = _rows_to_promote(policy)
    seconds = rows / requests_per_second if requests_per_second else None
    found.append(Expected(None, "labelled rows that show it harmless, where labels come", rows, seconds))
    return found


def requests_to_find(share: float, margin: float, alpha: float, rates: tuple[float, float] = FAILING) -> int | None:
    """
    About how many requests of both variants until a challenger with the higher of the two error ratios is rolled back.

    The log e-value that proves, over what one request adds in the mean to the best test of the same null, and a factor
    for not knowing the rates. None where that harm is within the margin.

    >>> 200 < requests_to_find(0.5, 0.01, 0.05) < 330
    True
    """
    champion, challenger = rates
    if challenger <= champion + margin:
        return None
    p = float(nearest(np.array([champion]), np.array([challenger]), share, margin)[0])
    growth = (1 - share) * _kl(champion, p - margin) + share * _kl(challenger, p)
    return ceil(LEARNING * needed(alpha) / growth)


def _pairs_to_find(alpha: float, margin: float) -> int | None:
    champion, challenger = FAILING
    worse, better = challenger * (1 - champion), champion * (1 - challenger)
    return _pairs(worse, better, margin, alpha)


def _rows_to_promote(policy: Rollout) -> int:
    """Pairs until an equal challenger's loss is shown to be within the margin; 0 where no margin is left."""
    margin = policy.analysis.max_loss_increase
    return _pairs(DISAGREEMENT / 2, DISAGREEMENT / 2, -margin, policy.analysis.alpha) or 0


def _pairs(up: float, down: float, margin: float, alpha: float) -> int | None:
    """Pairs until a difference that is 1 with chance `up` and -1 with chance `down` is shown to exceed the margin."""
    stakes = np.linspace(0.001, 0.95, 200) / (1 + margin)
    growth = (
        up * np.log1p(stakes * (1 - margin))
        + down * np.log1p(-stakes * (1 + margin))
        + (1 - up - down) * np.log1p(-stakes * margin)
    ).max()
    return ceil(LEARNING * needed(alpha) / growth) if growth > 0 else None


def _kl(q: float, p: float) -> float:
    return q * log(q / p) + (1 - q) * log((1 - q) / (1 - p))
