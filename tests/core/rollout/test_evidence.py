"""How measurements enter the evidence: what counts, what is left out, and that portions change nothing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.rollout.evidence import (
    Evidence,
    LiveLosses,
    LossPairs,
    begin,
    with_answers,
    with_live_losses,
    with_losses,
    with_restart,
    with_shadow,
)


def stored(evidence: Evidence) -> Evidence:
    """As the rollout's state keeps it."""
    return Evidence.model_validate(evidence.model_dump(mode="json", by_alias=True))


@given(data=st.data(), sticky=st.booleans(), latency=st.sampled_from([None, 50.0]))
@settings(max_examples=40, deadline=None)
def test_answers_in_any_portions_give_the_same_evidence(
    spec: Any, epochs: Any, answers: Any, data: st.DataObject, sticky: bool, latency: float | None
) -> None:
    rollout = spec(latency=latency, stickyHeader="x-user" if sticky else None)
    splits = epochs(10, 50, every=30)
    count = data.draw(st.integers(1, 80))
    given = answers(
        data.draw(st.lists(st.sampled_from([6, 7, 9]), min_size=count, max_size=count)),
        after=0,
        gap=1.0,
        failed=data.draw(st.lists(st.booleans(), min_size=count, max_size=count)),
        seconds=data.draw(st.lists(st.sampled_from([0.01, 0.2]), min_size=count, max_size=count)),
        users=data.draw(st.lists(st.sampled_from(["", "ann", "bo", "cy"]), min_size=count, max_size=count)),
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=3)))
    portioned = begin(rollout)
    for low, high in zip([0, *cuts], [*cuts, count], strict=True):
        portioned = stored(with_answers(portioned, rollout, given[low:high], splits))
    assert portioned == with_answers(begin(rollout), rollout, given, splits)


