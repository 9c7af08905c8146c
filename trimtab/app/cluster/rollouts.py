"""
The rollouts of all models of a cluster, and what serves of each: the laptop's leader, a look at a time.

Between looks of a model whose rollouts have ended little is kept, so that hundreds of them stay small.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.events import Events
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.app.cluster.free_rollout import FreeRollouts, FreeSplit
from trimtab.app.cluster.going import Going, begin
from trimtab.app.cluster.going_back import go_back
from trimtab.app.cluster.leaving import leave
from trimtab.app.cluster.proposing import in_a_child
from trimtab.app.cluster.remembered import Remembered
from trimtab.app.cluster.resources import ROLLBACK_TO, Key, annotations_of
from trimtab.app.cluster.resting import Rest, last_keys, rest_after
from trimtab.app.cluster.rollout_objects import RolloutObjects
from trimtab.app.rollout.standing import Standing
from trimtab.app.rollout.watched import RouterAway, Watched
from trimtab.core.errors import Conflict, Invalid, TrimtabError
from trimtab.core.ports import Buckets, TrafficSplit
from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec.model import ContinuousModel

UNSETTLED_SECONDS = 0.2  # between looks while the router has still to confirm, or another wrote first
LEADING_SECONDS = 2.0  # while a rollout goes on
WAITING_SECONDS = 20.0  # while it waits for people: losses and bad answers wake, what only the router tells does not
IDLE_SECONDS = 15.0  # what nobody told of; finding nothing new is cheap
QUIET_LOOKS = 2  # after which everything that a rollout leaves behind is as it is to be
LEAVING_SECONDS = 0.5  # between looks at the traffic of a model that was deleted
log = logging.getLogger("trimtab.rollouts")

Split = Callable[[str, ContinuousModel, Object], TrafficSplit]  # of a namespace's model, whose object it is


class Led:
    """What is known of one model between looks."""

    def __init__(self, owner: Object, model: ContinuousModel, traffic: TrafficSplit, epoch: int) -> None:
        self.owner = owner
        self.model = model
        self.traffic = traffic
        self.epoch = epoch
        self.remembered = Remembered()
        self.going: Going | None = None
        self.rest: Rest | None = None
        self.quiet = 0  # looks in a row at which there was nothing to do
        self.standing: Standing | None = None
        self.problems: tuple[str, ...] = ()

    def led_by(self, owner: Object, model: ContinuousModel, epoch: int) -> bool:
        """Whether these still are the model, its object and the lease."""
        same = owner["metadata"]["uid"] == self.owner["metadata"]["uid"]
        return same and (model, epoch) == (self.model, self.epoch)


class ModelRollouts:
    """
    Leads what serves; each model is looked at by one thread at a time.

    Args:
        split: The traffic split of a model; without it a SeldonDeployment.
        free_split: Of a rollout that no model knows, likewise.
        propose_in_child: As `proposing.in_a_child`.
    """

    def __init__(
        self,
        api: Api,
        settings: ClusterSettings,
        buckets: Buckets,
        split: Split | None = None,
        free_split: FreeSplit | None = None,
        wall: Callable[[], datetime] = wall_clock,
        propose_in_child: Callable[..., RolloutSpec] = in_a_child,
    ) -> None:
        self._api = api
        self._settings = settings
        self._buckets = buckets
        if split is None or free_split is None:
            from trimtab.app.cluster.seldon_splits import SeldonSplits

            seldon = SeldonSplits(api, settings, buckets)
            split, free_split = split or seldon.of_model, free_split or seldon.of_rollout
        self._split = split
        self._wall = wall
        self._propose_in_child = propose_in_child
        self._events = Events(api, settings.pod_name, wall)
        self._led: dict[Key, Led] = {}
        self._free = FreeRollouts(api, settings, buckets, free_split, self._events, wall)

    def lead(self, namespace: str, model: ContinuousModel, owner: Object, epoch: int) -> float:
        """
        One look at a model's rollouts; returns in how many seconds the next is due.

        Args:
            model: The last spec that was accepted.
            owner: The ContinuousModel as the API server has it.
            epoch: Of the model's lease.

        Raises:
            Unavailable: If store, API server or router do not answer: the traffic stays as it is.
            Fenced: If another process leads this model now.
        """
        key = (namespace, model.name)
        led = self._led.get(key)
        if led is None or not led.led_by(owner, model, epoch):
            led = self._led[key] = Led(owner, model, Watched(self._split(namespace, model, owner)), epoch)
        led.owner = owner
        try:
            return self._look(led)
        except Conflict as error:
            log.debug("%s/%s: %s", *key, error.message)
            led.going = led.rest = None  # read everything again
            return UNSETTLED_SECONDS
        except TrimtabError:
            led.going = led.rest = None
            raise

    def lead_free(self, rollout: Object) -> float:
        """
        One look at a rollout that no model knows, as `lead`.

        Returns:
            In how many seconds the next is due; 0: the rollout was deleted, and everything is the champion's again.
        """
        return self._free.lead(rollout)

    def gone_free(self, rollout: Object) -> float:
        """As `lead_free`, for one that was deleted, as it last was: 0 once that is done."""
        return self._free.lead(rollout)

    def orphans(self) -> list[Object]:
        """Rollouts without a model that were deleted while nobody looked, for `gone_free`."""
        return self._free.orphans()

    def gone(self, namespace: str, model: ContinuousModel, owner: Object, epoch: int) -> float:
        """
        One look at a model that was deleted: a SeldonDeployment that outlives it is left with the champion alone.

        Returns:
            In how many seconds the next is due, 0 once nothing is left to do.

        Raises:
            TrimtabError: As `lead`; the traffic is as it was, and this is to be tried again.
        """
        key = (namespace, model.name)
        self._led.pop(key, None)
        try:
            traffic = Watched(self._split(namespace, model, owner))
            left = leave(self._api, self._state(owner), model, traffic, key, epoch, self._wall)
        except Invalid as error:
            log.info("%s/%s was deleted: %s", *key, error.message)
            return 0.0
        return 0.0 if left else LEAVING_SECONDS

    def standing(self, key: Key) -> Standing | None:
        """How the model's rollout stood at the last look."""
        led = self._led.get(key)
        return led.standing if led else None

    def problems(self, key: Key) -> tuple[str, ...]:
        """What of its serving does not work just now, in lines for people."""
        led = self._led.get(key)
        return led.problems if led else ()

    # One model

    def _look(self, led: Led) -> float:
        if self._rests(led):
            return self._idle(led)
        going = led.going = led.going or self._begin(led)
        last = last_keys(going.state)
        go_back(self._api, going.state, led.owner, self._events, self._wall)
        before = going.leader.last
        specs = before.specs if before else going.state.rollouts.all()
        states = before.states if before else going.state.rollouts.states()
        going.objects.read(specs, states)
        try:
            goes_on = going.leader.look()
        except (RouterAway, Invalid) as error:
            refused = str(error) if isinstance(error, Invalid) else ""
            going.objects.write(going.state.rollouts.all(), going.state.rollouts.states(), refused)
            raise
        look = going.leader.last
        assert look is not None
        unread = [spec for spec in look.open() if spec not in specs]
        if unread:
            going.objects.read(unread, look.states)
        going.objects.write(look.specs, look.states)
        led.standing, led.problems = going.leader.standing, going.leader.problems
        if goes_on or going.leader.unsettled:
            led.quiet = 0
            return self._soon(led, going.leader.unsettled)
        led.quiet += 1
        if led.quiet < QUIET_LOOKS:
            return LEADING_SECONDS
        led.rest = rest_after(look, last, going.state)
        led.remembered.keep(going.state)
        led.going = None
        return self._idle(led)

    def _rests(self, led: Led) -> bool:
        """Whether nothing has changed since there was nothing left to do: two short listings and the router's word."""
        if led.rest is None:
            return False
        asked = ROLLBACK_TO in annotations_of(led.owner)
        if not asked and led.rest.holds(self._state(led.owner), led.traffic.seen(), self._wall()):
            return True
        led.rest, led.quiet = None, 0
        return False

    def _idle(self, led: Led) -> float:
        assert led.rest is not None
        left = (led.rest.until - self._wall()).total_seconds()
        return min(IDLE_SECONDS, max(left, LEADING_SECONDS))

    @staticmethod
    def _soon(led: Led, unsettled: bool) -> float:
        if unsettled:
            return UNSETTLED_SECONDS
        waits = led.standing is not None and led.standing.phase in ("Paused", "Held")
        return WAITING_SECONDS if waits else LEADING_SECONDS

    def _state(self, owner: Object, known: Mapping[str, bytes] | None = None) -> State:
        meta = owner["metadata"]
        address = f"s3://{self._settings.state_bucket}/{meta['namespace']}"
        return State.open(self._buckets, address, meta["name"], now=self._wall, known=known)

    def _begin(self, led: Led) -> Going:
        state = self._state(led.owner, led.remembered.bodies())
        objects = RolloutObjects(self._api, self._events, state, led.owner, self._wall)
        return begin(state, led.model, led.traffic, objects, led.epoch, self._wall, self._propose_in_child)
