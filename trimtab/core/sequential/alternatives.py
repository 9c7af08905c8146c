"""The grid of alternatives that the two-stream test bets on, and the point of the null that is nearest to each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from trimtab.core.sequential.mixing import Floats

CHAMPION_RATES = (0.002, 0.015, 0.06, 0.3)
EXCESSES = (0.025, 0.08, 0.25, 0.8)  # of the challenger: share of what lies between the null's edge and 1
# Services mostly fail rarely, and harm is mostly moderate; elsewhere it costs a factor of at most 3 in the e-value.
PRIOR = np.outer([1, 3, 2, 1], [1, 3, 1.5, 1]).ravel()
SIZE = len(PRIOR)
WEIGHTS = PRIOR / PRIOR.sum()
LARGEST_MARGIN = 0.99
EDGE = 1e-9  # rates stay so far from 0 and 1
LARGEST_LOSS = 0.999  # of the wealth, by a single unit: a bet that can lose all of it never recovers


@lru_cache(maxsize=256)
def bets(share: float, margin: float) -> tuple[Floats, Floats]:
    """
    Centre and stake of each alternative's bet under this share of the challenger, each of shape (alternatives,).

    Any centre and any stake that leaves the wealth positive give a valid test; these are the growth-rate-optimal ones.
    A share of 0 or 1 is no comparison, and a margin next to 1 leaves no harm to find: the stakes are 0.

    >>> centre, stake = bets(0.5, 0.0)
    >>> bool((stake > 0).all() and (stake * centre < 1).all())
    True
    """
    if not 0 < share < 1 or abs(margin) > LARGEST_MARGIN:
        return np.full(SIZE, 0.5), np.zeros(SIZE)
    champion = np.repeat(CHAMPION_RATES, len(EXCESSES)) * (1 - max(margin, 0.0))
    lower = np.maximum(champion + margin, 0.0)
    challenger = lower + (1 - lower) * np.tile(EXCESSES, len(CHAMPION_RATES))
    centre = nearest(champion, challenger, share, margin)
    stake = (challenger - centre) / (centre * (1 - centre))
    odds = share / (1 - share)
    most = LARGEST_LOSS / np.maximum(centre, odds * (1 - centre + margin))
    return centre, np.minimum(stake, most)


def nearest(champion: Floats, challenger: Floats, share: float, margin: float) -> Floats:
    """
    The challenger's rate at the null's point that is nearest to each alternative: its reverse information projection.

    It lies on the edge p_b = p_a + margin and minimises (1 - share) kl(q_a, p_a) + share kl(q_b, p_b), whose slope in
    p rises, so that halving the interval finds it.
    """
    low = np.full(len(champion), max(margin, 0.0) + EDGE)
    high = np.full(len(champion), min(1.0, 1.0 + margin) - EDGE)
    for _ in range(60):
        b = (low + high) / 2
        a = b - margin
        slope = (1 - share) * (a - champion) / (a * (1 - a)) + share * (b - challenger) / (b * (1 - b))
        low, high = np.where(slope < 0, b, low), np.where(slope < 0, high, b)
    middle: Floats = (low + high) / 2
    return middle
