"""
Observe, decide, apply, for everything that serves: the one place where a verdict about a rollout takes effect.

Each look reads everything afresh, so that it does not matter who did what before, or where he was killed. A change of
the traffic is written down, told, asked of the router, and counts from the moment at which the router confirms it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from trimtab.adapters.state import State
from trimtab.app.rollout.applying import Applying
from trimtab.app.rollout.deciding import Deciding
from trimtab.app.rollout.keeping import Keeping
from trimtab.app.rollout.look import Look, over
from trimtab.app.rollout.measuring import Measuring
from trimtab.app.rollout.standing import Standing, standing
from trimtab.app.rollout.telling import Telling, failed
from trimtab.app.rollout.watched import RouterAway
from trimtab.core.errors import Fenced, NotFound
from trimtab.core.ports import TrafficSplit
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.aliases import Drop, Propose, repair
from trimtab.core.rollout.values import Phase, RolloutSpec
from trimtab.core.spec.rollout import Rollout

Proposing = Callable[[ModelVersion, int, str], RolloutSpec]  # of a version, beside a champion, for a cause
LOG_COMES = timedelta(seconds=20)  # after the last answer, the model server's log is in the store
EXPLAINED_WITHIN = timedelta(hours=1)


class Leader:
    """
    Leads one model's rollouts, and keeps its champion serving; used by one thread at a time.

    Args:
        policy: Holds while no rollout goes on: each rollout brings its own.
        propose: Writes the rollout of a registered challenger that has none; None where nothing is registered.

    Attributes:
        standing: How the rollout stood at the last look.
        last: What the last look found and left behind.
    """

    def __init__(
        self,
        state: State,
        policy: Rollout,
        traffic: TrafficSplit,
        measuring: Measuring,
        telling: Telling,
        wall: Callable[[], datetime],
        propose: Proposing | None,
    ) -> None:
        self._state = state
        self._policy = policy
        self._propose = propose
        self._traffic = traffic
        self._measuring = measuring
        self._telling = telling
        self._wall = wall
        self._keeping = Keeping(state.rollouts)
        self._deciding = Deciding(state, measuring, self._keeping)
        self._applying = Applying(state, policy, traffic, self._keeping, wall)
        self._failing: Mapping[int, str] = {}
        self.standing: Standing | None = None
        self.last: Look | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work just now, in lines for people."""
        said = [f"v{version} does not serve: {why}" for version, why in self._failing.items()]
        return (*said, *([self._measuring.problem] if self._measuring.problem else []))

    @property
    def unsettled(self) -> bool:
        """Whether the router has still to confirm something."""
        return self._applying.unsettled

    def forget(self, epoch: int) -> None:
        """The lease is this process's anew, with this epoch: another may have led meanwhile."""
        self._keeping.forget(epoch)
        self._measuring.forget()
        self._telling.forget()

    def look(self) -> bool:
        """
        Bring on whatever there is; returns whether a rollout goes on.

        Raises:
            Unavailable: If the store, the router or the variants do not answer: the traffic stays as it is.
            Conflict: If another wrote first: call again.
            Fenced: If another process leads this model's rollouts now.
        """
        try:
            return self._look()
        except RouterAway as error:
            self._cannot(error)
            raise

    def _look(self) -> bool:
        look = self._observe()
        if self._repaired(look):
            look = self._observe()
        for spec in look.open()[1:]:
            self._deciding.behind(look, spec)
        for spec in look.open()[:1]:
            self._deciding.lead(look, spec)
        self._deciding.probation(look)
        self._tell(look)
        self._applying.apply(look)
        self._tell(look)
        self._explain(look)
        self.standing = standing(look.specs, look.states)
        self.last = look
        return bool(look.open())

    def _observe(self) -> Look:
        registry, rollouts = self._state.registry, self._state.rollouts
        manifests, specs, states = registry.manifests(), rollouts.all(), rollouts.states()
        later = max((state.epoch for state in states.values() if state is not None), default=0)
        if later > self._keeping.epoch:
            raise Fenced(f"rollouts of {self._state.model} are led by another process, of epoch {later}")
        seen = self._traffic.seen()
        self._failing = seen.failing
        return Look(manifests, specs, states, seen, self._wall())

    def _repaired(self, look: Look) -> bool:
        """Whether the challenger alias had to be put right; the rollouts then have to be read again."""
        if self._propose is None:
            return False
        immediate = self._policy.strategy == "immediate"
        match repair(look.manifest, look.specs, look.states, immediate):
            case Propose(version=version, champion=champion, cause=cause):
                try:
                    self._propose(self._state.registry.version(version), champion, cause)
                except NotFound as error:
                    self._telling.alert(f"rollout/v{version}", f"v{version} cannot get a rollout: {error.message}")
                    return False
                return True
            case Drop(version=version, cause=cause):
                self._state.registry.publish(lambda now: _without_challenger(now, version, cause, self._wall()))
                return True
        return False

    def _cannot(self, error: RouterAway) -> None:
        """Router or variants do not answer: the rollout is in Error until they do again, and nothing is undone."""
        states = self._state.rollouts.states()
        current = next((spec for spec in self._state.rollouts.all() if not over(states.get(spec.number))), None)
        state = states.get(current.number) if current else None
        if current is None or state is None or state.phase is Phase.ERROR:
            return
        failed = self._keeping.remembered(state).model_copy(update={"phase": Phase.ERROR, "reason": error.message})
        self._telling.tell(current, self._keeping.save(failed))

    def _explain(self, look: Look) -> None:
        """What a challenger raised that was rolled back for its errors, said once its log has come."""
        for spec in look.specs:
            state = look.states.get(spec.number)
            if state is None or state.phase is not Phase.ROLLED_BACK or state.ended is None:
                continue
            due = LOG_COMES <= look.now - state.ended <= EXPLAINED_WITHIN
            if due and failed(spec, state) and not self._telling.explained(spec):
                self._telling.explain(spec, self._measuring.raised(spec, state))

    def _tell(self, look: Look) -> None:
        for spec in look.specs:
            self._telling.tell(spec, look.states.get(spec.number))


def _without_challenger(now: Manifest | None, version: int, cause: str, when: datetime) -> Manifest | None:
    if now is None or now.challenger != version:
        return None
    return now.model_copy(update={"challenger": None, "cause": cause, "run_key": "", "recorded_at": when})
