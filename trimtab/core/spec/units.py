"""Durations as people write them: `30s`, `10m`, `6h`, `1d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: object) -> timedelta:
    """
    A duration from a whole number and one unit.

    Raises:
        ValueError: For anything else.

    >>> parse_duration("2w").days
    14
    """
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"(\d+)([smhdw])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"found {value!r}; a duration is a whole number and a unit, such as 30s, 6h or 2w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
