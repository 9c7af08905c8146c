"""What stands against training although a trigger fires: data to be fixed, cooldown, back-off, budget."""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.core.spec.model import Budget
from trimtab.core.spec.units import format_duration
from trimtab.core.triggering import Observed, Policy, Run, Wait

DAY = timedelta(hours=24)  # the budget's sliding window
BACK_OFF_LEAST = timedelta(minutes=5)  # after one bad outcome, where no longer cooldown is set
BACK_OFF_MOST = timedelta(days=7)  # doubling stops here: a week of silence is noticed
BAD = frozenset({"rejected", "failed", "rolledBack"})  # outcomes after which only newer evidence fires, and later


def held_back(policy: Policy, observed: Observed, now: datetime) -> Wait | None:
    """What stands against every trigger but a person's: data to be fixed, back-off, cooldown."""
    if observed.fix_data:
        return Wait(None, f"the data has to be fixed first: {observed.fix_data}")
    ended = [run.ended for run in observed.runs if run.ended is not None]
    if not ended:
        return None
    cooldown = policy.triggers.cooldown
    bad = _bad_in_a_row(observed)
    patience = max(ended) + _back_off(bad, cooldown)
    if now < patience:
        runs = "the last run came" if bad == 1 else f"the last {bad} runs came"
        return Wait(patience, f"{runs} to nothing; the next may start at {patience:%Y-%m-%d %H:%M} UTC")
    cools = max(ended) + cooldown
    if now < cools:
        return Wait(cools, f"cooldown of {format_duration(cooldown)} until {cools:%Y-%m-%d %H:%M} UTC")
    return None


def _bad_in_a_row(observed: Observed) -> int:
    """Newest runs that came to nothing, under the recipe as it is now: a changed recipe starts afresh."""
    bad = 0
    for run in reversed(observed.runs):
        if run.outcome not in BAD or run.training_digest != observed.training_digest:
            break
        bad += 1
    return bad


def _back_off(bad: int, cooldown: timedelta) -> timedelta:
    """Doubles with each bad outcome, from the cooldown (at least 5 minutes) to a week (at least the cooldown)."""
    if bad == 0:
        return timedelta(0)
    unit = max(cooldown, BACK_OFF_LEAST)
    # 12 doublings of 5 minutes exceed the week already; the bound keeps the number small.
    return min(unit * 2.0 ** min(bad - 1, 12), max(cooldown, BACK_OFF_MOST))


def over_budget(budget: Budget, runs: tuple[Run, ...], now: datetime) -> Wait | None:
    """Whether the last 24 hours have had their share of runs or of training seconds; failed runs count."""
    free = max(_runs_free(budget, runs, now), _seconds_free(budget, runs, now))
    if free <= now:
        return None
    return Wait(free, f"the budget of 24 hours is used up until {free:%Y-%m-%d %H:%M} UTC")


def _runs_free(budget: Budget, runs: tuple[Run, ...], now: datetime) -> datetime:
    """When fewer than `runsPerDay` runs will have started within 24 hours: `now` when they already have."""
    started = sorted(run.started for run in runs if run.started > now - DAY)
    if budget.runs_per_day is None or len(started) < budget.runs_per_day:
        return now
    return started[-budget.runs_per_day] + DAY


def _seconds_free(budget: Budget, runs: tuple[Run, ...], now: datetime) -> datetime:
    """When less than `trainingSecondsPerDay` will have been spent within 24 hours: `now` when it already is."""
    allowed = budget.training_seconds_per_day
    spent = [(run.ended, run.training_seconds) for run in runs if run.ended is not None and run.ended > now - DAY]
    left, free = sum(seconds for _, seconds in spent), now
    for ended, seconds in sorted(spent):
        if allowed is None or left < allowed:
            break
        left, free = left - seconds, ended + DAY
    return free
