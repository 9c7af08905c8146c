"""Which split a request came under, and which requests belong to none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from trimtab.core.rollout.epochs import place
from trimtab.core.rollout.values import WeightEpoch


def test_requests_near_a_change_belong_to_no_split(epochs: Any, start: datetime) -> None:
    # Asked at 0 s and 1,000 s, confirmed a second later: certain two seconds after that.
    after = np.array([-5.0, 0.5, 2.9, 3.0, 999.9, 1000.0, 1002.9, 1003.0, 9000.0])
    placed = place(start.timestamp() + after, epochs(10, 50))
    assert placed.epoch.tolist() == [-1, -1, -1, 0, 0, -1, -1, 1, 1]
    assert placed.share.tolist() == [0, 0, 0, 0.1, 0.1, 0, 0, 0.5, 0.5]


def test_a_split_that_the_router_has_not_confirmed_holds_nothing(start: datetime) -> None:
    asked = WeightEpoch(weight_percent=5, shadow=False, asked_at=start)
    assert place(np.array([start.timestamp() + 100]), [asked]).epoch.tolist() == [-1]
    assert place(np.array([start.timestamp() + 100]), []).epoch.tolist() == [-1]


def test_a_change_that_is_only_asked_for_ends_the_split_before_it(epochs: Any, start: datetime) -> None:
    (first,) = epochs(5)
    asked = WeightEpoch(weight_percent=25, shadow=False, asked_at=start + timedelta(seconds=50))
    at = start.timestamp() + np.array([49.0, 51.0, 5000.0])
    assert place(at, [first, asked]).epoch.tolist() == [0, -1, -1]


def test_a_split_that_is_never_confirmed_does_not_hide_the_next(epochs: Any, start: datetime) -> None:
    (first,) = epochs(5)
    lost = WeightEpoch(weight_percent=25, shadow=False, asked_at=start + timedelta(seconds=50))
    again = WeightEpoch(
        weight_percent=25,
        shadow=False,
        asked_at=start + timedelta(seconds=60),
        confirmed_from=start + timedelta(seconds=61),
    )
    at = start.timestamp() + np.array([30.0, 55.0, 64.0])
    assert place(at, [first, lost, again]).epoch.tolist() == [0, -1, 2]
