"""Requests of which each variant tells in its own time: who tells first is no evidence, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from trimtab.core.ports import Answer
from trimtab.core.rollout.evidence import Evidence, LiveLosses, begin, with_answers, with_live_losses
from trimtab.core.rollout.proof import harm

CHAMPION, CHALLENGER = 6, 7
Make = Callable[..., Any]
Floats = NDArray[np.float64]
Rates = Callable[[Floats], tuple[Floats, Floats]]  # of failures of champion and challenger, at these seconds
Segments = list[list[Answer]]


def stored(evidence: Evidence) -> Evidence:
    """As the rollout's state keeps it."""
    return Evidence.model_validate(evidence.model_dump(mode="json", by_alias=True))


def drawn(
    rng: np.random.Generator, answers: Make, requests: int, rates: tuple[float, float], gap: float = 0.05
) -> list[Answer]:
    """Requests, a fifth of them the challenger's, which fail at these rates."""
    arms = rng.random(requests) < 0.2
    failed = rng.random(requests) < np.where(arms, rates[1], rates[0])
    versions = np.where(arms, CHALLENGER, CHAMPION)
    found: list[Answer] = answers(versions.tolist(), gap=gap, failed=failed.tolist())
    return found


def delivered(requests: Sequence[Answer]) -> list[list[Answer]]:
    """In segments of five seconds, the challenger's two seconds behind the champion's."""
    begins = requests[0].at

    def looked_at(each: Answer) -> float:
        late = 2.0 if each.version == CHALLENGER else 0.0
        return float((each.at - begins - late) // 5 * 5 + 5 + late)

    return [
        [each for each in requests if looked_at(each) == at] for at in sorted({looked_at(each) for each in requests})
    ]


def read(spec: Any, epochs: Any, segments: Sequence[Sequence[Answer]], told_apart: bool = True) -> list[Evidence]:
    """The evidence after each segment."""
    evidence, found = begin(spec, told_apart), []
    for segment in segments:
        evidence = with_answers(evidence, spec, segment, epochs)
        found.append(evidence)
    return found


def proves_harm(evidence: Evidence, spec: Any) -> bool:
    return any(standing.proven for standing in harm(evidence, spec))


def test_a_challenger_of_which_nobody_has_heard_yet_is_not_rolled_back(spec: Make, epochs: Make, answers: Make) -> None:
    rollout, splits = spec(), epochs(20)
    first = answers([CHAMPION] * 200)
    then = answers([CHALLENGER] * 40, gap=0.5)
    seen = read(rollout, splits, [first, then])
    assert not any(proves_harm(each, rollout) for each in seen)
    assert [each.errors.champion_units for each in seen] == [0, 190]  # of the last second there may be more
    # Read as if a router had drawn them, they would prove what never happened.
    assert proves_harm(read(rollout, splits, [first, then], told_apart=False)[0], rollout)


def test_harmless_challengers_stay_however_their_log_comes(spec: Make, epochs: Make, answers: Make) -> None:
    rollout, splits, runs = spec(), epochs(20), 100
    rng = np.random.default_rng(21)
    rolled_back = {True: 0, False: 0}
    for _ in range(runs):
        segments = delivered(drawn(rng, answers, 1500, (0.01, 0.02), gap=0.01))
        for apart in rolled_back:
            rolled_back[apart] += any(proves_harm(each, rollout) for each in read(rollout, splits, segments, apart))
    assert binomtest(rolled_back[True], runs, 0.05, alternative="greater").pvalue > 0.01, rolled_back
    assert rolled_back[False] > runs / 2, "one by one they are rolled back for nothing"


def test_harm_is_proven_about_as_soon_as_by_a_router(spec: Make, epochs: Make, answers: Make) -> None:
    rollout, splits = spec(), epochs(20)
    rng = np.random.default_rng(22)
    needed: dict[bool, list[int]] = {True: [], False: []}
    for _ in range(30):
        requests = drawn(rng, answers, 1500, (0.02, 0.12))
        by_router = [requests[start : start + 20] for start in range(0, len(requests), 20)]
        for apart, parts in ((True, delivered(requests)), (False, by_router)):
            evidence, read_so_far = begin(rollout, apart), 0
            for part in parts:
                evidence, read_so_far = with_answers(evidence, rollout, part, splits), read_so_far + len(part)
                if proves_harm(evidence, rollout):
                    break
            needed[apart].append(read_so_far)
    assert np.median(needed[True]) <= np.median(needed[False]) + 200  # two segments of 100


def scraped(rng: np.random.Generator, begin: float, minutes: float, rates: Rates, rate: float = 30.0) -> Segments:
    """
    What each pod's counter gained at each scrape of 15 seconds: two pods of the champion's, one of the challenger's.

    Rates are given by the time since the beginning; the scrapes of the three pods are out of step.
    """
    count = int(minutes * 60 * rate)
    came = np.sort(rng.random(count)) * minutes * 60
    pods = rng.choice(3, count, p=[0.4, 0.4, 0.2])  # the last one is the challenger's
    failed = rng.random(count) < np.where(pods == 2, rates(came)[1], rates(came)[0])
    phase = rng.random(3) * 15
    found: dict[float, list[Answer]] = {}
    for pod in range(3):
        scrape = np.ceil((came - phase[pod]) / 15) * 15 + phase[pod]
        for at, bad in zip(scrape[pods == pod].tolist(), failed[pods == pod].tolist(), strict=True):
            ends = (begin + at - 15, begin + at)
            version = CHALLENGER if pod == 2 else CHAMPION
            answer = Answer(sum(ends) / 2, version, bad, 0.01, within=ends, teller=f"pod-{pod}")
            found.setdefault(at, []).append(answer)
    return [found[at] for at in sorted(found)]


def with_outages(rng: np.random.Generator) -> Rates:
    """Four times, for ten seconds, half of what either of the two answers fails."""
    begins = np.sort(rng.random(4)) * 500 + 30

    def rates(at: Floats) -> tuple[Floats, Floats]:
        down = ((at[:, None] >= begins) & (at[:, None] < begins + 10)).any(axis=1)
        return np.where(down, 0.5, 0.01), np.where(down, 0.5, 0.01)

    return rates


def test_outages_of_both_are_no_harm_however_the_scrapes_fall(spec: Make, epochs: Make) -> None:
    rollout, splits = spec(), epochs(20)
    begin_at = splits[0].confirmed_from.timestamp() + 20
    rng = np.random.default_rng(23)
    runs, rolled_back = 60, 0
    for _ in range(runs):
        segments = scraped(rng, begin_at, 10, with_outages(rng))
        rolled_back += any(proves_harm(each, rollout) for each in read(rollout, splits, segments))
    assert binomtest(rolled_back, runs, 0.05, alternative="greater").pvalue > 0.01, rolled_back


@pytest.mark.parametrize("behind", [CHAMPION, CHALLENGER])
def test_outages_of_both_are_no_harm_where_the_scrapes_of_one_show_minutes_later(
    spec: Make, epochs: Make, behind: int
) -> None:
    rollout, splits = spec(), epochs(20)
    begin_at = splits[0].confirmed_from.timestamp() + 20
    rng = np.random.default_rng(27)

    def shows(segment: list[Answer]) -> float:
        return segment[0].within[1] + (120 if segment[0].version == behind else 0)

    runs, rolled_back = 20, 0
    for _ in range(runs):
        segments = sorted(scraped(rng, begin_at, 10, with_outages(rng)), key=shows)
        seen = read(rollout, splits, segments)
        rolled_back += any(proves_harm(each, rollout) for each in seen)
        assert seen[-1].errors.challenger_units > 2000
        assert max(len(each.blocks.model_dump_json()) for each in seen if each.blocks is not None) < 5000
    assert binomtest(rolled_back, runs, 0.05, alternative="greater").pvalue > 0.01, rolled_back


def test_harm_is_proven_by_scrapes_alone(spec: Make, epochs: Make) -> None:
    rollout, splits = spec(), epochs(20)
    begin_at = splits[0].confirmed_from.timestamp() + 20
    rng = np.random.default_rng(24)
    found = []
    for rate in (0.06, 0.3):
        minutes = []
        for _ in range(10):
            segments = scraped(
                rng, begin_at, 15, lambda at, rate=rate: (np.full(at.shape, 0.02), np.full(at.shape, rate))
            )
            proven = [n for n, each in enumerate(read(rollout, splits, segments)) if proves_harm(each, rollout)]
            assert proven
            minutes.append(proven[0] / 12)  # three scrapes each 15 s
        found.append(float(np.median(minutes)))
    assert found[1] < 2
    assert found[0] < 8


def test_harm_that_begins_late_in_a_step_is_found_as_soon_and_what_waits_stays_small(spec: Make, epochs: Make) -> None:
    rollout, splits = spec(), epochs(20, every=10_000.0)
    begin_at = splits[0].confirmed_from.timestamp() + 20
    late = 90.0  # minutes of a step that went well

    def rates(at: Floats) -> tuple[Floats, Floats]:
        return np.full(at.shape, 0.01), np.where(at >= late * 60, 0.9, 0.01)

    segments = scraped(np.random.default_rng(26), begin_at, late + 6, rates, rate=5.0)
    seen = read(rollout, splits, segments)
    proven = [segment[0].within for segment, each in zip(segments, seen, strict=True) if proves_harm(each, rollout)]
    assert proven
    assert 0 < proven[0][1] - begin_at - late * 60 < 4.5 * 60  # a block of twelve scrapes, and the edges of it
    assert max(len(each.blocks.model_dump_json()) for each in seen if each.blocks is not None) < 3000


def test_a_gap_between_scrapes_makes_later_blocks_no_longer(spec: Make, epochs: Make) -> None:
    rollout, splits = spec(), epochs(20)
    begin_at = splits[0].confirmed_from.timestamp() + 20
    rng = np.random.default_rng(25)
    segments = scraped(rng, begin_at, 4, lambda at: (np.full(at.shape, 0.02), np.full(at.shape, 0.02)))
    gap = [replace(each, within=(begin_at, begin_at + 200)) for each in segments.pop(0)]
    seen = read(rollout, splits, [gap, *segments])
    assert seen[-1].blocks is not None
    assert seen[-1].blocks.scrape == pytest.approx(15)
    assert seen[-1].errors.champion_units > 3000


def test_pods_that_tell_late_are_waited_for(spec: Make, epochs: Make, answers: Make) -> None:
    rollout, splits = spec(), epochs(20)
    told = [replace(each, teller="a") for each in answers([CHAMPION, CHALLENGER] * 50, gap=0.1)]
    late = [replace(each, teller="b") for each in answers([CHAMPION] * 5, gap=0.1, after=10.05)]
    then = [replace(each, teller="b") for each in answers([CHAMPION] * 100, gap=0.1, after=10.55)]
    seen = read(rollout, splits, [late, told, then])
    assert [each.errors.champion_units for each in seen] == [0, 0, 45 + 5 + 85]  # up to 19 s, as all have told


@given(data=st.data(), latency=st.sampled_from([None, 50.0]))
@settings(max_examples=60, deadline=None)
def test_each_request_counts_once_in_whatever_portions_it_comes(
    spec: Any, epochs: Any, answers: Any, data: st.DataObject, latency: float | None
) -> None:
    rollout, splits = spec(latency=latency), epochs(10, 50, 100, every=30)
    count = data.draw(st.integers(1, 80))
    given = answers(
        data.draw(st.lists(st.sampled_from([CHAMPION, CHALLENGER]), min_size=count, max_size=count)),
        after=0,
        gap=1.5,
        failed=data.draw(st.lists(st.booleans(), min_size=count, max_size=count)),
    )
    shuffled = data.draw(st.permutations(given))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=4)))
    evidence = begin(rollout, told_apart=True)
    for low, high in zip([0, *cuts], [*cuts, count], strict=True):
        evidence = stored(with_answers(evidence, rollout, shuffled[low:high], splits))
    assert evidence.blocks is not None
    waiting = [heap.tally.requests for heap in evidence.blocks.waiting]
    counted = sum(each.champion + each.challenger for each in evidence.counts)
    assert counted + sum(waiting) + evidence.left_out.get("change", 0) == count
    assert len(waiting) <= 2 * len(splits) + 2 * 61
    assert evidence.errors.champion_units == sum(each.champion for each in evidence.counts[:2])


