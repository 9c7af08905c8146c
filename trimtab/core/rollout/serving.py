"""Who is to answer the traffic just now, from the registry, the rollout that goes on, and what the router has: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.core.ports import Serving
from trimtab.core.records import Record
from trimtab.core.rollout.values import RolloutSpec, RolloutState

WHOLE = 100  # per cent: the challenger is to become champion


class Served(Record):
    """
    The champion as the router last confirmed it: compare-and-swapped, so that a restart knows who answered.

    The one before it is kept running until `kept_until`, for an instant way back.
    """

    epoch: int  # of the lease of the controller that wrote it
    champion: int
    since: datetime  # wall clock
    kept: int | None = None
    kept_until: datetime | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Roles:
    """
    Everything that says who serves.

    Attributes:
        champion: By the registry; None before the first.
        served: By the router, when it was last asked.
        route: What the router has now; None after it was started afresh.
        ready: Versions that answer.
        spec, state: Of the rollout that goes on, if any.
        way_back: The former champion, where the one that was promoted is proven worse on probation.
        sticky_header: Names the user; empty for none.
    """

    champion: int | None
    served: Served | None = None
    route: Serving | None = None
    ready: frozenset[int] = frozenset()
    spec: RolloutSpec | None = None
    state: RolloutState | None = None
    way_back: int | None = None
    sticky_header: str = ""


def promoting(state: RolloutState | None) -> bool:
    """Whether the rollout's challenger has won, and is only to be confirmed by the router."""
    return state is not None and not state.phase.ended and state.weight_percent == WHOLE


def wanted(roles: Roles, now: datetime) -> Serving | None:
    """
    The split to ask for; None while there is no champion.

    Who answers now goes on until its successor is ready, also after a restart of everything:

    >>> from datetime import UTC
    >>> now = datetime(2024, 1, 1, tzinfo=UTC)
    >>> before = Served(epoch=1, champion=6, since=now)
    >>> wanted(Roles(champion=7, served=before), now)
    Serving(champion=6, challenger=None, weight_percent=0, shadow=False, sticky_header='', versions=(6, 7))
    >>> wanted(Roles(champion=7, served=before, ready=frozenset({7})), now).champion
    7
    """
    target = destination(roles)
    if target is None:
        return None
    answers = roles.route.champion if roles.route else roles.served.champion if roles.served else None
    head = answers if answers is not None and target not in roles.ready else target
    spec, state = roles.spec, roles.state
    running = {head, target, *((roles.champion,) if roles.champion is not None else ())}
    if answers is not None:
        running.add(answers)
    if roles.served is not None:
        # Who answered until just now is the next to be kept: that is written down only after this look.
        running.add(roles.served.champion)
        if roles.served.kept is not None and _kept(roles.served, now):
            running.add(roles.served.kept)
    challenger, weight, shadow = None, 0, False
    if spec is not None and state is not None and not state.phase.ended:
        running.add(spec.version)
        if head == spec.champion and not promoting(state) and (state.weight_percent or state.shadow):
            challenger, weight, shadow = spec.version, state.weight_percent, state.shadow
    return Serving(
        champion=head,
        challenger=challenger,
        weight_percent=weight,
        shadow=shadow,
        sticky_header=roles.sticky_header,
        versions=tuple(sorted(running)),
    )


def destination(roles: Roles) -> int | None:
    """Who is to be champion at the router, once it is ready."""
    if roles.way_back is not None:
        return roles.way_back
    if roles.spec is not None and promoting(roles.state):
        return roles.spec.version
    return roles.champion


def confirms(route: Serving | None, serving: Serving) -> bool:
    """Whether the router has this split, whichever versions run besides."""
    if route is None or (route.champion, route.challenger) != (serving.champion, serving.challenger):
        return False
    return serving.challenger is None or (route.weight_percent, route.shadow) == (
        serving.weight_percent,
        serving.shadow,
    )


def served_now(served: Served | None, route: Serving, keep: timedelta, epoch: int, now: datetime) -> Served | None:
    """What to write down once the router's champion is another; None while it is the same."""
    if served is not None and served.champion == route.champion:
        return None
    return Served(
        epoch=epoch,
        champion=route.champion,
        since=now,
        kept=served.champion if served else None,
        kept_until=now + keep if served else None,
        nonce=served.nonce if served else "",
    )


def _kept(served: Served, now: datetime) -> bool:
    return served.kept_until is not None and now < served.kept_until
