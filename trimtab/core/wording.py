"""How numbers of things and stretches of time are said."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """
    A number with its noun, which takes an s for all but one.

    >>> counted(1, "new object"), counted(2300, "row"), counted(0, "row")
    ('1 new object', '2,300 rows', '0 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """
    A stretch of time to about two digits, in the unit that fits.

    >>> [lasting(each) for each in (0.4, 59, 600, 5_400, 20_000, 200_000, 3_000_000)]
    ['1 s', '59 s', '10 min', '1.5 h', '5.6 h', '2.3 days', '35 days']
    """
    for unit, length in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 1.5 * length or (unit != "days" and seconds >= length):
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}".replace(".0 ", " ")
    return f"{max(1, round(seconds))} s"
