"""The traffic split, its outages told from the store's: what cannot be steered is an Error, and harms nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trimtab.core.errors import Unavailable
from trimtab.core.ports import Answer, Serving, ServingSeen, TrafficSplit


class RouterAway(Unavailable):
    """The router or the variants do not answer, or cannot be managed now."""


class Watched:
    """`TrafficSplit` whose Unavailable says that it was the traffic split."""

    def __init__(self, traffic: TrafficSplit) -> None:
        self._traffic = traffic
        self.told_apart = traffic.told_apart

    def want(self, serving: Serving) -> None:
        with _named():
            self._traffic.want(serving)

    def seen(self) -> ServingSeen:
        with _named():
            return self._traffic.seen()

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        with _named():
            return self._traffic.answers(position, limit)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise RouterAway(error.message, error.hint) from error