def test_what_was_told_late_is_compared_with_what_comes_then(spec: Make, epochs: Make, answers: Make) -> None:
    rollout, splits = spec(), epochs(20)
    both = answers([CHAMPION, CHALLENGER] * 100, gap=0.1)
    late = answers([CHALLENGER], after=12.0, failed=[True])
    after = answers([CHAMPION, CHALLENGER] * 100, after=31, gap=0.1)
    counts = read(rollout, splits, [both, late, after])[-1].counts[0]
    assert counts.challenger_failed == 1
    assert counts.champion >= 190


def test_a_variant_that_falls_silent_does_not_hold_the_others_back_for_long(
    spec: Make, epochs: Make, answers: Make
) -> None:
    rollout, splits = spec(), epochs(20)
    both = answers([CHAMPION, CHALLENGER] * 5, gap=0.01, failed=[False, True] * 5)
    alone = answers([CHAMPION], after=80)
    seen = read(rollout, splits, [both, alone])
    assert [each.errors.challenger_units for each in seen] == [0, 5]


def test_where_one_answers_everything_there_is_nothing_to_wait_for(spec: Make, epochs: Make, answers: Make) -> None:
    evidence = read(spec(), epochs(0), [answers([CHAMPION] * 7)])[-1]
    assert evidence.counts[0].champion == 7
    assert evidence.errors.champion_units == 0


@pytest.mark.parametrize("newer", [CHAMPION, CHALLENGER])
def test_losses_of_which_one_variant_alone_has_told_wait(spec: Make, epochs: Make, newer: int) -> None:
    rollout, splits = spec(depend=True), epochs(20)
    at = splits[0].confirmed_from.timestamp() + 10 + np.arange(300) * 0.1
    arms = np.arange(300) % 5 == 0
    arms[100:] = newer == CHALLENGER
    losses = LiveLosses(at, arms, np.full(300, 0.1))
    loss = with_live_losses(begin(rollout), rollout, losses, splits).loss
    assert loss.champion_units + loss.challenger_units <= 101
    assert loss.harm_peak < 1
