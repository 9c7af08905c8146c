"""
Leading ContinuousModels: accept the spec, decide on training, have runs executed, and say how each stands.

Level-triggered: a look reads what has changed since the last one and does what comes next. Nothing lives in memory
alone; what is kept here between looks only spares reading it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.events import Events
from trimtab.adapters.state import State
from trimtab.app.cluster.acceptance import Acceptance, Found
from trimtab.app.cluster.alerts import Alerts
from trimtab.app.cluster.commands import SYSTEM
from trimtab.app.cluster.deciding import Deciding, goes_on
from trimtab.app.cluster.launching import Launching
from trimtab.app.cluster.leaving import gone, trace_of
from trimtab.app.cluster.led import OWNER, QUIET_SECONDS, SOONEST_SECONDS, WHOLE_SECONDS, Led
from trimtab.app.cluster.marks import marks
from trimtab.app.cluster.resources import ARRIVED, MEASURED, Key, annotations_of, key_of
from trimtab.app.cluster.saying import Leads, Saying, told
from trimtab.app.cluster.slots import Slots
from trimtab.app.cluster.telling import Telling
from trimtab.core.errors import Conflict, Fenced, TrimtabError
from trimtab.core.ports import Buckets

MEASURED_SECONDS = 2.5  # after the monitor told of something: what was read just before it is read once more
STAND_BY_SECONDS = 5.0
log = logging.getLogger("trimtab.models")


class Models:
    """
    All models that this process leads.

    Args:
        launcher: Executes the runs of a model.
        rollouts: Leads what serves; None where nothing does.
        again: Is called with a model that is to be looked at now: its turn for a run has come.
        wake: Is called with a model whose rollouts are to be looked at now.
    """

    def __init__(
        self,
        api: Api,
        settings: ClusterSettings,
        buckets: Buckets,
        launcher: Launching,
        rollouts: Leads | None,
        again: Callable[[Key], None],
        wake: Callable[[Key], None] = lambda key: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._settings = settings
        self._buckets = buckets
        self._launcher = launcher
        self._rollouts = rollouts
        self._slots = Slots(settings.max_concurrent_runs, self._has_place)
        self._again = again
        self._wake = wake
        self._clock = clock
        self._acceptance = Acceptance(api, settings, buckets)
        self.alerts = Alerts(settings, buckets)
        self._saying = Saying(api, rollouts, self.alerts, settings.pod_namespace or SYSTEM)
        self._events = Events(api, settings.pod_name)
        self._led: dict[Key, Led] = {}

    def __len__(self) -> int:
        return len(self._led)

    # What the API server tells

    def seen(self, resource: Object) -> bool:
        """The object as it is now; whether that calls for a look: a status that was written does not."""
        key = key_of(resource)
        led = self._led.get(key)
        if led is None or led.resource["metadata"]["uid"] != resource["metadata"]["uid"]:
            self._slots.expect(key)
            self._led[key] = self._begin(resource)
            return True
        with led.lock:
            before, led.resource = led.resource, resource
        meta, was = resource["metadata"], before["metadata"]
        return meta.get("generation") != was.get("generation") or annotations_of(resource) != annotations_of(before)

    def deleted(self, key: Key) -> None:
        """The object is gone: the next look at its rollouts ends them, and takes leave of the model."""
        if (led := self._led.get(key)) is not None:
            led.deleted = True

    def left_behind(self) -> list[Key]:
        """
        Models that were deleted while nobody watched: the next look at their rollouts takes leave of them.

        Raises:
            Unavailable: If the API server does not answer.
        """
        known = dict(self._led)  # before the listings: who comes after them is new, not gone
        found = gone(self._api, self._settings.watch_namespaces, known)
        for key in found:
            led = known.get(key) or self._begin(trace_of(key))
            led.deleted = True
            self._led.setdefault(key, led)
        return sorted(found)

    def _begin(self, resource: Object) -> Led:
        telling = Telling(self._events)
        args = (key_of(resource), self._settings, self._buckets, self._slots, telling, self._launcher)
        return Led(resource, Deciding(*args))

    # Looks

    def look(self, key: Key) -> float | None:
        """
        Do what comes next for a model; returns in how many seconds to look again, None when there is no such model.

        Raises:
            TrimtabError: What does not work just now, or for good; the object's status says so too.
        """
        led = self._led.get(key)
        if led is None or led.deleted:
            return None
        led.found = None
        try:
            pause = self._look(key, led)
            led.problems.pop("loop", None)
        except Fenced as fenced:
            led.epoch = 0
            led.problems["loop"] = fenced.message
            return SOONEST_SECONDS
        except Conflict:
            raise  # somebody else wrote first: that is no trouble
        except TrimtabError as error:
            led.problems["loop"] = str(error)
            self._slots.excuse(key)
            self._saying.say(led)
            raise
        self._saying.say(led)
        return pause

    def lead(self, key: Key) -> float | None:
        """One look at a model's rollouts, as `look`."""
        led = self._led.get(key)
        if led is not None and led.deleted:
            return self._take_leave(key, led)
        if led is None or self._rollouts is None:
            return None
        if not led.epoch or led.model is None:
            return QUIET_SECONDS  # a look at the model wakes it
        try:
            pause = self._rollouts.lead(key[0], led.model, led.resource, led.epoch)
            led.problems.pop("rollouts", None)
            self._follow(key, led)
            measured = annotations_of(led.resource).get(MEASURED, "")
            if measured != led.measured:
                led.measured, pause = measured, min(pause, MEASURED_SECONDS)
            return led.calm(pause, self._clock())
        except Fenced as fenced:
            led.epoch = 0
            led.problems["rollouts"] = fenced.message
            return STAND_BY_SECONDS
        except Conflict:
            raise
        except TrimtabError as error:
            led.problems["rollouts"] = str(error)
            raise

    def _follow(self, key: Key, led: Led) -> None:
        """A rollout that stands otherwise than before is for the model's own status, and for what may be decided."""
        assert self._rollouts is not None
        standing, problems = self._rollouts.standing(key), self._rollouts.problems(key)
        if (told(standing), problems) != (told(led.standing), led.serving):
            self._look_again(key, led)
        led.standing, led.serving = standing, problems

    def _take_leave(self, key: Key, led: Led) -> float | None:
        """The traffic is left with the champion alone, then the lease given back."""
        state = self._state(key)
        try:
            pause = self._end(key, led, state)
        except Fenced:
            led.epoch, pause = 0, STAND_BY_SECONDS
        if pause > 0:
            return pause
        if self._led.get(key) is led:
            del self._led[key]
        self._slots.forget(key)
        self._acceptance.forget(key)
        self.alerts.forget(key)
        if led.epoch:
            state.lease.release(OWNER, led.epoch)
        return None

    def _end(self, key: Key, led: Led, state: State) -> float:
        """One look at what outlives the model; returns when the next is due, 0: never."""
        model = led.model or self._acceptance.last(state)
        if self._rollouts is None or model is None:
            return 0.0
        if not led.hold(state, self._clock()):
            return STAND_BY_SECONDS
        return self._rollouts.gone(key[0], model, led.resource, led.epoch)

    def _look(self, key: Key, led: Led) -> float:
        resource, arrived = led.resource, annotations_of(led.resource).get(ARRIVED, "")
        state = self._state(key)
        found = led.found = self._acceptance.look(resource, state)
        before = led.epoch
        if not led.hold(state, self._clock()):
            self._slots.free(key)
            return STAND_BY_SECONDS
        if led.epoch != before:
            self._wake(key)
            log.debug("leading %s/%s, epoch %d", *key, led.epoch)
        if found.passed is None or found.model is None:
            if led.model is None and (last := self._acceptance.last(state)) is not None:
                led.model = last
                self._wake(key)
            if not led.open:
                self._slots.free(key)
            return found.again_seconds or WHOLE_SECONDS
        now = marks(state, led.marks)
        going_on, away = goes_on(led.run, state)
        news = (now, arrived, found.text) != (led.marks, led.arrived, led.text) or going_on != led.open
        if news or led.is_due(datetime.now(UTC), self._clock()):
            self._decide(key, led, found)
            led.marks, led.arrived, led.text, led.looked = now, arrived, found.text, self._clock()
        elif away is not None:
            raise away
        return min(led.pause(datetime.now(UTC)), found.again_seconds or WHOLE_SECONDS)

    def _has_place(self, key: Key) -> None:
        """A run of its namespace has ended, and it waited for that."""
        if (led := self._led.get(key)) is not None:
            self._look_again(key, led)

    def _look_again(self, key: Key, led: Led) -> None:
        """At everything, and now."""
        led.looked = float("-inf")
        self._again(key)

    def _decide(self, key: Key, led: Led, found: Found) -> None:
        assert found.model is not None
        assert found.passed is not None
        before = led.model
        led.model = found.model
        look = led.deciding.look(led.resource, found.text, found.model, found.passed)
        led.run, led.open, led.status, led.due = look.run, look.open, look.status, look.due
        self.alerts.news(key, found.model)
        if look.news or before != found.model:
            self._wake(key)
        if look.trouble is not None:
            raise look.trouble

    def _state(self, key: Key) -> State:
        return State.open(self._buckets, f"s3://{self._settings.state_bucket}/{key[0]}", key[1])
