"""A traffic split in memory: a test says which version gets ready, fails or crashes, and how requests are answered."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trimtab.core.errors import Unavailable
from trimtab.core.ports import Answer, Serving, ServingSeen
from trimtab.core.split import check, named, next_route


class MemoryTraffic:
    """
    `TrafficSplit` without processes.

    Args:
        ready_at_once: Whether a version is ready as soon as it is wanted; else `make_ready` makes it so.
        seed: Of the split of the requests.
        told_apart: As of the port; here it only says how the answers are read.

    Attributes:
        routes: Every split that the router had, in order.
        running: Versions whose processes run.
        unreachable: While it is not empty, every call raises Unavailable with it.
        stalled: While True the router takes no new split, as one that has not confirmed yet.
    """

    def __init__(self, ready_at_once: bool = True, seed: int = 0, told_apart: bool = False) -> None:
        self.told_apart = told_apart
        self.ready_at_once = ready_at_once
        self.routes: list[Serving] = []
        self.running: set[int] = set()
        self.unreachable = ""
        self.stalled = False
        self.wanted: Serving | None = None
        self._ready: set[int] = set()
        self._was_ready: set[int] = set()
        self._failing: dict[int, str] = {}
        self._restarts: dict[int, int] = {}
        self._answers: list[Answer] = []
        self._chance = random.Random(seed)  # noqa: S311
        self._sent = 0

    # The port

    def want(self, serving: Serving) -> None:
        self._reach()
        check(serving)
        self.wanted = serving
        for version in named(serving):
            if version not in self.running:
                self.running.add(version)
                if self.ready_at_once and version not in self._failing:
                    self._set_ready(version)
        self._move()

    def seen(self) -> ServingSeen:
        self._reach()
        route = self.routes[-1] if self.routes else None
        ready = frozenset(self._ready)
        if route is not None:
            route = replace(route, versions=tuple(sorted(ready)))
        return ServingSeen(
            route=route,
            ready=ready,
            failing=dict(self._failing),
            restarts=dict(self._restarts),
            down=frozenset(self.running - ready),
        )

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        self._reach()
        begin = int(position) if position else len(self._answers)
        found = self._answers[begin : begin + limit]
        return found, str(begin + len(found))

    # What a test steers

    def make_ready(self, version: int) -> None:
        """The version answers from now on."""
        self._failing.pop(version, None)
        if version in self.running:
            self._set_ready(version)
        self._move()

    def fail(self, version: int, why: str) -> None:
        """The version does not get ready, or no longer is, and says why."""
        self._failing[version] = why
        self._ready.discard(version)
        self._move()

    def crash(self, version: int) -> None:
        """The version's process ends by itself; it is started again, and ready once `make_ready` says so."""
        self._restarts[version] = self._restarts.get(version, 0) + 1
        self._ready.discard(version)
        self._move()

    def restart(self) -> None:
        """Everything ends, as by a restart of the platform: routes and processes are gone, the answers are kept."""
        self.routes.clear()
        self.running.clear()
        self._ready.clear()
        self._was_ready.clear()
        self.wanted = None

    def record(self, *answers: Answer) -> None:
        """Put these into the log, as they are."""
        self._answers += answers

    def send(
        self,
        requests: int,
        *,
        at: float,
        apart: float = 0.01,
        users: Sequence[str] = (),
        error_ratio: Mapping[int, float] | None = None,
        seconds: Mapping[int, float] | None = None,
    ) -> list[Answer]:
        """
        Requests through the split of now, written to the log and returned.

        Args:
            requests: How many.
            at: Wall seconds at which the first comes; the others follow `apart` seconds after one another.
            users: Taken in turn as values of the sticky header; a user keeps the variant.
            error_ratio: By version, the share of its requests that fail.
            seconds: By version, how long its answers take; 0.005 where nothing is said.

        Raises:
            Unavailable: If there is no route, as the gateway answers 503 then.
        """
        if not self.routes:
            raise Unavailable("no version serves", "want a champion first")
        found = []
        for number in range(requests):
            user = users[number % len(users)] if users else ""
            version = self._choose(user)
            dead = version not in self._ready
            failed = dead or self._chance.random() < (error_ratio or {}).get(version, 0.0)
            took = (seconds or {}).get(version, 0.005)
            self._sent += 1
            found.append(Answer(at + number * apart, version, failed, took, user, f"r{self._sent:08d}"))
        self._answers += found
        return found

    # Inside

    def _reach(self) -> None:
        if self.unreachable:
            raise Unavailable(self.unreachable, "try again")

    def _set_ready(self, version: int) -> None:
        self._ready.add(version)
        self._was_ready.add(version)

    def _choose(self, user: str) -> int:
        route = self.routes[-1]
        if route.challenger is None or route.shadow:
            return route.champion
        # Nested buckets: a user whose bucket is below 5 % is below 25 % too.
        sticky = route.sticky_header and user
        share = random.Random(f"{route.challenger} {user}").random() if sticky else self._chance.random()  # noqa: S311
        return route.challenger if 100 * share < route.weight_percent else route.champion

    def _move(self) -> None:
        """Give the router the next split; then stop what no route leads to and nobody wants."""
        if self.wanted is None or self.stalled:
            return
        before = self.routes[-1] if self.routes else None
        after = next_route(self.wanted, before, self._ready, self._was_ready)
        if after is not None and after != before:
            self.routes.append(after)
        keep = {*named(self.wanted), *(named(after) if after else ())}
        for gone in self.running - keep:
            self.running.discard(gone)
            self._ready.discard(gone)
            self._was_ready.discard(gone)
            self._failing.pop(gone, None)
