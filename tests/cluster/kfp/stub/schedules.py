"""Cron as robfig/cron v1 reads it: seconds first, five fields or six."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

BOUNDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 6),
)
MONTHS = {
    name: n
    for n, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
WEEKDAYS = {name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
WORDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
UNITS = {"h": 3600, "m": 60, "s": 1}


class Schedule:
    """Raises ValueError with robfig's own words if it is none."""

    def __init__(self, text: str) -> None:
        self.every = 0
        if text.startswith("@every "):
            parts = re.findall(r"(\d+)([hms])", text)
            if not parts:
                raise ValueError(f"Failed to parse duration {text}")
            self.every = sum(int(number) * UNITS[unit] for number, unit in parts)
            return
        fields = WORDS.get(text, text).split()
        if not 5 <= len(fields) <= 6:
            raise ValueError(f"Expected 5 to 6 fields, found {len(fields)}: {text}")
        fields = [*fields, "*"][:6]
        names = ({}, {}, {}, {}, MONTHS, WEEKDAYS)
        self.fields = [
            values(field, low, high, words) for field, (_, low, high), words in zip(fields, BOUNDS, names, strict=True)
        ]
        self.any_day, self.any_weekday = fields[3] in "*?", fields[5] in "*?"

    def next(self, after: datetime) -> datetime:
        if self.every:
            return after + timedelta(seconds=self.every)
        seconds, minutes, hours, _, _, _ = self.fields
        moment = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for _ in range(366 * 5):
            if self._day(moment):
                for hour in sorted(h for h in hours if h >= moment.hour):
                    start = moment if hour == moment.hour else moment.replace(hour=hour, minute=0, second=0)
                    for minute in sorted(m for m in minutes if m >= start.minute):
                        floor = start.second if minute == start.minute else 0
                        fitting = [s for s in seconds if s >= floor]
                        if fitting:
                            return start.replace(minute=minute, second=min(fitting))
            moment = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        return datetime.max.replace(tzinfo=UTC)

    def _day(self, moment: datetime) -> bool:
        days, months, weekdays = self.fields[3:]
        day, weekday = moment.day in days, (moment.weekday() + 1) % 7 in weekdays
        either = (day and weekday) if self.any_day or self.any_weekday else (day or weekday)
        return moment.month in months and either


def values(field: str, low: int, high: int, words: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step_text = part.partition("/")
        step = number(step_text, {}) if step_text else 1
        if span in ("*", "?"):
            start, end = low, high
        else:
            first, dash, last = span.partition("-")
            start = number(first, words)
            end = number(last, words) if dash else (high if step_text else start)
        if start < low:
            raise ValueError(f"Beginning of range ({start}) below minimum ({low}): {part}")
        if end > high:
            raise ValueError(f"End of range ({end}) above maximum ({high}): {part}")
        if start > end:
            raise ValueError(f"Beginning of range ({start}) beyond end of range ({end}): {part}")
        found |= set(range(start, end + 1, step))
    return found


def number(text: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not text.isdecimal():
        raise ValueError(f'Failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
