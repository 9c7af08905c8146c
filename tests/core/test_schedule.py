"""Cron on the policy clock: time zones, the hours that clocks skip and repeat, jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.schedule import due, jitter, next_due

BERLIN = "Europe/Berlin"
YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def slots(cron: str, zone: str, start: datetime, days: int) -> list[datetime]:
    """All moments at which it falls due, without the jitter."""
    found, now = [], start
    late = next_due(cron, zone, "m", start) - next_due(cron, zone, "m", start).replace(second=0, microsecond=0)
    while (now := next_due(cron, zone, "m", now)) < start + timedelta(days=days):
        found.append(now - late)
    return found


def test_local_time_follows_the_zone_through_the_year() -> None:
    winter = next_due("0 3 * * *", BERLIN, "m", datetime(2026, 1, 10, tzinfo=UTC))
    summer = next_due("0 3 * * *", BERLIN, "m", datetime(2026, 7, 10, tzinfo=UTC))

    assert (winter.hour, summer.hour) == (2, 1)


def test_a_slot_in_the_skipped_hour_of_spring_comes_right_after_it() -> None:
    due_at = next_due("30 2 * * *", BERLIN, "m", datetime(2026, 3, 28, 12, tzinfo=UTC))

    # 02:30 does not exist on 29 March; 03:00 summer time is 01:00 UTC.
    assert datetime(2026, 3, 29, 1, tzinfo=UTC) <= due_at < datetime(2026, 3, 29, 1, 40, tzinfo=UTC)


def test_a_daily_slot_in_the_repeated_hour_of_autumn_comes_once() -> None:
    days = [when.date() for when in slots("30 2 * * *", BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC), 4)]

    assert len(days) == len(set(days)) == 4


def test_an_hourly_slot_comes_in_both_of_the_repeated_hours() -> None:
    assert len(slots("0 * * * *", BERLIN, datetime(2026, 10, 24, 22, 30, tzinfo=UTC), 1)) == 24


@settings(deadline=None)
@given(
    st.sampled_from(["0 3 * * 1", "*/15 * * * *", "30 2 * * *", "0 0 1 * *", "0 12 * * 1-5"]),
    st.sampled_from([BERLIN, "Etc/UTC", "America/New_York", "Australia/Lord_Howe"]),
    st.text("abc-", min_size=1, max_size=5),
    st.integers(0, 365 * 24 * 60),
)
def test_what_comes_next_is_due_when_it_has_come_and_not_before(cron: str, zone: str, name: str, minutes: int) -> None:
    now = YEAR + timedelta(minutes=minutes)
    coming = next_due(cron, zone, name, now)

    assert coming > now
    assert due(cron, zone, name, now, coming) == coming
    assert due(cron, zone, name, now, coming - timedelta(seconds=1)) is None
    assert due(cron, zone, name, coming, coming) is None


@given(st.text(max_size=8), st.integers(60, 10**7))
def test_jitter_stays_below_ten_minutes_and_a_tenth_of_the_interval(name: str, seconds: int) -> None:
    late = jitter(name, timedelta(seconds=seconds))

    assert timedelta(0) <= late < timedelta(minutes=10)
    assert late <= timedelta(seconds=seconds) / 10
