"""Sticky users: one bounded value each a weight step, with the chance with which their variant was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from trimtab.core.ports import Answer
from trimtab.core.rollout import users
from trimtab.core.rollout.evidence import begin, with_answers
from trimtab.core.rollout.levels import alphas, needed
from trimtab.core.rollout.users import Request, Users, update

WINDOW = 60.0


def request(
    user: str, at: float, *, epoch: int = 0, weight: int = 10, challenger: bool = False, failed: float = 0.0
) -> Request:
    return Request(user, at, epoch, weight, challenger, failed, None)


def test_a_user_is_one_value_however_active() -> None:
    busy = [request("ann", second, failed=second < 10) for second in range(40)]
    _, units, outside = update(Users(), [*busy, request("bo", 100)], WINDOW)
    assert (units.failed.tolist(), units.share.tolist(), outside) == ([0.25], [0.1], 0)


def test_a_window_closes_after_its_time_and_the_user_is_not_counted_again() -> None:
    late = [request("ann", 0), request("bo", 61), request("ann", 62, failed=1), request("cy", 200)]
    _, units, outside = update(Users(), late, WINDOW)
    assert units.failed.tolist() == [0.0, 0.0]  # ann's and bo's
    assert outside == 1


def test_units_come_in_the_order_of_first_requests() -> None:
    asked = [request("ann", 0, challenger=True), request("bo", 1), request("ann", 2, challenger=True)]
    _, units, _ = update(Users(), [*asked, request("cy", 200)], WINDOW)
    assert units.challenger.tolist() == [True, False]


def test_a_higher_weight_draws_anew_for_those_whom_the_lower_left_with_the_champion() -> None:
    first = [request("ann", 0, weight=10), request("bo", 1, weight=10, challenger=True)]
    second = [
        request("ann", 10, epoch=1, weight=50, challenger=True),
        request("bo", 11, epoch=1, weight=50, challenger=True),  # certain: stays with the challenger
        request("cy", 12, epoch=1, weight=50),
    ]
    end = [request("dee", 500, epoch=1, weight=50)]
    known, units, outside = update(Users(), [*first, *second, *end], WINDOW)
    assert units.share.tolist() == pytest.approx([0.1, 0.1, 40 / 90, 0.5])
    assert outside == 1
    third = [request(user, 600, epoch=2, weight=75) for user in ("ann", "bo", "cy")]
    _, units, _ = update(known, [*third, request("eve", 900, epoch=2, weight=75)], WINDOW)
    assert units.share.tolist() == pytest.approx([0.5, 0.5])  # dee, and cy anew; ann and bo are certain by now


def test_a_request_that_names_no_user_is_a_unit_of_its_own() -> None:
    _, units, _ = update(Users(), [request("", 0), request("", 1, failed=1.0, challenger=True)], WINDOW)
    assert units.failed.tolist() == [0.0, 1.0]
    assert units.share.tolist() == [0.1, 0.1]


def test_users_beyond_memory_are_forgotten_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MOST_KNOWN", 100)
    monkeypatch.setattr(users, "MOST_OPEN", 20)
    many = [request(f"user{number}", number, challenger=number % 2 == 0) for number in range(1000)]
    known, units, outside = update(Users(), many, 10.0)
    assert known.halvings >= 1
    assert len(known.open) <= 21
    assert 200 < len(units.failed) < 600
    assert len(units.failed) + len(known.open) + outside == 1000
    again, repeated, _ = update(known, [request(f"user{number}", 2000 + number) for number in range(1000)], 10.0)
    # Half of those that were counted are forgotten, but their hash still keeps them out.
    assert len(repeated.failed) <= len(known.open)
    assert again.halvings == known.halvings


@pytest.mark.parametrize("by_request", [False, True])
def test_equal_challengers_under_200_sticky_users_of_unequal_activity(
    spec: Any, epochs: Any, start: Any, by_request: bool
) -> None:
    """Each user has an own share of failures, the same with both. By the request this rolls back far too often."""
    rollout = spec(stickyHeader="x-user", steps=[{"setWeight": 50}], analysis={"maxErrorRatioIncrease": 0.0})
    runs, requests, people = (150, 500, 200) if by_request else (2000, 300, 200)
    split, level = epochs(50, every=1e7), alphas(rollout)["errors"]
    rng = np.random.default_rng(31)
    at = start.timestamp() + 10 + np.arange(requests) * 30.0
    crossed = 0
    for _ in range(runs):
        activity = rng.lognormal(0, 1.5, people)
        rate = rng.beta(0.3, 2.0, people)
        arm = rng.random(people) < 0.5
        who = rng.choice(people, requests, p=activity / activity.sum())
        failed = rng.random(requests) < rate[who]
        names = [""] * requests if by_request else [f"user{user}" for user in who.tolist()]
        columns = zip(at.tolist(), np.where(arm[who], 7, 6).tolist(), failed.tolist(), names, strict=True)
        given = [Answer(second, version, fault, 0.01, name) for second, version, fault, name in columns]
        evidence = with_answers(begin(rollout), rollout, given, split)
        crossed += evidence.errors.peak >= needed(level)
    too_often = bool(binomtest(crossed, runs, level, alternative="greater").pvalue < 0.01)
    assert too_often is by_request, f"{crossed} of {runs}"
