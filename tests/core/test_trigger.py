"""When to train: each rule of the policy, by its own example."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.core.spec.model import Budget, ScheduleTrigger, Triggers, UploadTrigger
from trimtab.core.spec.policy import DriftTrigger, PerformanceTrigger
from trimtab.core.trigger import decide
from trimtab.core.triggering import Arrival, Ignore, Observed, Policy, Run, Sign, StartRun, Wait

NOW = datetime(2012, 5, 9, 12, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
MONDAYS_AT_THREE = ScheduleTrigger(cron="0 3 * * 1")


def policy(**triggers: object) -> Policy:
    return Policy("flights", Triggers(**triggers))  # type: ignore[arg-type]


ON_UPLOAD = policy(upload=UploadTrigger(min_new_rows=100, settle=timedelta(0)))


def arrival(entry: str = "a", rows: int = 100, ago: timedelta = HOUR, matures: datetime | None = None) -> Arrival:
    return Arrival(entry, NOW - ago, rows, matures)


def run(number: int = 1, ended: datetime | None = NOW - 10 * HOUR, outcome: str = "champion", **more: object) -> Run:
    started = (ended or NOW) - HOUR
    return replace(Run(number, "upload", "same", started, ended, outcome if ended else ""), **more)  # type: ignore[arg-type]


def observed(**more: object) -> Observed:
    before = Observed(wall=NOW, training_digest="same", ingested=3, since=NOW - 1000 * HOUR, champion=1)
    return replace(before, **{"champion_digest": "same", **more})  # type: ignore[arg-type]


def test_enough_new_rows_start_a_run_on_what_arrived_in_order() -> None:
    verdict = decide(ON_UPLOAD, observed(arrivals=(arrival("a", 60), arrival("b", 40))), NOW)

    assert verdict == StartRun(
        "upload",
        ("a", "b"),
        {"upload": {"newRows": 100, "minNewRows": 100, "objects": 2}, "newRows": 100, "champion": 1},
    )


def test_one_row_too_few_waits_and_says_how_many_are_missing() -> None:
    assert decide(ON_UPLOAD, observed(arrivals=(arrival(rows=99),)), NOW) == Wait(None, "99 of 100 new labelled rows")


def test_rows_that_a_failed_run_was_offered_are_not_new() -> None:
    failed = run(outcome="failed")

    assert decide(ON_UPLOAD, observed(runs=(failed,), arrivals=()), NOW) == Ignore("nothing new since the last run")


def test_young_labels_wait_until_the_first_of_them_matures() -> None:
    young = arrival("young", 50, matures=NOW + 2 * HOUR)

    verdict = decide(ON_UPLOAD, observed(arrivals=(arrival("old", 60), young)), NOW)

    assert verdict == Wait(NOW + 2 * HOUR, "60 of 100 new labelled rows, 50 more are too young (data.labels.maturity)")
    assert isinstance(decide(ON_UPLOAD, observed(arrivals=(arrival("old", 60), young)), NOW + 2 * HOUR), StartRun)


def test_a_run_takes_mature_objects_only() -> None:
    verdict = decide(ON_UPLOAD, observed(arrivals=(arrival("old"), arrival("young", matures=NOW + HOUR))), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.entries == ("old",)


SETTLING = policy(upload=UploadTrigger(min_new_rows=100, settle=timedelta(seconds=30)))


def test_a_batch_stays_open_while_objects_arrive() -> None:
    arrivals = (arrival("a", ago=timedelta(seconds=40)), arrival("b", ago=timedelta(seconds=20)))

    verdict = decide(SETTLING, observed(arrivals=arrivals), NOW)

    assert isinstance(verdict, Wait)
    assert (verdict.until, verdict.clock) == (NOW + timedelta(seconds=10), "wall")


def test_an_object_that_is_not_taken_in_yet_keeps_the_batch_open() -> None:
    seen = observed(arrivals=(arrival(ago=HOUR),), arriving=(NOW - timedelta(seconds=1),))

    assert isinstance(decide(SETTLING, seen, NOW), Wait)


def test_a_quiet_batch_closes() -> None:
    assert isinstance(decide(SETTLING, observed(arrivals=(arrival(ago=timedelta(seconds=30)),)), NOW), StartRun)


def test_a_batch_that_never_gets_quiet_closes_after_ten_times_settle() -> None:
    def since(seconds: int) -> Observed:
        return observed(
            arrivals=tuple(arrival(str(s), ago=timedelta(seconds=s)) for s in range(seconds, 0, -20)),
        )

    assert isinstance(decide(SETTLING, since(280), NOW), Wait)
    assert isinstance(decide(SETTLING, since(300), NOW), StartRun)


def test_an_old_remainder_does_not_close_the_batch_that_arrives_now() -> None:
    arrivals = (arrival("last week", 99, ago=168 * HOUR), arrival("now", 100, ago=timedelta(seconds=1)))

    assert isinstance(decide(SETTLING, observed(arrivals=arrivals), NOW), Wait)


def test_settle_is_measured_on_the_wall_clock_whatever_the_policy_clock_says() -> None:
    replayed = observed(wall=datetime(2026, 1, 1, tzinfo=UTC), arrivals=(arrival(),))

    assert isinstance(decide(SETTLING, replayed, NOW - 1000 * HOUR), StartRun)


def test_a_slot_missed_four_times_fires_once() -> None:
    weekly = policy(schedule=MONDAYS_AT_THREE)
    late = observed(runs=(run(ended=NOW - timedelta(weeks=4)),))

    verdict = decide(weekly, late, NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.reason == "schedule"
    assert verdict.evidence["schedule"]["due"].startswith("2012-05-07T03:0")
    after = observed(runs=(run(ended=NOW, started=NOW - HOUR),))
    assert isinstance(decide(weekly, after, NOW), Wait)


def test_the_schedule_says_when_it_falls_due_next() -> None:
    verdict = decide(policy(schedule=MONDAYS_AT_THREE), observed(runs=(run(),)), NOW)

    assert isinstance(verdict, Wait)
    assert verdict.until is not None
    assert datetime(2012, 5, 14, 3, tzinfo=UTC) <= verdict.until < datetime(2012, 5, 14, 3, 10, tzinfo=UTC)
    assert isinstance(decide(policy(schedule=MONDAYS_AT_THREE), observed(runs=(run(),)), verdict.until), StartRun)


def test_slots_before_the_first_data_were_not_missed() -> None:
    assert isinstance(decide(policy(schedule=MONDAYS_AT_THREE), observed(since=NOW - HOUR), NOW), Wait)


def test_two_hundred_models_on_one_schedule_start_at_different_moments() -> None:
    schedule = Triggers(schedule=MONDAYS_AT_THREE)
    dues = {
        verdict.until
        for number in range(200)
        if isinstance(verdict := decide(Policy(f"model-{number}", schedule), observed(runs=(run(),)), NOW), Wait)
    }
    # 200 draws from 600 seconds: about 170 differ; a constant jitter would give one.
    assert len(dues) > 150


def test_a_changed_recipe_fires_without_new_data() -> None:
    verdict = decide(policy(), observed(training_digest="new", runs=(run(),)), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.reason == "trainingDigest"
    assert verdict.evidence["trainingDigest"] == {"from": "same", "to": "new"}


def test_a_rejected_recipe_does_not_fire_again() -> None:
    rejected = run(2, outcome="rejected", training_digest="new")

    assert isinstance(decide(policy(), observed(training_digest="new", runs=(run(), rejected)), NOW), Ignore)


def test_going_back_to_the_recipe_of_the_champion_is_no_change() -> None:
    rejected = run(2, outcome="rejected", training_digest="new")

    assert isinstance(decide(policy(), observed(runs=(run(), rejected)), NOW), Ignore)


def test_going_back_to_an_older_recipe_fires() -> None:
    now_champion = run(2, training_digest="new")

    assert isinstance(decide(policy(), observed(champion_digest="new", runs=(run(), now_champion)), NOW), StartRun)


def test_a_model_without_a_run_is_not_started_by_its_recipe() -> None:
    first = observed(training_digest="new", champion=None, champion_digest="")

    assert isinstance(decide(policy(), first, NOW), Ignore)


def test_a_first_model_is_trained_like_any_other() -> None:
    verdict = decide(ON_UPLOAD, observed(champion=None, champion_digest="", arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.evidence["champion"] is None


def test_everything_waits_while_a_run_goes_on_and_says_that_it_joins_the_next() -> None:
    busy = observed(runs=(run(7, ended=None),), arrivals=(arrival(),), requests=("r",))

    verdict = decide(ON_UPLOAD, busy, NOW)

    assert verdict == Wait(None, "decision 7 is being executed; what arrives meanwhile joins the next run")


def test_somebodys_own_run_through_the_sdk_holds_nothing_up() -> None:
    theirs = run(7, ended=None, reason="sdk")

    assert isinstance(decide(ON_UPLOAD, observed(runs=(theirs,), arrivals=(arrival(),)), NOW), StartRun)


def test_cooldown_counts_from_the_end_of_the_last_run_whatever_its_outcome() -> None:
    cooling = policy(upload=ON_UPLOAD.triggers.upload, cooldown=6 * HOUR)
    for outcome in ("champion", "rejected", "failed", "superseded", "fixData"):
        just = observed(runs=(run(ended=NOW - 5 * HOUR, outcome=outcome),), arrivals=(arrival(),))
        verdict = decide(cooling, just, NOW)
        assert isinstance(verdict, Wait), outcome
        assert verdict.until == NOW + HOUR
        assert isinstance(decide(cooling, just, NOW + HOUR), StartRun)


def test_on_demand_is_exempt_from_cooldown_back_off_and_the_data_veto() -> None:
    asked = observed(
        runs=(run(ended=NOW, outcome="failed"),), requests=("r1", "r2"), fix_data="s3://in/july.csv: temp in Fahrenheit"
    )

    verdict = decide(policy(cooldown=6 * HOUR), asked, NOW)

    assert isinstance(verdict, StartRun)
    assert (verdict.reason, verdict.evidence["onDemand"]) == ("onDemand", {"requests": ["r1", "r2"]})


def test_on_demand_takes_what_has_arrived_even_if_it_is_little() -> None:
    verdict = decide(ON_UPLOAD, observed(arrivals=(arrival(rows=1),), requests=("r",)), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.entries == ("a",)


def test_on_demand_waits_for_the_first_data() -> None:
    verdict = decide(policy(), observed(ingested=0, requests=("r",)), NOW)

    assert verdict == Wait(None, "onDemand: no labelled rows have been ingested yet")


def test_data_to_be_fixed_vetoes_upload_schedule_and_a_changed_recipe() -> None:
    vetoed = {"fix_data": "s3://in/july.csv: temp in Fahrenheit", "runs": (run(ended=NOW - timedelta(weeks=3)),)}
    for trigger, more in (
        (ON_UPLOAD, {"arrivals": (arrival(),)}),
        (policy(schedule=MONDAYS_AT_THREE), {}),
        (policy(), {"training_digest": "new"}),
    ):
        assert isinstance(decide(trigger, observed(**more, runs=vetoed["runs"]), NOW), StartRun)
        verdict = decide(trigger, observed(**vetoed, **more), NOW)
        assert isinstance(verdict, Wait)
        assert verdict.until is None
        assert "s3://in/july.csv: temp in Fahrenheit" in verdict.reason


@pytest.mark.parametrize(("bad", "hours"), [(1, 6), (2, 12), (3, 24), (4, 48), (6, 168), (20, 168)])
def test_back_off_doubles_from_the_cooldown_to_a_week(bad: int, hours: int) -> None:
    cooling = policy(upload=ON_UPLOAD.triggers.upload, cooldown=6 * HOUR)
    runs = tuple(run(n, ended=NOW, outcome="rejected" if n % 2 else "failed") for n in range(1, bad + 1))

    verdict = decide(cooling, observed(runs=runs, arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + hours * HOUR


def test_back_off_without_a_cooldown_starts_at_five_minutes() -> None:
    verdict = decide(ON_UPLOAD, observed(runs=(run(ended=NOW, outcome="failed"),), arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + timedelta(minutes=5)


def test_a_success_ends_the_back_off() -> None:
    runs = (run(1, ended=NOW, outcome="failed"), run(2, ended=NOW, outcome="champion"))

    assert isinstance(decide(ON_UPLOAD, observed(runs=runs, arrivals=(arrival(),)), NOW), StartRun)


def test_a_changed_recipe_is_tried_without_back_off() -> None:
    failed = tuple(run(n, ended=NOW, outcome="failed") for n in (1, 2, 3))

    assert isinstance(decide(policy(), observed(runs=failed, training_digest="mended"), NOW), StartRun)


def test_runs_per_day_wait_until_the_oldest_leaves_the_day() -> None:
    daily = policy(upload=ON_UPLOAD.triggers.upload, budget=Budget(runs_per_day=2))
    runs = (run(1, started=NOW - 30 * HOUR), run(2, started=NOW - 20 * HOUR), run(3, started=NOW - 10 * HOUR))

    verdict = decide(daily, observed(runs=runs, arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + 4 * HOUR
    assert isinstance(decide(daily, observed(runs=runs, arrivals=(arrival(),)), NOW + 4 * HOUR), StartRun)


def test_training_seconds_count_failed_runs_and_wait_until_enough_of_them_leave_the_day() -> None:
    hour_a_day = policy(upload=ON_UPLOAD.triggers.upload, budget=Budget(training_seconds_per_day=3600.0))
    runs = (
        run(1, ended=NOW - 20 * HOUR, training_seconds=100.0),
        run(2, ended=NOW - 15 * HOUR, training_seconds=2000.0, outcome="failed"),
        run(3, ended=NOW - 2 * HOUR, training_seconds=3000.0),
    )

    verdict = decide(hour_a_day, observed(runs=runs, arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + 9 * HOUR
    assert isinstance(decide(hour_a_day, observed(runs=runs, arrivals=(arrival(),)), verdict.until), StartRun)


def test_on_demand_stays_within_the_budget() -> None:
    spent = observed(runs=(run(ended=NOW),), requests=("r",))

    assert isinstance(decide(policy(budget=Budget(runs_per_day=1)), spent, NOW), Wait)


def test_suspend_triggers_nothing() -> None:
    suspended = replace(ON_UPLOAD, suspend=True)

    assert isinstance(decide(suspended, observed(arrivals=(arrival(),), requests=("r",)), NOW), Ignore)


def test_several_triggers_at_once_make_one_run_with_all_their_evidence() -> None:
    both = policy(upload=ON_UPLOAD.triggers.upload, schedule=MONDAYS_AT_THREE)
    seen = observed(arrivals=(arrival(),), runs=(run(ended=NOW - timedelta(weeks=2)),), requests=("r",))

    verdict = decide(both, seen, NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.reason == "onDemand"
    assert {"onDemand", "schedule", "upload"} <= verdict.evidence.keys()


def test_a_spec_without_triggers_says_how_to_train() -> None:
    verdict = decide(policy(), observed(arrivals=(arrival(),)), NOW)

    assert verdict == Ignore("the spec sets no trigger: it is trained on demand alone")


WORSE = Sign(("performance/v1/9000",), "roc_auc is below 0.61 for certain, 0.65 is needed", {"bound": 0.61})
MOVED = Sign(
    ("entry-7",), "uploads: a batch further from the reference than its own 13 are (heat)", {"uploadsPerYear": 26}
)
MEASURED = policy(drift=DriftTrigger(), performance=PerformanceTrigger(metric="roc_auc", worse_than=0.65))


def test_a_champion_proven_worse_starts_a_run_on_what_is_new() -> None:
    verdict = decide(MEASURED, observed(performance=WORSE, arrivals=(arrival(rows=5),)), NOW)

    assert isinstance(verdict, StartRun)
    assert (verdict.reason, verdict.entries) == ("performance", ("a",))
    assert verdict.evidence["performance"] == {
        "signs": ["performance/v1/9000"],
        "found": ["roc_auc is below 0.61 for certain, 0.65 is needed"],
        "bound": 0.61,
    }


def test_drift_starts_a_run() -> None:
    verdict = decide(MEASURED, observed(drift=(MOVED,), arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.reason == "drift"


def test_both_together_start_one_run_with_both_as_its_evidence() -> None:
    both = policy(
        **{name: getattr(MEASURED.triggers, name) for name in ("drift", "performance")}, upload=UploadTrigger()
    )

    verdict = decide(both, observed(performance=WORSE, drift=(MOVED,), arrivals=(arrival(ago=HOUR),)), NOW)

    assert isinstance(verdict, StartRun)
    assert verdict.reason == "performance"
    assert {"performance", "drift", "upload"} <= verdict.evidence.keys()


@pytest.mark.parametrize("outcome", ["champion", "rejected", "failed", "fixData"])
def test_the_same_evidence_fires_once_whatever_became_of_the_run(outcome: str) -> None:
    used = frozenset({*WORSE.ids, *MOVED.ids})
    later = observed(performance=WORSE, drift=(MOVED,), spent=used, runs=(run(outcome=outcome),), arrivals=(arrival(),))

    assert isinstance(decide(MEASURED, later, NOW + 1000 * HOUR), Ignore)


def test_newer_evidence_fires_again_after_a_rejection_and_its_back_off() -> None:
    newer = Sign(("performance/v1/14000",), "roc_auc is below 0.6 for certain")
    seen = observed(
        performance=newer, spent=frozenset(WORSE.ids), runs=(run(ended=NOW, outcome="rejected"),), arrivals=(arrival(),)
    )

    held = decide(MEASURED, seen, NOW + timedelta(minutes=4))
    assert isinstance(held, Wait)
    assert held.reason.startswith("performance: the last run came to nothing")
    assert isinstance(decide(MEASURED, seen, NOW + timedelta(minutes=5)), StartRun)


def test_without_the_triggers_what_was_measured_is_evidence_only() -> None:
    assert isinstance(decide(policy(), observed(performance=WORSE, drift=(MOVED,), arrivals=(arrival(),)), NOW), Ignore)


def test_with_nothing_new_to_learn_a_proof_waits_and_says_for_what() -> None:
    assert decide(MEASURED, observed(performance=WORSE), NOW) == Wait(
        None, f"performance: {WORSE.sentence}; there are no new labelled rows to learn it from"
    )
    young = observed(drift=(MOVED,), arrivals=(arrival(matures=NOW + HOUR),))
    verdict = decide(MEASURED, young, NOW)
    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + HOUR
    assert isinstance(decide(MEASURED, young, NOW + HOUR), StartRun)


def test_data_to_be_fixed_holds_drift_and_performance_up_too() -> None:
    seen = observed(performance=WORSE, drift=(MOVED,), arrivals=(arrival(),), fix_data="s3://in/july.csv: unit changed")

    verdict = decide(MEASURED, seen, NOW)

    assert isinstance(verdict, Wait)
    assert "the data has to be fixed" in verdict.reason


def test_a_rollout_that_carries_weight_is_waited_for_by_every_trigger() -> None:
    busy = "rollout flights-v7 carries 25 % of the traffic (Canary)"
    by_upload = decide(ON_UPLOAD, observed(arrivals=(arrival(),), rollout=busy), NOW)
    by_hand = decide(ON_UPLOAD, observed(requests=("a",), rollout=busy), NOW)

    assert by_upload == Wait(None, f"upload: {busy}")
    assert by_hand == Wait(None, f"onDemand: {busy}")


def test_after_a_rollback_the_next_run_backs_off_as_after_a_rejection() -> None:
    back = run(outcome="rolledBack", ended=NOW - timedelta(minutes=1))

    verdict = decide(ON_UPLOAD, observed(runs=(back,), arrivals=(arrival(),)), NOW)

    assert isinstance(verdict, Wait)
    assert "the last run came to nothing" in verdict.reason
