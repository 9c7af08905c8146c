"""Conditions as Kubernetes writes them: one of each type, with the moment at which its status last changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Truth = Literal["True", "False", "Unknown"]
MOST_MESSAGE = 32_768  # characters, the convention's limit


@dataclass(frozen=True, slots=True)
class Condition:
    """
    What is the case.

    Attributes:
        reason: One word in CamelCase, for programs.
        message: A sentence for people.
    """

    type: str
    status: Truth
    reason: str
    message: str = ""


def merged(
    before: Iterable[dict[str, Any]], conditions: Sequence[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """
    The list with these conditions in place of those of their types; other types stay as they are.

    Args:
        before: As the object has them.
        generation: Of the spec that was looked at.
        now: UTC.

    >>> day = datetime(2020, 1, 1, tzinfo=UTC)
    >>> first = merged([], [Condition("Ready", "False", "NoChampion")], 1, day)
    >>> merged(first, [Condition("Ready", "False", "Waiting")], 2, datetime(2021, 1, 1, tzinfo=UTC))[0]
    {'type': 'Ready', 'status': 'False', 'reason': 'Waiting', 'message': '', 'observedGeneration': 2, \
'lastTransitionTime': '2020-01-01T00:00:00Z'}
    """
    known = {each["type"]: each for each in before}
    for condition in conditions:
        held = known.get(condition.type) or {}
        same = held.get("status") == condition.status
        known[condition.type] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message[:MOST_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": held["lastTransitionTime"] if same else stamp(now),
        }
    return list(known.values())


def find(conditions: Iterable[dict[str, Any]], type: str) -> dict[str, Any] | None:
    """The condition of that type."""
    return next((each for each in conditions if each.get("type") == type), None)


def stamp(moment: datetime) -> str:
    """
    A moment as Kubernetes writes it: UTC, to the second.

    >>> stamp(datetime(2020, 1, 1, 12, 30, 15, 999, tzinfo=UTC))
    '2020-01-01T12:30:15Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
