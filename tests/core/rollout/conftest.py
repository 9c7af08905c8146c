"""A rollout's spec, the splits of its traffic, and answers as a router logs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from trimtab.core.ports import Answer
from trimtab.core.rollout.values import RolloutSpec, WeightEpoch

START = datetime(2024, 5, 1, tzinfo=UTC)
CHAMPION, CHALLENGER = 6, 7


def a_spec(
    *, latency: float | None = None, depend: bool = False, strategy: str = "canary", **rollout: Any
) -> RolloutSpec:
    section = {"strategy": strategy, "steps": [{"setWeight": 10}, {"setWeight": 50}], **rollout}
    return RolloutSpec(
        number=3,
        name="flights-v7",
        model="flights",
        version=CHALLENGER,
        champion=CHAMPION,
        rollout=section,
        max_latency_milliseconds=latency,
        depend_on_prediction=depend,
        recorded_at=START,
    )


def some_epochs(*weights: int, every: float = 1000.0) -> tuple[WeightEpoch, ...]:
    """One split after the other, each confirmed a second after it was asked for."""
    found = []
    for index, weight in enumerate(weights):
        asked = START + timedelta(seconds=index * every)
        last = index == len(weights) - 1
        found.append(
            WeightEpoch(
                weight_percent=weight,
                shadow=False,
                asked_at=asked,
                confirmed_from=asked + timedelta(seconds=1),
                confirmed_to=None if last else asked + timedelta(seconds=every),
            )
        )
    return tuple(found)


def some_answers(
    versions: Sequence[int],
    *,
    after: float = 10.0,
    gap: float = 0.1,
    failed: Sequence[bool] | None = None,
    seconds: Sequence[float] | float = 0.01,
    users: Sequence[str] | None = None,
) -> list[Answer]:
    """Answers of these versions in turn, the first `after` seconds from the start."""
    times = np.broadcast_to(seconds, len(versions))
    return [
        Answer(
            at=START.timestamp() + after + index * gap,
            version=version,
            failed=bool(failed[index]) if failed is not None else False,
            seconds=float(times[index]),
            user=users[index] if users is not None else "",
            request_id=f"r{index}",
        )
        for index, version in enumerate(versions)
    ]


@pytest.fixture(scope="session")
def spec() -> Callable[..., RolloutSpec]:
    return a_spec


@pytest.fixture(scope="session")
def epochs() -> Callable[..., tuple[WeightEpoch, ...]]:
    return some_epochs


@pytest.fixture(scope="session")
def answers() -> Callable[..., list[Answer]]:
    return some_answers


@pytest.fixture(scope="session")
def start() -> datetime:
    return START
