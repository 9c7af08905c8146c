"""How numbers of things are said."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """
    A number with its noun, which takes an s for all but one.

    >>> counted(1, "new object"), counted(2300, "row"), counted(0, "row")
    ('1 new object', '2,300 rows', '0 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
