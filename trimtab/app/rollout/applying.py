"""What is written down, asked of the router; and the router's word, written down: only then the registry moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from trimtab.adapters import crash
from trimtab.adapters.state import State
from trimtab.app.rollout.keeping import Keeping
from trimtab.app.rollout.look import Look
from trimtab.core.ports import Serving, TrafficSplit
from trimtab.core.records import Manifest
from trimtab.core.rollout import progress
from trimtab.core.rollout.aliases import way_back
from trimtab.core.rollout.serving import Roles, Served, confirms, promoting, served_now, wanted
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState
from trimtab.core.spec.rollout import Rollout


class Applying:
    """
    Steers one model's traffic.

    Attributes:
        unsettled: Whether the router had still to confirm something at the last call.
    """

    def __init__(
        self,
        state: State,
        policy: Rollout,
        traffic: TrafficSplit,
        keeping: Keeping,
        wall: Callable[[], datetime],
    ) -> None:
        self._registry = state.registry
        self._served = state.served
        self._policy = policy
        self._traffic = traffic
        self._keeping = keeping
        self._wall = wall
        self.unsettled = False

    def apply(self, look: Look) -> None:
        """Ask the router for what is written down, and write down what it confirms."""
        served, back = self._served.read(), way_back(look.manifests, look.specs, look.states)
        serving = self._wanted(look, served, back)
        self.unsettled = False
        if serving is None:
            return
        self._traffic.want(serving)
        look.seen = self._traffic.seen()
        confirmed = confirms(look.seen.route, serving)
        self._note_served(look, served)
        for spec in look.specs:
            self._confirm(look, spec, serving, confirmed)
        if back is not None and confirmed and serving.champion == back.champion:
            self._take_back(look, back)
        self.unsettled = self.unsettled or not confirmed

    def _wanted(self, look: Look, served: Served | None, back: RolloutSpec | None) -> Serving | None:
        current = next(iter(look.open()), None)
        return wanted(
            Roles(
                champion=look.champion,
                served=served,
                route=look.seen.route,
                ready=look.seen.ready,
                spec=current,
                state=look.states.get(current.number) if current else None,
                way_back=back.champion if back else None,
                sticky_header=(current.policy if current else self._policy).sticky_header or "",
            ),
            look.now,
        )

    def _confirm(self, look: Look, spec: RolloutSpec, serving: Serving, confirmed: bool) -> None:
        """The router's word on what a rollout asked for last."""
        state = look.states.get(spec.number)
        if state is None or not state.epochs or state.phase is Phase.PROMOTED:
            return
        if state.phase.ended and state.epochs[-1].confirmed_from is not None:
            return
        routed = progress.routed(state, _is_routed(look, spec, state, serving, confirmed), look.now)
        if routed is not state:
            crash.point("before-confirmed")
            routed = self._keeping.save(routed)
        if promoting(routed) and routed.epochs[-1].confirmed_from is not None:
            routed = self._promote(spec, routed)
        look.states[spec.number] = routed
        self.unsettled = self.unsettled or routed.epochs[-1].confirmed_from is None

    def _promote(self, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        """The router sends everything to the challenger: now the registry says so too."""
        crash.point("before-promotion")
        cause = f"v{spec.version} was promoted by rollout {spec.name}: {state.reason}"
        now = self._wall()

        def moved(manifest: Manifest | None) -> Manifest | None:
            if manifest is None or manifest.champion != spec.champion:
                return None  # it stands already, or another is champion: the next look tells
            challenger = None if manifest.challenger == spec.version else manifest.challenger
            return _after(manifest, spec.version, challenger, cause, spec.run_key, now)

        if self._registry.publish(moved).champion != spec.version:
            return state
        crash.point("after-promotion")
        return self._keeping.save(progress.promoted(state, state.reason, now))

    def _take_back(self, look: Look, spec: RolloutSpec) -> None:
        """The former champion answers everything again: now the registry says so too."""
        state = look.states.get(spec.number)
        cause = f"v{spec.champion} is champion again: {state.reason if state else ''}"

        def moved(manifest: Manifest | None) -> Manifest | None:
            if manifest is None or manifest.champion != spec.version:
                return None
            return _after(manifest, spec.champion, manifest.challenger, cause, "", self._wall())

        self._registry.publish(moved)

    def _note_served(self, look: Look, served: Served | None) -> None:
        """Who answers, and for how long the one before him is kept."""
        if look.seen.route is None:
            return
        policies = [self._policy, *(spec.policy for spec in look.open()[:1])]
        keep = max(max(each.keep_previous, each.probation) for each in policies)
        changed = served_now(served, look.seen.route, keep, self._keeping.epoch, look.now)
        if changed is not None:
            self._served.save(changed)


def _is_routed(look: Look, spec: RolloutSpec, state: RolloutState, serving: Serving, confirmed: bool) -> bool:
    """Whether the router has what the rollout's last epoch asks for."""
    if state.phase.ended:  # it asks for no traffic at all
        route = look.seen.route
        return route is not None and spec.version not in (route.champion, route.challenger)
    if promoting(state):
        return confirmed and serving.champion == spec.version
    return confirmed and (state.weight_percent, state.shadow) == (serving.weight_percent, serving.shadow)


def _after(now: Manifest, champion: int, challenger: int | None, cause: str, run_key: str, when: datetime) -> Manifest:
    return Manifest(
        number=0,
        champion=champion,
        challenger=challenger,
        previous=now.champion,
        cause=cause,
        run_key=run_key,
        recorded_at=when,
    )
