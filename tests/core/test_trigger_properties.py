"""What holds of every decision, whatever the policy and the past: a season of arrivals, played by hypothesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.spec.model import Budget, ScheduleTrigger, Triggers, UploadTrigger
from trimtab.core.trigger import decide
from trimtab.core.triggering import Arrival, Ignore, Observed, Policy, Run, StartRun, Wait

START = datetime(2012, 1, 2, tzinfo=UTC)
DAY = timedelta(hours=24)

hours = st.integers(0, 72).map(lambda h: timedelta(hours=h))
policies = st.builds(
    Policy,
    name=st.sampled_from(["flights", "bikeshare"]),
    triggers=st.builds(
        Triggers,
        upload=st.none() | st.builds(UploadTrigger, min_new_rows=st.integers(1, 300), settle=st.just(timedelta(0))),
        schedule=st.none() | st.builds(ScheduleTrigger, cron=st.sampled_from(["0 3 * * *", "*/30 * * * *"])),
        cooldown=hours,
        budget=st.builds(
            Budget,
            runs_per_day=st.none() | st.integers(1, 4),
            training_seconds_per_day=st.none() | st.sampled_from([1.0, 50.0, 100.0]),
        ),
    ),
)
# One step of a season: time passes, an object may arrive, a request may be made, the recipe may change.
steps = st.lists(
    st.tuples(
        st.integers(1, 48 * 60),  # minutes until it
        st.integers(0, 200),  # rows that arrive; 0: none
        st.booleans(),  # somebody asks for a run
        st.sampled_from(["", "", "", "s3://in/july.csv: unit changed"]),  # the newest report's fixData
        st.sampled_from(["A", "A", "A", "B"]),  # training digest
        st.sampled_from(["champion", "rejected", "failed"]),  # how a run started here ends
        st.integers(0, 90),  # training seconds of it
    ),
    min_size=1,
    max_size=30,
)


def play(
    policy: Policy, season: list[tuple[int, int, bool, str, str, str, int]]
) -> list[tuple[Observed, datetime, object]]:
    """Every observation with its verdict; runs are started as decided and end half an hour later."""
    now, seen, told = START, Observed(wall=START, training_digest="A", since=START), []
    for number, (minutes, rows, asked, fix, recipe, outcome, seconds) in enumerate(season, start=1):
        now += timedelta(minutes=minutes)
        if rows:
            seen = replace(
                seen, arrivals=(*seen.arrivals, Arrival(f"e{number}", now, rows)), ingested=seen.ingested + 1
            )
        requests = (*seen.requests, f"r{number}") if asked else seen.requests
        seen = replace(seen, wall=now, requests=requests, fix_data=fix, training_digest=recipe)
        verdict = decide(policy, seen, now)
        told.append((seen, now, verdict))
        if isinstance(verdict, StartRun):
            ended = now + timedelta(minutes=30)
            done = Run(number, verdict.reason, recipe, now, ended, outcome, float(seconds))
            left = tuple(a for a in seen.arrivals if a.entry not in verdict.entries)
            answered = () if verdict.reason == "onDemand" else seen.requests
            seen = replace(seen, runs=(*seen.runs, done), arrivals=left, requests=answered)
            now = ended
    return told


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_no_run_starts_in_the_cooldown_unless_somebody_asked_for_it(policy: Policy, season: list) -> None:
    for seen, now, verdict in play(policy, season):
        if isinstance(verdict, StartRun) and verdict.reason != "onDemand":
            assert all(run.ended is None or run.ended + policy.triggers.cooldown <= now for run in seen.runs)


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_the_budget_of_no_24_hours_is_exceeded(policy: Policy, season: list) -> None:
    budget = policy.triggers.budget
    for seen, now, verdict in play(policy, season):
        if not isinstance(verdict, StartRun):
            continue
        within = [run for run in seen.runs if run.started > now - DAY]
        assert budget.runs_per_day is None or len(within) < budget.runs_per_day
        spent = sum(run.training_seconds for run in seen.runs if run.ended is not None and run.ended > now - DAY)
        assert budget.training_seconds_per_day is None or spent < budget.training_seconds_per_day


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_no_object_is_offered_twice(policy: Policy, season: list) -> None:
    offered = [e for _, _, verdict in play(policy, season) if isinstance(verdict, StartRun) for e in verdict.entries]

    assert len(offered) == len(set(offered))


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_data_to_be_fixed_stops_all_but_a_person(policy: Policy, season: list) -> None:
    for seen, _, verdict in play(policy, season):
        if seen.fix_data:
            assert not isinstance(verdict, StartRun) or verdict.reason == "onDemand"


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_the_same_observations_give_the_same_decision(policy: Policy, season: list) -> None:
    for seen, now, verdict in play(policy, season):
        assert decide(policy, seen, now) == verdict


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_a_wait_names_a_moment_to_come_at_which_the_answer_is_another(policy: Policy, season: list) -> None:
    for seen, now, verdict in play(policy, season):
        if isinstance(verdict, Wait) and verdict.until is not None:
            assert verdict.until > now
            assert decide(policy, replace(seen, wall=verdict.until), verdict.until) != verdict


@settings(max_examples=60, deadline=None)
@given(policies, steps)
def test_suspended_models_ignore_everything(policy: Policy, season: list) -> None:
    for seen, now, _ in play(policy, season):
        assert isinstance(decide(replace(policy, suspend=True), seen, now), Ignore)
