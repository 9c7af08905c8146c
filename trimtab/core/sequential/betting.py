"""
Is a bounded difference larger than a margin? Betting against it, pair by pair.

Null: at every time the expected difference, given everything before, is at most the margin. A bettor who stakes the
fraction b of what can be lost multiplies the wealth by 1 + b (d - margin) / (1 + margin), whose expectation is then at
most 1. What the two share over time (hard hours, drift) is in both losses and so not in the difference.
Instead of one stake that is learned, many are held side by side and averaged: the best of them soon carries the mean.

Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024; the average over
stakes: Orabona & Jun, "Tight concentrations and confidence sequences from the regret of universal portfolio", 2024.
"""

from __future__ import annotations

import numpy as np

from trimtab.core.records import Record
from trimtab.core.sequential import mixing
from trimtab.core.sequential.mixing import Floats

STAKES = np.array([0.05, 0.2, 0.55, 0.97])  # of what a single pair can cost
WEIGHTS = np.array([0.1, 0.2, 0.4, 0.3])  # large stakes find what is urgent, small ones what is slight
LEAST_SPAN = 0.01  # of what a pair can cost: where the margin leaves next to nothing to lose, the stake stays finite
CHUNK = 50_000  # observations at a time: bounds memory


class Bets(Record):
    """
    An e-process against "the mean difference is at most `margin`"; JSON of some 200 bytes, however long it runs.

    `anew` is the share of the wealth that begins to bet later (`mixing`).
    """

    margin: float
    anew: float = 0.0
    log_wealth: tuple[float, ...] = (0.0,) * len(STAKES)  # by stake
    peak: float = 0.0  # highest log e-value so far, at least that of the start
    pairs: int = 0
    total: float = 0.0  # of the differences

    @property
    def log_e(self) -> float:
        """Natural log of the e-value now."""
        return float(mixing.log_e(np.array(self.log_wealth), WEIGHTS, self.anew, self.pairs))


def update(bets: Bets, differences: Floats) -> Bets:
    """
    The e-process after these differences, each in [-1, 1], in order.

    `update(update(bets, a), b)` equals `update(bets, a + b)`.

    Raises:
        ValueError: If a difference is no number in [-1, 1].

    >>> proven = update(Bets(margin=0.02), np.ones(20))
    >>> proven.log_e > 3
    True
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size and not (np.abs(differences) <= 1).all():
        raise ValueError("a difference of losses lies in [-1, 1]")
    span = max(1 + bets.margin, LEAST_SPAN)
    logs, peak, total = np.array(bets.log_wealth), bets.peak, bets.total
    for start in range(0, len(differences), CHUNK):
        part = differences[start : start + CHUNK]
        steps = np.log1p(((part - bets.margin) / span)[:, None] * STAKES)
        logs, path = mixing.grown(logs, steps, WEIGHTS, bets.anew, bets.pairs + start)
        peak = max(peak, float(path.max()))
        total = float(np.cumsum(np.concatenate([[total], part]))[-1])
    return Bets(
        margin=bets.margin,
        anew=bets.anew,
        log_wealth=tuple(logs.tolist()),
        peak=peak,
        pairs=bets.pairs + len(differences),
        total=total,
    )
