"""Which split of the traffic a request came under: the chance with which the challenger was to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.core.rollout.values import WeightEpoch
from trimtab.core.sequential.mixing import Floats

SETTLING_SECONDS = 2.0  # after the router's word its workers may still route by the split before


@dataclass(frozen=True)
class Placed:
    """By request: the index of its epoch (-1: none that counts), and that epoch's share of the challenger."""

    epoch: NDArray[np.intp]
    share: Floats

    @property
    def counts(self) -> NDArray[np.bool_]:
        return self.epoch >= 0


def place(at: Floats, epochs: Sequence[WeightEpoch]) -> Placed:
    """
    Args:
        at: When each request came, wall seconds since 1970.
        epochs: Of the rollout, in order; requests from the moment a change is asked for until two seconds after the
            router confirmed it belong to none, because either split may have routed them.
    """
    begins = np.full(len(epochs), np.inf)
    ends = np.full(len(epochs), np.inf)
    for index, epoch in enumerate(epochs):
        if epoch.confirmed_from is not None:
            begins[index] = epoch.confirmed_from.timestamp()
        if epoch.confirmed_to is not None:
            ends[index] = epoch.confirmed_to.timestamp()
        if index:
            ends[index - 1] = min(ends[index - 1], epoch.asked_at.timestamp())
    confirmed = np.flatnonzero(np.isfinite(begins))
    if not len(confirmed):
        return Placed(np.full(len(at), -1), np.zeros(len(at)))
    last = np.searchsorted(begins[confirmed], at, side="right") - 1
    current = confirmed[np.maximum(last, 0)]
    inside = (last >= 0) & (at >= begins[current] + SETTLING_SECONDS) & (at < ends[current])
    shares = np.array([epoch.weight_percent / 100 for epoch in epochs])
    return Placed(np.where(inside, current, -1), np.where(inside, shares[current], 0.0))
