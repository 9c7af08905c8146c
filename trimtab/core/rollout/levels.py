"""
How alpha is split: the one place.

A rollout looks at up to four e-processes. Each has a share of alpha of its own and rolls back when it reaches
1/(its share), so that together they roll back a harmless challenger with a chance of at most alpha, whenever one looks
and however they hang together (Ville, and the sum of the shares). Only what this rollout can measure takes a share:
without `evaluation.maxLatencyP99Milliseconds` latency takes none, without shadow steps mirrored requests take none.

Errors on live traffic get the largest share, because only the challenger's part of the traffic tells of them. Loss is
tested on pairs over all the traffic and mirrored requests are pairs too: both find harm soon, at a smaller share.

Promotion is another null (that the challenger is worse by the margin or more), with the whole of alpha of its own.
"""

from __future__ import annotations

from math import log
from typing import Literal

from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec.rollout import Rollout

Test = Literal["errors", "mirrored", "latency", "loss"]
PARTS: dict[Test, int] = {"errors": 6, "mirrored": 1, "latency": 2, "loss": 2}


def alphas(spec: RolloutSpec) -> dict[Test, float]:
    """The level of each test that this rollout makes; they sum to the policy's alpha."""
    return parts(spec.policy, spec.max_latency_milliseconds is not None)


def parts(policy: Rollout, judges_latency: bool) -> dict[Test, float]:
    """
    The same, of a policy that no rollout follows yet.

    >>> {test: round(level, 4) for test, level in parts(Rollout(strategy="canary"), True).items()}
    {'errors': 0.03, 'latency': 0.01, 'loss': 0.01}
    """
    live = policy.strategy != "shadow"
    judged: dict[Test, bool] = {
        "errors": live,
        "mirrored": any(step.shadow is not None for step in policy.steps),
        "latency": live and judges_latency,
        "loss": True,
    }
    taken = {test: part for test, part in PARTS.items() if judged[test]}
    return {test: policy.analysis.alpha * part / sum(taken.values()) for test, part in taken.items()}


def needed(alpha: float) -> float:
    """
    Natural log of the e-value that proves at this level.

    >>> round(needed(0.05), 3)
    2.996
    """
    return log(1 / alpha)
