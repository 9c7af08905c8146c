"""The demo's account of a rollout: the same evidence as the controller's, on the stream's time, and what users saw."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters.batches import Batch
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.adapters.state import State
from trimtab.app.demo import story
from trimtab.app.demo.client import Asked
from trimtab.app.demo.traffic import Fortnight, StreamTime
from trimtab.app.demo.trials import ROLLOUT, TRIALS
from trimtab.app.demo.watch import Watch
from trimtab.app.demo.year import traffic_promises
from trimtab.core.ports import Answer
from trimtab.core.rollout import evidence as evidences
from trimtab.core.rollout.proof import harm
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState, WeightEpoch

DAY = datetime(2012, 4, 1, tzinfo=UTC)
WALL = 1_000_000.0  # of the first request; one comes each tenth of a second
ROWS = 336
SPEC = RolloutSpec(
    number=0,
    name="",
    model="demand",
    version=7,
    champion=6,
    rollout=ROLLOUT,
    max_latency_milliseconds=50,
    loss_scale=100,
    recorded_at=DAY,
)


def wall(seconds: float) -> datetime:
    return datetime.fromtimestamp(WALL + seconds, UTC)


def answers(slow_from: int = ROWS, fails_each: int = 0) -> list[Answer]:
    """Half of the requests go to v7, which from one of them on is slow, or fails on each so manieth of its own."""
    made = []
    for number in range(ROWS):
        own = number % 2 == 1
        made.append(
            Answer(
                at=WALL + number / 10,
                version=7 if own else 6,
                failed=own and bool(fails_each) and (number // 2) % fails_each == 0,
                seconds=0.2 if own and number >= slow_from else 0.01,
            )
        )
    return made


def fortnight() -> Fortnight:
    times = [DAY + timedelta(hours=hour) for hour in range(ROWS)]
    made = Fortnight(1, Batch("a.csv", b"", times[0], times[-1]), [{} for _ in times], [100.0] * ROWS, times)
    made.asked += [Asked(row, str(row), WALL + row / 10, 0.01, 200, 7 if row % 2 else 6, 1.0) for row in range(ROWS)]
    return made


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(), "s3://state/default", "demand", tmp_path)


def watched(state: State, given: list[Answer], phase: Phase = Phase.ROLLED_BACK, ended: float = 33.0) -> Watch:
    """A rollout at 50 % from before the first request, measured by the controller's own function at its end."""
    spec = state.rollouts.propose(SPEC)
    epochs = (
        WeightEpoch(
            weight_percent=50, shadow=False, asked_at=wall(-9), confirmed_from=wall(-8), confirmed_to=wall(ended)
        ),
    )
    seen = evidences.with_answers(evidences.begin(spec), spec, given, epochs)
    before = state.rollouts.state(spec.number)
    over = RolloutState(
        number=spec.number,
        epoch=1,
        phase=phase,
        weight_percent=0,
        reason="harm is proven",
        started=wall(-10),
        ended=wall(ended),
        epochs=epochs,
        evidence=seen.model_dump(mode="json", by_alias=True),
        nonce=before.nonce if before else "",
    )
    router = MemoryTraffic()
    watch = Watch(TRIALS[1], spec, state, router, lambda *_: None, began_wall=WALL - 10)
    router.record(*given)
    watch.fortnights.append(fortnight())
    state.rollouts.save(over)
    watch.look()
    watch.looks = [(WALL + ended, found) for _, found in watch.looks]
    watch.close()
    return watch


def test_the_plot_ends_at_the_e_value_that_the_controller_computed(state: State) -> None:
    watch = watched(state, answers(slow_from=200))
    clock = StreamTime(watch.fortnights)
    drawn = story.samples(watch, clock, clock.at(WALL + 33.0))
    assert watch.now is not None
    (own,) = (each for each in harm(story.evidence_of(watch.now), watch.spec) if each.test == "latency")
    assert own.proven
    assert max(sample.tests["latency"].log_e for sample in drawn) == pytest.approx(own.peak, rel=0.05)
    assert drawn[-1].tests["latency"].challenger_units > 100
    assert len(drawn) > ROWS / story.CHUNK / 2


