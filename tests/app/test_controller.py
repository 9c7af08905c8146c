"""From uploads to decisions and their outcomes: what is written down, and what a dead process leaves to the next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.core.errors import Unavailable
from trimtab.core.ports import RunPhase
from trimtab.core.records import run_key
from trimtab.core.triggering import Ignore, StartRun, Wait

Rig = Any
DayFile = Callable[..., bytes]


def test_an_upload_becomes_a_decision_and_its_run_is_submitted(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))

    verdict = rig.step()

    assert isinstance(verdict, StartRun)
    (decision,) = rig.decisions()
    (request,) = rig.launcher.requests
    assert (decision.number, decision.reason) == (1, "upload")
    assert decision.run_key == run_key(
        "default", "bikes", decision.entries, decision.training_digest, "upload", decision.number
    )
    assert request.objects == ("s3://landing/in/a.csv",)
    assert request.spec == f"s3://state/default/bikes/specs/{decision.spec}.yaml"
    assert (request.state, request.run_key) == ("s3://state/default", decision.run_key)
    claim = rig.state.decisions.claim(1)
    assert (claim.state, claim.attempt, claim.run_id) == ("submitted", 1, request.run_id)
    assert rig.state.data.dataset(decision.dataset).partitions[0].rows == 12


def test_the_policy_clock_of_a_replay_is_the_newest_event_taken_in(rig: Rig, day_file: DayFile) -> None:
    rig.put("b.csv", day_file(3))
    rig.step()
    rig.put("late.csv", day_file(1))
    rig.step()

    assert rig.decisions()[0].decided_at == rig.clock.now()
    assert f"{rig.clock.now():%m-%d %H}" == "01-04 11"


def test_what_arrives_while_a_run_goes_on_joins_the_next(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.put("b.csv", day_file(1))
    rig.put("c.csv", day_file(2))

    waiting = rig.step()
    rig.register(rig.decisions()[0])
    rig.launcher.end(rig.launcher.requests[0].run_id)
    rig.step()

    assert isinstance(waiting, Wait)
    first, second = rig.decisions()
    assert len(second.entries) == 2
    assert not set(first.entries) & set(second.entries)
    assert len(rig.state.data.dataset(second.dataset).partitions) == 3


def test_an_outcome_written_by_a_step_ends_the_decision_and_is_told(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.register(rig.decisions()[0])
    rig.launcher.end(rig.launcher.requests[0].run_id, printed=["train: fitted"])

    verdict = rig.step()

    assert isinstance(verdict, Ignore)
    assert [(e.kind, e.id) for e in rig.journal("decided", "finished", "promoted")] == [
        ("decided", "decision/1"),
        ("finished", "outcome/1"),
        ("promoted", "manifest/1"),
    ]
    assert rig.state.data.log(rig.launcher.requests[0].run_id) == "train: fitted\n"


def test_the_next_run_waits_until_the_process_of_the_last_has_ended(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.conclude(rig.decisions()[0], "champion")  # a step wrote it; the run's process still puts its things away
    rig.put("b.csv", day_file(1))

    waiting = rig.step()
    rig.launcher.end(rig.launcher.requests[0].run_id)
    started = rig.step()

    assert isinstance(waiting, Wait)
    assert isinstance(started, StartRun)


def test_every_upload_is_told_once_with_its_figures(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.put("again.csv", day_file(0))
    rig.put("broken.csv", b"\x00\x01\x02")
    for _ in range(3):
        rig.step()

    told = {entry.kind: entry for entry in rig.journal("ingested", "duplicate", "quarantined")}
    assert len(rig.journal("ingested", "duplicate", "quarantined")) == len(told) == 3
    assert told["ingested"].summary.startswith("in/a.csv: 12 rows, 12 labelled, 0 set aside")
    assert told["ingested"].evidence["partition"]["rows"] == 12
    assert "in/broken.csv: set aside" in told["quarantined"].summary


def test_waiting_is_told_when_its_reason_changes_and_only_then(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0, rows=4))
    rig.step()
    rig.step()
    rig.put("b.csv", day_file(1, rows=4))
    rig.step()
    rig.open("restarted")
    rig.step()

    assert [entry.summary for entry in rig.journal("waiting", "ignored")] == [
        "4 of 10 new labelled rows",
        "8 of 10 new labelled rows",
    ]


def test_a_run_asked_for_is_answered_once(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0, rows=4))
    asked = {rig.requests.ask("cli").id, rig.requests.ask("api").id}
    rig.step()
    rig.conclude(rig.decisions()[0])
    rig.launcher.end(rig.launcher.requests[0].run_id)

    rig.step()

    (decision,) = rig.decisions()
    assert decision.reason == "onDemand"
    assert set(decision.evidence["onDemand"]["requests"]) == asked


def test_a_changed_recipe_starts_a_run_with_the_new_spec(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.register(rig.decisions()[0])
    rig.launcher.end(rig.launcher.requests[0].run_id)
    rig.step()

    rig.text = rig.text.replace("minRows: 5", "minRows: 6")
    rig.__post_init__()
    rig.step()

    first, second = rig.decisions()
    assert second.reason == "trainingDigest"
    assert second.training_digest != first.training_digest
    assert rig.state.data.spec(second.spec) == rig.text


# Failures


def run_out(rig: Rig, error: str = "the run's process was killed before it finished") -> None:
    """The run of the newest attempt fails without a step having said why."""
    rig.launcher.end(rig.launcher.requests[-1].run_id, error)


def test_a_killed_run_is_tried_again_after_a_back_off_under_the_same_run_key(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    run_out(rig)
    rig.step()
    rig.step()
    before = len(rig.launcher.requests)

    rig.wall.pass_(seconds=2)
    rig.step()

    assert before == 1
    first, second = rig.launcher.requests
    assert first.run_key == second.run_key
    assert first.run_id != second.run_id
    assert rig.state.decisions.claim(1).attempt == 2
    assert rig.outcome() is None


def test_the_third_failure_is_the_last_and_keeps_the_end_of_the_log(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    for _ in range(3):
        rig.step()
        run_out(rig)
        rig.step()
        rig.wall.pass_(seconds=30)
    rig.step()

    outcome = rig.outcome()
    assert len(rig.launcher.requests) == 3
    assert outcome.state == "failed"
    assert outcome.reason == "3 attempts failed, the last one: the run's process was killed before it finished"
    assert outcome.log == tuple(f"line {number}" for number in range(10, 30))
    assert "mend what it says" in rig.controller.status().next_move


def test_a_permanent_failure_is_not_tried_again(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    failure = {"step": "window", "permanent": True, "error": "Invalid: 12 rows; training needs 1000"}
    rig.state.data.put_step(rig.decisions()[0].run_key, "failure", failure)
    run_out(rig, "window: Invalid: 12 rows")

    rig.step()

    assert rig.outcome().state == "failed"
    assert rig.outcome().reason == "window: Invalid: 12 rows; training needs 1000"
    assert len(rig.launcher.requests) == 1


def test_the_rows_of_a_failed_run_are_in_the_next_dataset_and_not_counted_as_new(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.conclude(rig.decisions()[0], "failed")
    rig.launcher.end(rig.launcher.requests[0].run_id, "failed")
    rig.put("b.csv", day_file(1, rows=4))
    few = rig.step()
    rig.put("c.csv", day_file(2, rows=8))

    rig.step()

    assert isinstance(few, Wait)
    assert len(rig.state.data.dataset(rig.decisions()[1].dataset).partitions) == 3
    assert len(rig.decisions()[1].entries) == 2


def test_a_run_that_ends_without_an_outcome_is_tried_again(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.launcher.end(rig.launcher.requests[0].run_id)

    rig.step()

    assert rig.state.decisions.claim(1).retry_after is not None


def test_seconds_of_fits_count_although_the_run_failed(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    key = rig.decisions()[0].run_key
    rig.state.data.put_step(key, "train", {"seconds": 7.5, "rows": 12})
    rig.state.data.put_step(key, "failure", {"step": "evaluate", "permanent": True, "error": "E", "seconds": 2.0})
    run_out(rig)

    rig.step()

    assert (rig.outcome().training_seconds, rig.outcome().fits) == (9.5, 2)


# Restarts: `open` stands for a new process that knows nothing


@pytest.mark.parametrize("when", ["after the decision", "after the claim", "after the launch", "after submit"])
def test_killed_anywhere_the_next_process_goes_on_and_nothing_is_started_twice(
    rig: Rig, day_file: DayFile, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        raise Killed

    place = {
        "after the decision": (rig.executor, "advance"),
        "after the claim": (rig.executor, "_launch"),
        "after the launch": (rig.state.decisions, "submitted"),
        "after submit": (rig.chronicle, "decisions"),
    }[when]
    rig.put("a.csv", day_file(0))
    rig.take_in()
    if when == "after submit":
        told = rig.chronicle.decisions
        monkeypatch.setattr(
            rig.chronicle, "decisions", lambda some, results: told(some, results) if not some else die()
        )
    else:
        monkeypatch.setattr(*place, die)
    with pytest.raises(Killed):
        rig.controller.advance()

    rig.open("second")
    rig.step()
    rig.wall.pass_(seconds=16)  # the dead process's lease on the claim
    rig.step()

    claim = rig.state.decisions.claim(1)
    assert len(rig.decisions()) == 1
    assert [request.run_id for request in rig.launcher.requests] == [claim.run_id]
    assert (claim.owner, claim.attempt, claim.state) == ("second", 1, "submitted")
    assert [entry.id for entry in rig.journal("decided")] == ["decision/1"]


def test_a_run_that_lives_on_is_adopted(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.open("second")
    rig.wall.pass_(seconds=16)
    rig.step()

    claim = rig.state.decisions.claim(1)
    assert (claim.epoch, claim.attempt) == (2, 1)
    assert len(rig.launcher.requests) == 1


def test_a_run_that_ended_meanwhile_is_finished_and_not_repeated(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.register(rig.decisions()[0])
    rig.launcher.end(rig.launcher.requests[0].run_id)

    rig.open("second")
    rig.step()

    assert len(rig.launcher.requests) == 1
    assert [entry.kind for entry in rig.journal("finished", "promoted")] == ["finished", "promoted"]


def test_a_run_that_nobody_knows_any_more_is_tried_again(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.launcher.runs.clear()

    rig.step()
    rig.wall.pass_(seconds=3)
    rig.step()

    assert rig.state.decisions.claim(1).attempt == 2
    assert len(rig.launcher.requests) == 2


def test_three_attempts_are_all_however_many_owners_die_with_their_runs(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    for owner in "abcdefghijkl":
        rig.open(owner)
        rig.step()
        rig.launcher.runs.clear()  # the machine is gone, and its runs with it
        rig.wall.pass_(seconds=16)

    assert len(rig.launcher.requests) == 3
    assert rig.outcome().state == "failed"
    assert "not known any more" in rig.outcome().reason


def test_a_claim_of_a_living_process_is_left_alone(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    rig.open("second")

    verdict = rig.step()

    assert isinstance(verdict, Wait)
    assert rig.state.decisions.claim(1).owner == "first"


def test_a_clean_stop_ends_the_run_and_does_not_count_as_an_attempt(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    for number in range(5):
        rig.controller.interrupt()
        rig.open(f"process {number}")
        rig.step()
    run_out(rig)
    rig.step()

    assert rig.outcome() is None
    assert len(rig.launcher.stopped) == 5
    assert rig.state.decisions.claim(1).retry_after - rig.wall.now == timedelta(seconds=2)


def test_a_run_somebody_started_through_the_sdk_is_left_to_them(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    ours = rig.decisions()[0]
    rig.register(ours)
    rig.launcher.end(rig.launcher.requests[0].run_id)
    theirs = ours.model_copy(update={"number": 2, "reason": "sdk", "entries": (), "run_key": "theirs"})
    rig.state.decisions.propose(theirs)
    rig.put("b.csv", day_file(1))

    rig.step()

    assert [decision.reason for decision in rig.decisions()] == ["upload", "sdk", "upload"]
    assert rig.state.decisions.claim(2) is None


def test_a_run_through_the_sdk_that_failed_for_good_is_said_to_have_failed(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    theirs = rig.decisions()[0].model_copy(update={"number": 2, "reason": "sdk", "entries": (), "run_key": "theirs"})
    rig.state.decisions.propose(theirs)
    rig.step()
    going_on = rig.outcome(2)
    rig.state.data.put_step("theirs", "failure", {"step": "train", "permanent": True, "error": "no", "seconds": 3.0})

    rig.step()

    assert going_on is None
    assert (rig.outcome(2).state, rig.outcome(2).reason) == ("failed", "train: no")
    assert (rig.outcome(2).training_seconds, rig.outcome(2).fits) == (3.0, 1)


def test_a_run_through_the_sdk_of_which_nothing_is_heard_any_more_is_given_up(rig: Rig, day_file: DayFile) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    theirs = rig.decisions()[0].model_copy(update={"number": 2, "reason": "sdk", "entries": (), "run_key": "theirs"})
    rig.state.decisions.propose(theirs)
    rig.wall.pass_(hours=23)
    rig.step()
    going_on = rig.outcome(2)
    rig.wall.pass_(hours=2)

    rig.step()

    assert going_on is None
    assert rig.outcome(2).state == "failed"
    assert "nothing was heard of the run for 24 hours" in rig.outcome(2).reason


def test_a_slow_run_through_the_sdk_whose_steps_go_on_is_left_alone(
    rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put("a.csv", day_file(0))
    rig.step()
    old = rig.wall() - timedelta(days=3)
    theirs = rig.decisions()[0].model_copy(
        update={"number": 2, "reason": "sdk", "entries": (), "run_key": "theirs", "recorded_at": old}
    )
    rig.state.decisions.propose(theirs)
    rig.state.data.put_step("theirs", "window", {"rows": 5})  # an hour before the rig's wall clock

    rig.step()

    assert rig.outcome(2) is None


def test_two_who_decide_at_once_make_one_decision(rig: Rig, day_file: DayFile, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.core.errors import Conflict

    rig.put("a.csv", day_file(0))
    rig.take_in()
    propose = rig.state.decisions.propose

    def late(decision: Any) -> Any:
        propose(decision.model_copy(update={"reason": "sdk", "run_key": "theirs"}))
        return propose(decision)

    monkeypatch.setattr(rig.state.decisions, "propose", late)
    with pytest.raises(Conflict):
        rig.controller.advance()

    monkeypatch.undo()
    verdict = rig.controller.advance()

    # The other one took the same new rows: there is nothing left to offer.
    assert isinstance(verdict, Ignore)
    assert len(rig.decisions()) == 1


def test_while_the_store_is_down_nothing_is_lost(rig: Rig, day_file: DayFile, memory: Any) -> None:
    rig.put("a.csv", day_file(0))

    def down(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store did not answer")

    memory.fail = down
    for _ in range(3):
        with pytest.raises(Unavailable):
            rig.step()
    memory.fail = None
    rig.step()

    assert len(rig.decisions()) == len(rig.launcher.requests) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_store_that_fails_at_every_operation_in_turn_leaves_one_decision_and_one_run(
    rig: Rig, day_file: DayFile, memory: Any, after: bool
) -> None:
    """Each attempt dies at the next operation, in a process of its own, until one comes through."""
    rig.put("a.csv", day_file(0))
    attempts = 0
    for dies_at in range(200):
        count = 0

        def fail(operation: str, key: str, done: bool, dies_at: int = dies_at) -> None:
            nonlocal count
            if done is after:
                count += 1
                if count > dies_at:
                    raise Unavailable(f"the connection broke at {operation} {key}")

        memory.fail = fail
        attempts += 1
        try:
            rig.open(f"process {dies_at}")
            rig.wall.pass_(seconds=16)
            rig.step()
            break
        except Unavailable:
            continue
        finally:
            memory.fail = None
    else:
        pytest.fail("never came through")
    rig.wall.pass_(seconds=16)
    rig.step()

    assert attempts > 10
    assert len(rig.decisions()) == 1
    assert len({request.run_id for request in rig.launcher.requests}) == len(rig.launcher.requests) == 1
    assert [entry.kind for entry in rig.journal("ingested", "decided")] == ["ingested", "decided"]
    assert rig.launcher.look_up(rig.state.decisions.claim(1).run_id).phase is RunPhase.RUNNING
