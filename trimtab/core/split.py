"""Which split of the traffic the router should have now, when not every version that is wanted answers yet."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from trimtab.core.errors import Invalid
from trimtab.core.ports import Serving


def named(serving: Serving) -> tuple[int, ...]:
    """
    Every version that is to run, ascending.

    >>> named(Serving(champion=6, challenger=7, versions=(5,)))
    (5, 6, 7)
    """
    challenger = () if serving.challenger is None else (serving.challenger,)
    return tuple(sorted({serving.champion, *challenger, *serving.versions}))


def check(serving: Serving) -> None:
    """
    Raises Invalid if the split contradicts itself.

    >>> check(Serving(champion=6, weight_percent=5))
    Traceback (most recent call last):
    trimtab.core.errors.Invalid: a weight of 5 % and no challenger to carry it
    hint: name the challenger, or leave the weight at 0
    """
    if not 0 <= serving.weight_percent <= 100:
        raise Invalid(f"a weight of {serving.weight_percent} %", "give a share from 0 to 100")
    if serving.challenger is None and (serving.weight_percent or serving.shadow):
        what = "a shadow" if serving.shadow else f"a weight of {serving.weight_percent} %"
        raise Invalid(f"{what} and no challenger to carry it", "name the challenger, or leave the weight at 0")
    if serving.challenger == serving.champion:
        raise Invalid(f"v{serving.champion} is champion and challenger at once", "name another challenger, or none")
    if serving.shadow and serving.weight_percent:
        raise Invalid(f"a shadow that answers {serving.weight_percent} % of the requests", "give it the weight 0")


def next_route(
    wanted: Serving, route: Serving | None, ready: AbstractSet[int], was_ready: AbstractSet[int]
) -> Serving | None:
    """
    The split to give the router now: as near to `wanted` as it can be without leading to a version that is not ready.

    Args:
        wanted: Where the traffic is to go.
        route: What the router has, None before its first.
        ready: Versions that answer.
        was_ready: Versions that have answered since they were started for this split, if only once. One of them that
            crashed keeps what it has, and the router lets the champion answer in its place: its failures are evidence.

    Returns:
        The split, `versions` left empty; None while nothing can answer.

    The champion changes once the new one is ready; until then the former one answers everything:

    >>> one = Serving(champion=1)
    >>> next_route(Serving(champion=2), one, {1}, {1})
    Serving(champion=1, challenger=None, weight_percent=0, shadow=False, sticky_header='', versions=())

    A challenger that crashed keeps its share, and gets no more:

    >>> half = Serving(champion=1, challenger=2, weight_percent=50)
    >>> next_route(half, Serving(champion=1, challenger=2, weight_percent=25), {1}, {1, 2}).weight_percent
    25
    """
    plain = replace(wanted, versions=())
    alone = Serving(champion=wanted.champion, sticky_header=wanted.sticky_header)
    routed = route is not None and route.champion == wanted.champion and wanted.champion in was_ready
    if wanted.champion not in ready and not routed:
        # Not there yet: who answered so far goes on, alone.
        return None if route is None or route.champion not in was_ready else Serving(champion=route.champion)
    if wanted.challenger is None or wanted.challenger in ready:
        return plain
    if wanted.challenger not in was_ready or route is None or route.challenger != wanted.challenger:
        return alone
    return replace(plain, weight_percent=min(plain.weight_percent, route.weight_percent))
