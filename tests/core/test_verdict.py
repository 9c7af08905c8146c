"""The whole table of what an evaluation leads to."""

import pytest

from trimtab.core.bootstrap import Interval
from trimtab.core.metrics import METRICS
from trimtab.core.verdict import verdict

AUC, WAPE = METRICS["roc_auc"], METRICS["weighted_absolute_percentage_error"]
GOOD = Interval(point=0.8, low=0.75, high=0.85)


def gain(point, low, high):
    return Interval(point=point, low=low, high=high)


def judge(difference, *, metric=AUC, candidate=GOOD, champion=6, margin=0.01, floor=0.6, immediate=True):
    found = verdict(
        metric, candidate, difference, champion=champion, margin=margin, floor=floor, immediate=immediate, note=""
    )
    return found.result, found.state


BETTER = gain(0.05, 0.01, 0.09)
LIKELY = gain(0.02, -0.01, 0.05)
EQUAL = gain(0.0, -0.02, 0.02)
UNLIKELY = gain(-0.02, -0.05, 0.01)
HARMLESS = gain(-0.006, -0.009, -0.003)  # worse for sure, but by less than the margin
WORSE = gain(-0.05, -0.09, -0.011)
NO_INTERVAL = gain(0.02, None, None)
NO_INTERVAL_WORSE = gain(-0.02, None, None)


@pytest.mark.parametrize(
    ("difference", "result", "immediate", "later"),
    [
        (BETTER, "better", "champion", "challenger"),
        (LIKELY, "undecided", "champion", "challenger"),
        (EQUAL, "undecided", "champion", "challenger"),
        (UNLIKELY, "undecided", "rejected", "challenger"),
        (HARMLESS, "undecided", "rejected", "challenger"),
        (WORSE, "worse", "rejected", "rejected"),
        (NO_INTERVAL, "undecided", "champion", "challenger"),
        (NO_INTERVAL_WORSE, "undecided", "rejected", "challenger"),
        (None, "undecided", "rejected", "challenger"),
        (gain(None, None, None), "undecided", "rejected", "challenger"),
    ],
)
def test_beside_a_champion(difference, result, immediate, later):
    assert judge(difference, immediate=True) == (result, immediate)
    assert judge(difference, immediate=False) == (result, later)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (BETTER, ("better", "awaitingApproval")),
        (LIKELY, ("undecided", "rejected")),
        (WORSE, ("worse", "rejected")),
        (None, ("undecided", "rejected")),
    ],
)
@pytest.mark.parametrize("immediate", [True, False])
def test_short_of_the_floor_only_a_better_one_waits_for_approval(difference, expected, immediate):
    assert judge(difference, candidate=Interval(point=0.55), immediate=immediate) == expected


@pytest.mark.parametrize("immediate", [True, False])
def test_a_first_model_becomes_champion_under_every_strategy(immediate):
    assert judge(None, champion=None, immediate=immediate) == ("first", "champion")


def test_a_first_model_short_of_the_floor_is_rejected():
    assert judge(None, champion=None, candidate=Interval(point=0.59)) == ("first", "rejected")


def test_a_first_model_exactly_on_the_floor_is_good_enough():
    assert judge(None, champion=None, candidate=Interval(point=0.6)) == ("first", "champion")


def test_without_a_floor_any_first_model_is_good_enough():
    assert judge(None, champion=None, candidate=Interval(point=0.1), floor=None) == ("first", "champion")


@pytest.mark.parametrize("champion", [None, 6])
def test_a_metric_that_the_holdout_does_not_define_rejects(champion):
    assert judge(None, champion=champion, candidate=Interval(point=None))[1] == "rejected"


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (gain(-0.05, -0.09, -0.01), ("better", "champion")),
        (gain(0.05, 0.011, 0.09), ("worse", "rejected")),
        (gain(-0.02, -0.05, 0.01), ("undecided", "champion")),
        (gain(0.006, 0.003, 0.009), ("undecided", "rejected")),
    ],
)
def test_where_less_is_better_a_fall_is_a_gain(difference, expected):
    assert judge(difference, metric=WAPE, candidate=Interval(point=0.2), floor=0.5) == expected


def test_a_floor_where_less_is_better_is_a_ceiling():
    assert judge(None, metric=WAPE, champion=None, candidate=Interval(point=0.7), floor=0.5) == ("first", "rejected")
    assert judge(None, metric=WAPE, champion=None, candidate=Interval(point=0.3), floor=0.5) == ("first", "champion")


def test_a_floor_of_zero_counts():
    r2 = METRICS["r2"]
    assert judge(None, metric=r2, champion=None, candidate=Interval(point=-0.1), floor=0.0) == ("first", "rejected")
    assert judge(BETTER, metric=r2, candidate=Interval(point=-0.1), floor=0.0) == ("better", "awaitingApproval")


def test_the_reason_names_champion_and_figures():
    found = verdict(AUC, GOOD, BETTER, champion=6, margin=0.01, floor=0.6, immediate=True)
    assert found.reason == "proven better than v6: roc_auc +0.05 (between +0.01 and +0.09)"
    floor = verdict(AUC, Interval(point=0.5), None, champion=None, margin=0, floor=0.6, immediate=True)
    assert floor.reason == "roc_auc 0.5 is short of the floor 0.6"
    unknown = verdict(
        AUC, GOOD, None, champion=6, margin=0.0, floor=None, immediate=True, note="only 12 rows are newer"
    )
    assert unknown.reason == "undecided against v6: only 12 rows are newer; the champion stays"