def test_each_answer_is_counted_once_by_split_and_variant(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec()
    given = answers([6, 6, 7, 6, 7], failed=[False, True, True, False, False])
    counts = with_answers(begin(rollout), rollout, given, epochs(10, 50)).counts
    assert (counts[0].champion, counts[0].champion_failed) == (3, 1)
    assert (counts[0].challenger, counts[0].challenger_failed) == (2, 1)
    assert counts[1].champion == counts[1].challenger == 0


def test_what_does_not_count_is_counted_by_reason(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec()
    splits = epochs(0, 10, every=100)
    given = [
        *answers([6, 7], after=1.5),  # before the first split was certain
        *answers([7, 6], after=50),  # at 0 %: a header sent it to the challenger
        *answers([6, 5], after=150),  # 5 is another rollout's
    ]
    evidence = with_answers(begin(rollout), rollout, given, splits)
    assert evidence.left_out == {"change": 2, "forced": 1, "otherVersion": 1}
    assert [counts.champion for counts in evidence.counts] == [1, 1]
    assert evidence.errors.champion_units == 1  # at 0 % nothing is compared


def test_latency_counts_only_once_both_processes_are_warm(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec(latency=50.0)
    cold = answers([7] * 5 + [6] * 5, seconds=9.0)
    warm = answers([7, 6], after=50, seconds=[0.2, 0.01])
    evidence = with_answers(begin(rollout), rollout, [*cold, *warm], epochs(10))
    assert evidence.latency is not None
    assert (evidence.latency.challenger_units, evidence.latency.champion_units) == (1, 1)
    assert (evidence.latency.challenger_total, evidence.latency.champion_total) == (1, 0)
    assert evidence.left_out == {"warmUp": 10}
    assert evidence.errors.challenger_units == 6  # a failure is one, however fresh the process


def test_a_restarted_process_warms_up_again(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec(latency=50.0)
    evidence = with_answers(begin(rollout), rollout, answers([6, 7] * 5), epochs(10))
    evidence = with_restart(evidence, rollout, 7)
    evidence = with_answers(evidence, rollout, answers([7, 6] * 5, after=60, seconds=9.0), epochs(10))
    assert evidence.latency is not None
    assert evidence.latency.champion_units == 1  # the one after the challenger's fifth
    assert evidence.latency.challenger_units == 0


def test_latency_is_not_judged_without_a_limit(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec(latency=None)
    assert with_answers(begin(rollout), rollout, answers([6, 7] * 20, seconds=60.0), epochs(50)).latency is None


def test_mirrored_requests_are_paired_by_id_whichever_half_comes_first(spec: Any, answers: Any) -> None:
    rollout = spec(steps=[{"shadow": {}}, {"setWeight": 5}])
    champion = answers([6] * 4, failed=[False, False, True, False])
    challenger = answers([7] * 4, failed=[True, False, True, False])
    whole = with_shadow(begin(rollout), rollout, challenger, champion)
    parts = with_shadow(begin(rollout), rollout, challenger[:3], champion[:1])
    parts = with_shadow(stored(parts), rollout, challenger[3:], champion[1:])
    for evidence in (whole, parts):
        assert evidence.mirrored.bets.pairs == 4
        assert (evidence.mirrored.challenger_failed, evidence.mirrored.champion_failed) == (2, 1)
        assert evidence.mirrored.requests == 4
        assert not evidence.mirrored.champion_waits


def test_halves_that_never_find_each_other_do_not_pile_up(spec: Any, answers: Any) -> None:
    rollout = spec(steps=[{"shadow": {}}, {"setWeight": 5}])
    evidence = with_shadow(begin(rollout), rollout, [], answers([6] * 5000))
    assert evidence.left_out == {"unpaired": 3000}
    assert len(evidence.to_json()) < 70_000


def test_a_challenger_that_fails_copies_is_found_in_the_shadow(spec: Any, answers: Any) -> None:
    rollout = spec(steps=[{"shadow": {}}, {"setWeight": 5}])
    fails = [index % 10 == 0 for index in range(300)]
    evidence = with_shadow(begin(rollout), rollout, answers([7] * 300, failed=fails), answers([6] * 300))
    assert evidence.mirrored.bets.peak > np.log(1 / 0.05)


def test_losses_are_computed_anew_from_all_pairs(spec: Any) -> None:
    rollout = spec()
    rng = np.random.default_rng(1)
    champion, challenger = rng.random(400), rng.random(400)
    pairs = LossPairs(champion, challenger, mature=420, waiting=30, left_out=20)
    once = with_losses(begin(rollout), rollout, pairs)
    assert with_losses(once, rollout, pairs) == once
    assert (once.loss.champion_units, once.loss.mature, once.loss.waiting, once.loss.left_out) == (400, 420, 30, 20)
    assert once.loss.champion_mean == pytest.approx(champion.mean())
    corrected = with_losses(once, rollout, LossPairs(champion, champion, mature=400))
    assert corrected.loss.harm_log_e <= 0 < corrected.loss.safe_log_e


def test_without_any_label_the_loss_is_not_judged(spec: Any) -> None:
    rollout = spec()
    nothing = with_losses(begin(rollout), rollout, LossPairs(np.array([]), np.array([])))
    assert not nothing.loss.labelled
    waiting = with_losses(begin(rollout), rollout, LossPairs(np.array([]), np.array([]), waiting=3))
    assert waiting.loss.labelled


def test_the_difference_of_the_losses_has_an_interval(spec: Any) -> None:
    rng = np.random.default_rng(2)
    champion = rng.uniform(0, 0.5, 2000)
    challenger = champion + rng.uniform(0, 0.1, 2000)
    loss = with_losses(begin(spec()), spec(), LossPairs(champion, challenger, mature=2000)).loss
    assert loss.difference_low is not None
    assert loss.difference_high is not None
    assert 0.0 < loss.difference_low < 0.05 < loss.difference_high < 0.1


@pytest.mark.parametrize(("challenger_loss", "worse"), [(0.4, True), (0.1, False)])
def test_weighted_traffic_judges_the_loss_where_answers_change_the_outcome(
    spec: Any, epochs: Any, start: Any, challenger_loss: float, worse: bool
) -> None:
    rollout = spec(depend=True, analysis={"maxLossIncrease": 0.05})
    rng = np.random.default_rng(3)
    arms = rng.random(6000) < 0.5
    loss = (rng.random(6000) < np.where(arms, challenger_loss, 0.1)).astype(float)
    given = LiveLosses(start.timestamp() + 10 + np.arange(6000) * 0.1, arms, loss, mature=6000)
    found = with_live_losses(begin(rollout), rollout, given, epochs(50)).loss
    assert found.weighted
    assert bool(found.harm_peak > np.log(60)) is worse
    assert bool(found.safe_log_e > np.log(20)) is not worse


def test_weighted_losses_of_sticky_users_count_once_a_user(spec: Any, epochs: Any, start: Any) -> None:
    rollout = spec(depend=True, stickyHeader="x-user")
    at = start.timestamp() + 10 + np.arange(3000.0)
    users = [f"user{index % 40}" for index in range(3000)]
    arms = np.array([index % 40 < 20 for index in range(3000)])
    given = LiveLosses(at, arms, np.full(3000, 0.5), users, mature=3000)
    found = with_live_losses(begin(rollout), rollout, given, epochs(50, every=1e6)).loss
    assert found.champion_units + found.challenger_units == 40


def test_100_000_answers_enter_in_a_few_seconds_and_leave_a_small_state(spec: Any, epochs: Any, answers: Any) -> None:
    rollout = spec(latency=50.0, stickyHeader="x-user")
    rng = np.random.default_rng(4)
    versions = np.where(rng.random(100_000) < 0.1, 7, 6).tolist()
    users = [f"user{number}" for number in rng.integers(0, 30_000, 100_000)]
    given = answers(versions, gap=0.05, users=users)
    began = time.process_time()
    evidence = with_answers(begin(rollout), rollout, given, epochs(10, every=1e6))
    assert time.process_time() - began < 10  # about 1 s on the slowest machine it was seen on
    assert len(evidence.to_json()) < 150_000
