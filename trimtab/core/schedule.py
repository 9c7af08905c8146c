"""When a cron schedule falls due, on the policy clock: slots in the schedule's own time zone, shifted by a jitter."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import croniter

MOST_JITTER = timedelta(minutes=10)  # enough to spread 200 models three seconds apart
JITTER_SHARE = 0.1  # of the time between two slots, so that a schedule of minutes stays one


def jitter(name: str, interval: timedelta) -> timedelta:
    """
    How long after its slot the model of that name starts: the same each time, spread evenly over names.

    Args:
        name: The model's name.
        interval: Time between two slots.

    Returns:
        Whole seconds, in [0, min(10 minutes, a tenth of the interval)).

    >>> jitter("flights", timedelta(days=7)) == jitter("flights", timedelta(days=7))
    True
    """
    most = int(min(MOST_JITTER, interval * JITTER_SHARE).total_seconds())
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return timedelta(seconds=drawn % most if most else 0)


def due(cron: str, time_zone: str, name: str, since: datetime, now: datetime) -> datetime | None:
    """
    The newest moment in (since, now] at which the schedule fell due; the ones before it are missed and not made up.

    Args:
        cron: Five fields, as in a CronJob; the spec has checked that they meet in some year.
        time_zone: IANA name; the fields are local time there. A slot in the hour that is skipped in spring comes
            right after it, one in the hour that is repeated in autumn comes once.
        name: The model's name, for the jitter.
        since: When the last run started; before the first one, when data first came.
        now: The policy clock.

    >>> day = datetime(2012, 5, 7, tzinfo=UTC)
    >>> due("0 3 * * 1", "Etc/UTC", "flights", day - timedelta(weeks=5), day + timedelta(hours=4)).date().isoformat()
    '2012-05-07'
    >>> due("0 3 * * 1", "Etc/UTC", "flights", day + timedelta(hours=4), day + timedelta(days=2)) is None
    True
    """
    late = jitter(name, _interval(cron, time_zone))
    slot = _slot(cron, time_zone, now - late + timedelta(seconds=1), forward=False)
    return slot + late if slot + late > since else None


def next_due(cron: str, time_zone: str, name: str, now: datetime) -> datetime:
    """The first moment after `now` at which the schedule falls due."""
    late = jitter(name, _interval(cron, time_zone))
    return _slot(cron, time_zone, now - late, forward=True) + late


@lru_cache(maxsize=256)
def _interval(cron: str, time_zone: str) -> timedelta:
    """The time between two slots; taken at a fixed date, so that the jitter does not move with the seasons."""
    start = datetime(2001, 1, 1, tzinfo=UTC)
    first = _slot(cron, time_zone, start, forward=True)
    return _slot(cron, time_zone, first, forward=True) - first


def _slot(cron: str, time_zone: str, moment: datetime, *, forward: bool) -> datetime:
    """The nearest slot strictly after (or before) the moment, in UTC."""
    slots = croniter(cron, moment.astimezone(ZoneInfo(time_zone)))
    hourly = cron.split()[1].startswith("*")
    while True:
        local: datetime = slots.get_next(datetime) if forward else slots.get_prev(datetime)
        # In autumn an hour comes twice (fold 1 is the second): a daily slot in it counts once, an hourly one twice.
        if hourly or not _repeated(local):
            return local.astimezone(UTC)


def _repeated(local: datetime) -> bool:
    """Whether this wall time was shown by the clocks an hour ago already."""
    return local.fold == 1 and local.utcoffset() != local.replace(fold=0).utcoffset()
