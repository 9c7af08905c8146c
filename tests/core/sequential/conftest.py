"""Simulated rollouts, many at once: the highest log e-value of each, looked at after every unit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trimtab.core.sequential import betting
from trimtab.core.sequential.alternatives import SIZE, WEIGHTS
from trimtab.core.sequential.mixing import ANEW, grown
from trimtab.core.sequential.two_streams import log_steps

Floats = NDArray[np.float64]
AT_ONCE = 40  # repetitions: arrays that stay in the allocator's reach


def two_streams(challenger: NDArray[np.bool_], values: Floats, shares: Floats, margin: float) -> Floats:
    """Log e-value after each unit; arguments of shape (repetitions, units)."""
    found = np.empty(challenger.shape)
    for start in range(0, len(challenger), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        arms = challenger[part]
        steps = log_steps(arms.ravel(), values[part].ravel(), shares[part].ravel(), margin)
        begin = np.zeros((len(arms), SIZE))
        found[part] = grown(begin, steps.reshape(*arms.shape, SIZE), WEIGHTS, ANEW, 0)[1]
    return found


def pairs(differences: Floats, margin: float) -> Floats:
    """Log e-value after each pair; differences of shape (repetitions, pairs)."""
    found = np.empty(differences.shape)
    for start in range(0, len(differences), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        relative = (differences[part] - margin) / max(1 + margin, betting.LEAST_SPAN)
        steps = np.log1p(relative[..., None] * betting.STAKES)
        begin = np.zeros((len(relative), len(betting.STAKES)))
        found[part] = grown(begin, steps, betting.WEIGHTS, ANEW, 0)[1]
    return found


@pytest.fixture(scope="session")
def two_streams_paths() -> Callable[..., Floats]:
    return two_streams


@pytest.fixture(scope="session")
def paired_paths() -> Callable[..., Floats]:
    return pairs
