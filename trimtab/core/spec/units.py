"""Values as people write them in a spec: durations, holdouts, cron lines, time zones, s3:// addresses."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
LONGEST = timedelta(weeks=5200)  # a century: beyond it, arithmetic with dates begins to overflow

DURATION_PATTERN = r"^[0-9]{1,12}[smhdw]$"
POSITIVE_PATTERN = r"^0*[1-9][0-9]*[smhdw]$"
HOLDOUT_PATTERN = r"^([0-9]{1,12}[smhdw]|[1-9][0-9]{0,11} rows?)$"
S3_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$"
# What Kubernetes' CronJob takes: no seconds, no @daily, none of croniter's own letters.
CRON_ITEM = re.compile(r"(\*|\?|[0-9]+(-[0-9]+)?|[a-z]{3}(-[a-z]{3})?)(/[0-9]+)?")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CRON_HINT = 'write minute hour day month weekday, such as "0 3 * * 1": Mondays at three'
CRON_NAMES = {*MONTHS, "sun", "mon", "tue", "wed", "thu", "fri", "sat"}


class Unfit(ValueError):
    """A text that is not such a value: what one is, and the next move."""

    def __init__(self, needed: str, hint: str) -> None:
        super().__init__(needed)
        self.hint = hint


def parse_duration(value: object) -> timedelta:
    """
    A duration from a whole number and one unit.

    Raises:
        ValueError: For anything else, and for more than a century.

    >>> parse_duration("2w").days
    14
    """
    if isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST and not value.microseconds:
        return value
    found = re.fullmatch(r"([0-9]{1,12})([smhdw])", value) if isinstance(value, str) else None
    if found is None:
        raise Unfit("a duration is a whole number and one unit of s, m, h, d, w", "write it as 30s, 10m, 6h, 1d or 2w")
    number, unit = int(found[1]), UNITS[found[2]]
    if number > LONGEST / timedelta(**{unit: 1}):
        raise Unfit("a duration is at most 5200w, a century", "shorten it")
    return timedelta(**{unit: number})


def format_duration(value: timedelta) -> str:
    """
    The shortest text that `parse_duration` reads back to the same value.

    >>> format_duration(timedelta(hours=36)), format_duration(timedelta(days=14)), format_duration(timedelta(0))
    ('36h', '2w', '0s')
    """
    seconds = int(value.total_seconds())
    for letter, unit in UNITS.items():
        count, rest = divmod(seconds, int(timedelta(**{unit: 1}).total_seconds()))
        if count and not rest:
            return f"{count}{letter}"
    return "0s"


def parse_holdout(value: object) -> timedelta | int:
    """
    A stretch of event time, or a number of newest rows.

    Raises:
        ValueError: For anything else, and for nothing held out.

    >>> parse_holdout("5000 rows"), parse_holdout("2w").days
    (5000, 14)
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 10**12:
        raise Unfit("a number needs its unit", f"write `{value} rows`, or a duration such as 2w")
    rows = re.fullmatch(r"([1-9][0-9]{0,11}) rows?", value) if isinstance(value, str) else None
    if rows is not None:
        return int(rows[1])
    try:
        held_out = parse_duration(value)
    except ValueError as error:
        raise Unfit("a holdout is a duration or a number of rows", "write it as 2w or as 5000 rows") from error
    if not held_out:
        raise Unfit("a holdout is longer than nothing: a candidate is judged on it", "write it as 2w or as 5000 rows")
    return held_out


def format_holdout(value: timedelta | int) -> str:
    """As it is written: `2w` or `5000 rows`."""
    return f"{value} rows" if isinstance(value, int) else format_duration(value)


def split_s3(address: str) -> tuple[str, str]:
    """
    Bucket and key of an s3:// address.

    Raises:
        ValueError: If it is not one.

    >>> split_s3("s3://flights/landing/a.csv")
    ('flights', 'landing/a.csv')
    """
    if not re.fullmatch(S3_PATTERN, address):
        raise Unfit(
            "an address is s3://BUCKET/KEY, its bucket 3 to 63 of a-z, 0-9, dots and hyphens",
            "write it as s3://my-bucket/landing/",
        )
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def check_prefix(address: str) -> str:
    """
    An s3:// address under which objects lie.

    Raises:
        ValueError: If it is none, or does not end its prefix: `landing` would match `landing-old/` too.
    """
    _, prefix = split_s3(address)
    if prefix and not prefix.endswith("/"):
        raise Unfit(f"a prefix ends with a slash: without it, {address}-old/ would match as well", f"write {address}/")
    return address


def check_cron(line: str) -> str:
    """
    Five cron fields, as a Kubernetes CronJob takes them.

    Raises:
        ValueError: If it is not that, or its day never comes.

    >>> check_cron("0 3 * * 1")
    '0 3 * * 1'
    """
    from croniter import CroniterBadDateError, CroniterError, croniter

    fields = line.split()
    if len(fields) != 5:
        raise Unfit(f"a cron line has five fields, this one has {len(fields)}", CRON_HINT)
    for field in fields:
        words = set(re.findall(r"[a-z]+", field.lower()))
        if not all(CRON_ITEM.fullmatch(item) for item in field.lower().split(",")) or words - CRON_NAMES:
            raise Unfit(f"the cron field {field!r} is not made of numbers, *, lists, ranges and steps", CRON_HINT)
    try:
        croniter(line, datetime(2024, 1, 1, tzinfo=UTC)).get_next()
    except CroniterBadDateError:
        raise Unfit("no day of the calendar ever matches this cron line", CRON_HINT) from None
    except (CroniterError, ValueError, KeyError) as error:
        raise Unfit(f"the cron line is out of range: {error}", CRON_HINT) from None
    return line


def check_time_zone(name: str) -> str:
    """
    A name of the IANA time zone database.

    Raises:
        ValueError: If there is none by that name; the nearest names are suggested.

    >>> check_time_zone("Etc/UTC")
    'Etc/UTC'
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, zoneinfo.available_timezones(), n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "write one such as Etc/UTC or Europe/Berlin"
        raise Unfit("a time zone is a name of the IANA database", hint) from None
    return name
