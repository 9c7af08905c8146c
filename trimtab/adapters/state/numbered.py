"""
A numbered log: `kind/%020d.json`, create-only, without gaps.

The create of number N+1 is the lock: who is refused reads what came, and decides again. What was read once is never
read again, so that following a log costs one listing of its tail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.objects import Objects
from trimtab.core.errors import Conflict
from trimtab.core.records import Record

R = TypeVar("R", bound=Record)


class Numbered(Generic[R]):
    """Records of one kind by number."""

    def __init__(self, objects: Objects, layout: Layout, kind: str, record: type[R]) -> None:
        self._objects = objects
        self._layout = layout
        self.kind = kind
        self._record = record
        self._known: dict[int, R] = {}
        self._whole = 0  # every number up to here is known
        self._lock = threading.Lock()

    def key(self, number: int) -> str:
        return self._layout.numbered(self.kind, number)

    def all(self) -> dict[int, R]:
        """Every record by number, ascending, as the store shows it now."""
        with self._lock:
            unknown = [number for number in self.numbers(self._whole) if number not in self._known]
            for number, body in zip(unknown, self._objects.get_all(map(self.key, unknown)), strict=True):
                self._known[number] = self._record.from_json(body, self.key(number))
            while self._whole + 1 in self._known:
                self._whole += 1
            return dict(sorted(self._known.items()))

    def numbers(self, after: int = 0) -> list[int]:
        """The numbers beyond one, ascending, as the store shows them now."""
        start_after = self.key(after) if after else ""
        keys = [info.key for info in self._objects.bucket.list(self._layout.numbered(self.kind), start_after)]
        # Only our own: a person may have left something else there.
        names = [(key, key.rsplit("/", 1)[-1].removesuffix(".json")) for key in keys]
        return [int(name) for key, name in names if name.isdecimal() and self.key(int(name)) == key]

    def _known_so_far(self) -> dict[int, R]:
        """What is known without asking; the store is asked where that is nothing, or has gaps."""
        with self._lock:
            if self._known and max(self._known) == len(self._known):
                return dict(self._known)
        return self.all()

    def find(self, number: int) -> R | None:
        with self._lock:
            if number not in self._known:
                body = self._objects.find(self.key(number))
                if body is None:
                    return None
                self._known[number] = self._record.from_json(body, self.key(number))
            return self._known[number]

    def create(self, number: int, record: R) -> None:
        """
        Raises:
            Conflict: If the number is taken by another record.
        """
        self._objects.create(self.key(number), record.to_json())
        with self._lock:
            self._known[number] = record

    def append(
        self, build: Callable[[int, dict[int, R]], R | None], attempts: int, read_first: bool = True
    ) -> R | None:
        """
        Append what `build` makes of the next number and all records so far; None appends nothing.

        Each refusal means that another writer got on, so that a bounded number of attempts is enough.

        Args:
            read_first: False tries the number after the last one known before it lists: one request less where
                others seldom write. `build` may then see records short of what others wrote, and it is asked again.

        Raises:
            Conflict: If other writers were first each time.
        """
        for attempt in range(attempts):
            known = self.all() if read_first or attempt else self._known_so_far()
            number = max(known, default=0) + 1
            record = build(number, known)
            if record is None:
                return None
            try:
                self.create(number, record)
            except Conflict:
                continue
            return record
        raise Conflict(
            f"other writers took the next number of {self._layout.numbered(self.kind)} {attempts} times", "try again"
        )
