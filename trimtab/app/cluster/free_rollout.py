"""
Rollouts on SeldonDeployments that no model of trimtab's stands behind: two predictors, one of which is to take over.

To the leader they are versions 1 and 2 of a model of their own (`free_state`). Which rollout works on a
SeldonDeployment stands there in an annotation: one at a time, and found again when the ModelRollout is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.conditions import Condition
from trimtab.adapters.kubernetes.events import Events
from trimtab.adapters.kubernetes.kinds import ROLLOUT
from trimtab.app.cluster.asking import Asking
from trimtab.app.cluster.claims import Claims, Refusal
from trimtab.app.cluster.free_request import names_of, request_of
from trimtab.app.cluster.free_state import Free, Places, as_it_was
from trimtab.app.cluster.rollout_objects import event_reason, event_type
from trimtab.app.cluster.rollout_status import NO_LOSS, renamed
from trimtab.app.cluster.rollout_statuses import Statuses, write_refused
from trimtab.app.rollout.leader import Leader
from trimtab.app.rollout.measuring import Measuring
from trimtab.app.rollout.telling import Telling
from trimtab.app.rollout.watched import RouterAway, Watched
from trimtab.core.errors import Conflict, Fenced, Invalid, NotFound
from trimtab.core.ports import Buckets, TrafficSplit
from trimtab.core.rollout.values import RolloutSpec

UNSETTLED_SECONDS = 0.2  # between looks while the router has still to confirm, or another wrote first
LEADING_SECONDS = 2.0
WAITING_SECONDS = 4.0  # while it waits for people
REFUSED_SECONDS = 15.0  # what it lacks may come
OVER_SECONDS = 3600.0
OVER = 0.0  # of a rollout that was deleted: no further look is needed
QUIET_LOOKS = 2  # after which everything that a rollout leaves behind is as it is to be
log = logging.getLogger("trimtab.rollouts")

FreeSplit = Callable[[Object], TrafficSplit]  # of a ModelRollout without a model


class FreeRollouts:
    """Safe in many threads."""

    def __init__(
        self,
        api: Api,
        settings: ClusterSettings,
        buckets: Buckets,
        split: FreeSplit,
        events: Events,
        wall: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._settings = settings
        self._places = Places(settings, buckets, wall)
        self._split = split
        self._events = events
        self._wall = wall
        self._claims = Claims(api)
        self._free: dict[str, Free] = {}  # by uid
        self._busy: set[str] = set()  # uids
        self._lock = threading.Lock()

    def lead(self, rollout: Object) -> float:
        """
        One look; returns in how many seconds the next is due, 0 when it was deleted and nothing is left to do.

        Raises:
            Unavailable: If store, API server or router do not answer: the traffic stays as it is.
        """
        uid = rollout["metadata"]["uid"]
        with self._lock:
            if uid in self._busy:  # its end may be looked at while a look at its life goes on
                return UNSETTLED_SECONDS
            self._busy.add(uid)
        try:
            return self._look_at(rollout)
        finally:
            self._busy.discard(uid)

    def _look_at(self, rollout: Object) -> float:
        meta = rollout["metadata"]
        resource = self._api.find(ROLLOUT, meta["namespace"], meta["name"])
        if resource is None or resource["metadata"]["uid"] != meta["uid"] or _deleting(resource):
            return self._end(rollout)
        try:
            return self._lead(resource)
        except Refusal as refusal:
            return self._refuse(resource, refusal.condition, refusal.waits)
        except Fenced:
            self._free.pop(meta["uid"], None)
            return LEADING_SECONDS
        except Conflict:
            return UNSETTLED_SECONDS
        except NotFound as error:
            return self._refuse(resource, Condition("Accepted", "False", "NotFound", str(error)), waits=True)
        except Invalid as error:
            return self._give_way(resource, error)

    def orphans(self) -> list[Object]:
        """Those that were deleted while nobody looked, and still hold a SeldonDeployment."""
        found = []
        for claim in self._claims.all(self._settings.watch_namespaces):
            there = self._api.find(ROLLOUT, claim.namespace, claim.rollout)
            if there is not None and there["metadata"]["uid"] == claim.uid:
                continue
            kept = as_it_was(self._places.state(claim.namespace, claim.rollout, claim.uid))
            if kept is not None:
                found.append(kept)
            else:  # it never began
                self._claims.release(claim)
        return found

    # One that is there

    def _lead(self, resource: Object) -> float:
        meta = resource["metadata"]
        free = self._free.get(meta["uid"]) or self._open(resource)
        free.resource = resource
        spec = free.spec
        if spec is None:
            request = request_of(resource)
            self._split(resource)  # refused before anything is touched, where nothing can be measured
            self._claims.take(resource, names_of(resource))
            spec = free.begin(request, self._wall())
        free.hold()
        leader, statuses = self._leading(free, spec)
        at = free.at
        if at is None or not at.phase.ended:
            Asking(self._api, free.state, self._teller(free), self._wall).take_in(spec, at, resource)
        if not free.over:
            self._claim(free)
        try:
            pause = self._look(free, leader)
        except RouterAway:
            free.leader = None
            statuses.write(spec, free.at, resource)
            raise
        statuses.write(spec, free.at, resource)
        return pause

    def _look(self, free: Free, leader: Leader) -> float:
        return free.calm(self._brought_on(free, leader), self._wall().timestamp())

    def _brought_on(self, free: Free, leader: Leader) -> float:
        """Bring it on; once all is as it is to be, the SeldonDeployment is free for the next."""
        if free.over:
            return OVER_SECONDS
        now = self._wall()
        goes_on = leader.look()
        served = free.state.served.read()
        keeps = served is not None and served.kept_until is not None and now < served.kept_until
        if goes_on or leader.unsettled or keeps:
            free.quiet = 0
            if leader.unsettled:
                return UNSETTLED_SECONDS
            waits = leader.standing is not None and leader.standing.phase in ("Paused", "Held")
            return WAITING_SECONDS if waits or not goes_on else LEADING_SECONDS
        free.quiet += 1
        if free.quiet < QUIET_LOOKS:
            return UNSETTLED_SECONDS
        self._claims.release(self._claims.of(free.resource))
        free.over = True
        return OVER_SECONDS

    def _claim(self, free: Free) -> None:
        """Also of one that began: its annotation may have been lost, or it is over and another has begun."""
        if free.ended():
            free.over = not self._claims.is_held(free.resource)
        else:
            self._claims.take(free.resource, names_of(free.resource))

    # One that is not there any more

    def _end(self, rollout: Object) -> float:
        """One look at giving everything back to the champion."""
        meta = rollout["metadata"]
        free = self._free.get(meta["uid"]) or self._open(rollout)
        spec = free.spec
        if spec is None or not self._claims.is_held(rollout):
            self._free.pop(meta["uid"], None)
            self._claims.release(self._claims.of(rollout))
            return OVER
        try:
            free.hold()
            if not free.ended():
                Asking(self._api, free.state, self._teller(free), self._wall).deleted(spec)
            pause = self._look(free, self._leading(free, spec)[0])
        except Conflict:
            return UNSETTLED_SECONDS
        except Fenced:
            self._free.pop(meta["uid"], None)
            return LEADING_SECONDS
        if free.over:
            self._free.pop(meta["uid"], None)
            return OVER
        return pause

    # Its parts

    def _open(self, resource: Object) -> Free:
        meta = resource["metadata"]
        free = Free(self._places.of(resource), resource)
        self._free[meta["uid"]] = free
        return free

    def _leading(self, free: Free, spec: RolloutSpec) -> tuple[Leader, Statuses]:
        names = names_of(free.resource)
        if free.leader is None:
            split = Watched(self._split(free.resource))
            tell = self._teller(free)

            def told(id: str, kind: str, summary: str) -> None:
                tell(free.resource, id, event_reason(id, kind), summary)

            telling = Telling(free.state.journal, self._wall, told)
            measuring = Measuring(free.state, split, None)
            free.leader = Leader(free.state, spec.policy, split, measuring, telling, self._wall, None)
            free.leader.forget(free.epoch)
        if free.statuses is None:
            free.statuses = Statuses(self._api, free.state, self._wall, names, (NO_LOSS,))
        return free.leader, free.statuses

    def _teller(self, free: Free) -> Callable[[Object, str, str, str], None]:
        names = names_of(free.resource)

        def tell(regarding: Object, id: str, reason: str, note: str) -> None:
            self._events.tell(regarding, id, reason, renamed(note, names), event_type(reason))

        return tell

    def _give_way(self, resource: Object, error: Invalid) -> float:
        """Refuse one that may never begin: those behind it need not wait for it, and it claims anew when it tries."""
        try:
            self._claims.release_unused(resource)
        except Conflict:
            return UNSETTLED_SECONDS
        return self._refuse(resource, Condition("Accepted", "False", "Refused", str(error)))

    def _refuse(self, resource: Object, condition: Condition, waits: bool = False) -> float:
        """Say what it lacks; the traffic stays as it is."""
        meta = resource["metadata"]
        free = self._free.get(meta["uid"])
        if free is not None:
            free.leader = free.statuses = None
        news = write_refused(self._api, resource, condition, self._wall(), waits)
        if news is None:
            return OVER
        if news:
            id = f"refused/{meta.get('generation')}/{condition.reason}"
            self._events.tell(resource, id, condition.reason, condition.message, "Normal" if waits else "Warning")
        return REFUSED_SECONDS


def _deleting(resource: Object) -> bool:
    return bool(resource["metadata"].get("deletionTimestamp"))