def test_its_time_is_the_streams(state: State) -> None:
    watch = watched(state, answers(slow_from=200))
    drawn = story.samples(watch, StreamTime(watch.fortnights), DAY + timedelta(days=14))
    times = [sample.at for sample in drawn]
    assert times == sorted(times)
    assert times[0] < DAY + timedelta(days=1)
    first = next(sample.at for sample in drawn if sample.tests["latency"].share >= 0)
    assert DAY + timedelta(hours=200) < first < DAY + timedelta(hours=260)


def test_what_decided_is_read_from_the_evidence(state: State) -> None:
    slow, failing = watched(state, answers(slow_from=200)).now, watched(state, answers(fails_each=10)).now
    assert slow is not None
    assert failing is not None
    assert story._decided(SPEC, slow) == "latency"
    assert story._decided(SPEC, failing) == "errors"


def test_the_tally_counts_both_and_ends_with_the_rollout(state: State) -> None:
    watch = watched(state, answers(fails_each=10), ended=20.0)
    clock = StreamTime(watch.fortnights)
    tally = story._tally("errors", watch, clock, clock.at(WALL + 20.0), [])
    challenger, champion = tally["tally"]
    assert champion.points[-1][1] == 0
    assert challenger.points[-1] == (DAY + timedelta(hours=200), 10.0)


def test_fixed_thresholds_are_counted_on_the_same_answers(state: State) -> None:
    said = story.fixed_thresholds(watched(state, answers(slow_from=200)), StreamTime([fortnight()]), WALL + 33.0)
    assert "had seen 6 misses in 14 days" in said
    assert said.endswith("it would have rolled back.")
    said = story.fixed_thresholds(watched(state, answers()), StreamTime([fortnight()]), WALL + 33.0)
    assert "had seen 0 misses" in said
    assert said.endswith("it would have gone on.")


def test_answers_that_users_were_the_worse_for_are_those_of_the_challenger(state: State) -> None:
    watch = watched(state, answers(fails_each=10))
    asked = [(0, each) for each in watch.fortnights[0].asked if each.version == 7]
    assert story._bad("failing", asked, watch, WALL + 100, []) == 17
    assert story._bad("slow", asked, watch, WALL + 100, []) == 0
    assert story._bad("good", asked, watch, WALL + 100, []) == 0


def test_a_day_ends_at_once_where_the_rollout_has_ended(state: State) -> None:
    watch = watched(state, answers())
    began = time.monotonic()
    watch.after_day(watch.fortnights[0])
    assert time.monotonic() - began < 1


def test_a_step_that_has_all_its_requests_is_waited_for_and_no_other(state: State) -> None:
    spec = state.rollouts.propose(SPEC)
    router = MemoryTraffic()
    watch = Watch(TRIALS[0], spec, state, router, lambda *_: None)
    epoch = WeightEpoch(weight_percent=25, shadow=False, asked_at=wall(-9), confirmed_from=wall(0))
    now = RolloutState(number=spec.number, epoch=1, phase=Phase.CANARY, step=1, started=wall(-10), epochs=(epoch,))
    one = fortnight()
    everything, one.asked = one.asked, []
    watch.fortnights.append(one)
    # Of the first two seconds none counts: 20 requests; then every second is the challenger's, and 20 are asked for.
    one.asked = everything[: 20 + 39]
    assert not watch._has_enough(now)
    one.asked = everything[: 20 + 40]
    assert watch._has_enough(now)


def answered(count: int, failed: int = 0) -> Fortnight:
    made = fortnight()
    made.asked = [Asked(0, "", WALL, 0.1, 503 if n < failed else 200, 6, 1.0, "no one") for n in range(count)]
    return made


def test_a_request_that_nobody_answered_breaks_the_promise_and_says_what_came_back() -> None:
    (kept,), (broken,) = traffic_promises([answered(300)], [], []), traffic_promises([answered(300, 2)], [], [])
    assert (kept.kept, kept.found) == (True, "300 of 300")
    assert not broken.kept
    assert "298 of 300; the first: 503 no one" in broken.found


def test_a_trial_without_its_rollout_breaks_the_promise() -> None:
    _, promise = traffic_promises([answered(10)], [], TRIALS)
    assert not promise.kept
    assert promise.found == "none was put under traffic"
