"""
Observe, decide, apply, for everything that serves: the one place where a verdict about a rollout takes effect.

Each look reads everything afresh, so that it does not matter who did what before, or where he was killed. A change of
the traffic is written down, told, asked of the router, and counts from the moment at which the router confirms it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.adapters import crash
from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.app.rollout.measuring import Measuring, Reached, evidence_of, with_evidence
from trimtab.app.rollout.standing import Standing, standing
from trimtab.app.rollout.telling import Telling
from trimtab.app.rollout.watched import RouterAway
from trimtab.core.errors import Fenced, NotFound
from trimtab.core.ports import Serving, ServingSeen, TrafficSplit
from trimtab.core.records import Manifest
from trimtab.core.rollout import progress
from trimtab.core.rollout.aliases import Drop, Propose, repair, way_back
from trimtab.core.rollout.decision import after_promotion, decide
from trimtab.core.rollout.serving import Roles, Served, confirms, promoting, served_now, wanted
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState
from trimtab.core.rollout.verdicts import Hold, RollBack
from trimtab.core.spec.model import ContinuousModel

KEEP_SECONDS = 2.0  # evidence without a verdict is written so often; what was not is measured again


@dataclass
class Look:
    """What one look at everything found."""

    manifests: list[Manifest]
    specs: list[RolloutSpec]
    states: dict[int, RolloutState | None]
    seen: ServingSeen
    now: datetime

    @property
    def manifest(self) -> Manifest | None:
        return self.manifests[-1] if self.manifests else None

    @property
    def champion(self) -> int | None:
        return self.manifests[-1].champion if self.manifests else None

    def open(self) -> list[RolloutSpec]:
        """Rollouts that have not ended, oldest first."""
        return [spec for spec in self.specs if not _ended(self.states.get(spec.number))]


class Leader:
    """
    Leads one model's rollouts, and keeps its champion serving; used by one thread.

    Args:
        epoch: Of the lease that this process holds.
    """

    def __init__(
        self,
        state: State,
        model: ContinuousModel,
        traffic: TrafficSplit,
        measuring: Measuring,
        telling: Telling,
        wall: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._model = model
        self._traffic = traffic
        self._measuring = measuring
        self._telling = telling
        self._wall = wall
        self.epoch = 0
        self._held: RolloutState | None = None  # with evidence that is not written yet, under its written nonce
        self._written: datetime | None = None
        self.unsettled = False  # whether the router has still to confirm something
        self.failing: Mapping[int, str] = {}
        self.standing: Standing | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work just now, in lines for people."""
        said = [f"v{version} does not serve: {why}" for version, why in self.failing.items()]
        return (*said, *([self._measuring.problem] if self._measuring.problem else []))

    def forget(self, epoch: int) -> None:
        """The lease is this process's anew: another may have led meanwhile."""
        self.epoch, self._held = epoch, None
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
            self._behind(look, spec)
        current = next(iter(look.open()), None)
        state = self._lead(look, current) if current is not None else None
        self._probation(look)
        self._tell(look)
        self._apply(look, current if state is not None and not state.phase.ended else None)
        self._tell(look)
        self.standing = standing(look.specs, look.states)
        return bool(look.open())

    # Observe

    def _observe(self) -> Look:
        registry, rollouts = self._state.registry, self._state.rollouts
        manifests, specs = registry.manifests(), rollouts.all()
        states = rollouts.states()
        later = max((state.epoch for state in states.values() if state is not None), default=0)
        if later > self.epoch:
            raise Fenced(
                f"rollouts of {self._model.name} are led by another process (epoch {later}; here {self.epoch})"
            )
        seen = self._traffic.seen()
        self.failing = seen.failing
        return Look(manifests, specs, states, seen, self._wall())

    def _cannot(self, error: RouterAway) -> None:
        """Router or variants do not answer: the rollout is in Error until they do again, and nothing is undone."""
        states = self._state.rollouts.states()
        current = next((spec for spec in self._state.rollouts.all() if not _ended(states.get(spec.number))), None)
        state = states.get(current.number) if current else None
        if current is None or state is None or state.phase is Phase.ERROR:
            return
        failed = self._remembered(state).model_copy(update={"phase": Phase.ERROR, "reason": error.message})
        self._telling.tell(current, self._save(failed))

    # Decide

    def _repaired(self, look: Look) -> bool:
        """Whether the challenger alias had to be put right; the rollouts then have to be read again."""
        todo = repair(look.manifest, look.specs, look.states, self._model.spec.rollout.strategy == "immediate")
        match todo:
            case Propose(version=version, champion=champion, cause=cause):
                try:
                    registered = self._state.registry.version(version)
                    propose(self._state, self._model, registered, champion, cause, self._wall)
                except NotFound as error:
                    self._telling.alert(f"rollout/v{version}", f"v{version} cannot get a rollout: {error.message}")
                    return False
                return True
            case Drop(version=version, cause=cause):
                self._state.registry.publish(lambda now: _without_challenger(now, version, cause, self._wall()))
                return True
        return False

    def _behind(self, look: Look, spec: RolloutSpec) -> None:
        """A rollout that waits behind another: under `replace` only the newest goes on waiting."""
        newest = look.open()[-1]
        if spec.number == newest.number or spec.policy.superseding != "replace":
            return
        state = look.states.get(spec.number) or self._begun(look, spec)
        reason = f"v{newest.version} takes the place of v{spec.version}, which waited"
        over = progress.ended(state, Phase.SUPERSEDED, reason, look.now)
        look.states[spec.number] = self._save(over)

    def _lead(self, look: Look, spec: RolloutSpec) -> RolloutState:
        """Measure, decide, and write down what is asked of the router."""
        before = look.states.get(spec.number) or self._begun(look, spec)
        state = self._remembered(before)
        if look.champion not in (spec.champion, spec.version) or (
            look.champion == spec.version and not promoting(state)
        ):
            after = self._overtaken(look, spec, state)
        else:
            after = self._decided(look, spec, _resumed(state))
        look.states[spec.number] = self._kept(before, after, look.now)
        return after

    def _decided(self, look: Look, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        state = self._measuring.measure(spec, state, look.seen, look.now)
        asked = self._state.rollouts.asked(spec.number)
        if promoting(state) and (look.champion == spec.version or not asked.aborted):
            return state
        newer = look.open()[-1].version if len(look.open()) > 1 else None
        ready = spec.version in look.seen.ready
        verdict = decide(spec, asked, state, evidence_of(state), ready, look.now, newer)
        after = progress.after(state, verdict, look.now)
        failing = look.seen.failing.get(spec.version)
        if isinstance(verdict, Hold) and verdict.phase is Phase.PENDING and failing:
            return after.model_copy(update={"phase": Phase.ERROR, "reason": f"{verdict.reason}: {failing}"})
        return after

    def _overtaken(self, look: Look, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        """Another champion was made meanwhile, by a person or by another run."""
        cause = look.manifest.cause if look.manifest else ""
        if look.champion == spec.version:
            return progress.promoted(state, f"it was made champion meanwhile: {cause}", look.now)
        return progress.ended(state, Phase.SUPERSEDED, f"v{look.champion} is champion now: {cause}", look.now)

    def _probation(self, look: Look) -> None:
        """A promoted challenger goes on being judged by late labels."""
        spec = next((each for each in reversed(look.specs) if each.version == look.champion), None)
        state = look.states.get(spec.number) if spec else None
        if spec is None or state is None or state.phase is not Phase.PROMOTED or not spec.policy.probation:
            return
        if state.ended is None or look.now >= state.ended + spec.policy.probation:
            return
        before, state = state, self._remembered(state)
        evidence = self._measuring.judged(evidence_of(state), spec, state)
        state = with_evidence(state, evidence, Reached.of(state))
        verdict = after_promotion(spec, state, evidence, look.now)
        if isinstance(verdict, RollBack):
            state = progress.ended(state, Phase.ROLLED_BACK, verdict.reason, look.now)
        look.states[spec.number] = self._kept(before, state, look.now)

    # Apply

    def _apply(self, look: Look, current: RolloutSpec | None) -> None:
        """Ask the router for what is written down, and write down what it confirms."""
        served = self._state.served.read()
        back = way_back(look.manifests, look.specs, look.states)
        roles = Roles(
            champion=look.champion,
            served=served,
            route=look.seen.route,
            ready=look.seen.ready,
            spec=current,
            state=look.states.get(current.number) if current else None,
            way_back=back.champion if back else None,
            sticky_header=(current.policy if current else self._model.spec.rollout).sticky_header or "",
        )
        serving = wanted(roles, look.now)
        self.unsettled = False
        if serving is None:
            return
        self._traffic.want(serving)
        moved = not confirms(look.seen.route, serving)
        look.seen = self._traffic.seen()
        confirmed = confirms(look.seen.route, serving)
        if moved and confirmed:
            crash.point("before-confirmed")
        self._note_served(look, served)
        for spec in look.specs:
            self._confirm(look, spec, serving, confirmed)
        if back is not None and confirmed and serving.champion == back.champion:
            self._take_back(back, look.states[back.number])
        self.unsettled = self.unsettled or not confirmed

    def _confirm(self, look: Look, spec: RolloutSpec, serving: Serving, confirmed: bool) -> None:
        """The router's word on what a rollout asked for last."""
        state = look.states.get(spec.number)
        if state is None or not state.epochs or state.phase is Phase.PROMOTED:
            return
        over = state.phase.ended
        if over and state.epochs[-1].confirmed_from is not None:
            return
        if over:  # it asked for no traffic at all
            route = look.seen.route
            mine = route is not None and spec.version not in (route.challenger, *((route.champion,)))
        elif promoting(state):
            mine = confirmed and serving.champion == spec.version
        else:
            asks = (state.weight_percent, state.shadow)
            got = (serving.weight_percent, serving.shadow)
            mine = confirmed and asks == got
        routed = progress.routed(state, mine, look.now)
        if routed is not state:
            routed = look.states[spec.number] = self._save(routed)
        if mine and promoting(routed):
            look.states[spec.number] = self._promote(spec, routed)
        self.unsettled = self.unsettled or routed.epochs[-1].confirmed_from is None

    def _promote(self, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        """The router sends everything to the challenger: now the registry says so too."""
        crash.point("before-promotion")
        version = self._state.registry.version(spec.version)
        cause = f"v{spec.version} was promoted by rollout {spec.name}: {state.reason}"
        now = self._wall()

        def moved(manifest: Manifest | None) -> Manifest | None:
            if manifest is None or manifest.champion != spec.champion:
                return None  # it stands already, or another is champion: the next look tells
            challenger = None if manifest.challenger == spec.version else manifest.challenger
            return _next(manifest, spec.version, challenger, cause, version.run_key, now)

        published = self._state.registry.publish(moved)
        if published.champion != spec.version:
            return state
        crash.point("after-promotion")
        return self._save(progress.promoted(state, state.reason, now))

    def _take_back(self, spec: RolloutSpec, state: RolloutState | None) -> None:
        """The former champion answers everything again: now the registry says so too."""
        reason = state.reason if state else ""

        def moved(manifest: Manifest | None) -> Manifest | None:
            if manifest is None or manifest.champion != spec.version:
                return None
            cause = f"v{spec.champion} is champion again: {reason}"
            return _next(manifest, spec.champion, manifest.challenger, cause, "", self._wall())

        self._state.registry.publish(moved)

    def _note_served(self, look: Look, served: Served | None) -> None:
        """Who answers, and for how long the one before him is kept."""
        if look.seen.route is None:
            return
        policies = [self._model.spec.rollout, *(spec.policy for spec in look.open()[:1])]
        keep = max((max(each.keep_previous, each.probation) for each in policies), default=timedelta(0))
        changed = served_now(served, look.seen.route, keep, self.epoch, look.now)
        if changed is not None:
            self._state.served.save(changed)

    # Keep

    def _begun(self, look: Look, spec: RolloutSpec) -> RolloutState:
        state = progress.begun(spec.number, self.epoch, {}, look.now)
        return self._measuring.begin(spec, state)

    def _remembered(self, written: RolloutState) -> RolloutState:
        """The state with the evidence that this process has measured beyond what is written."""
        held = self._held
        if held is not None and (held.number, held.nonce) == (written.number, written.nonce):
            return held
        return written

    def _kept(self, before: RolloutState, after: RolloutState, now: datetime) -> RolloutState:
        """Write the state where it says something new; evidence alone only every few seconds."""
        plain = {"evidence", "position", "nonce", "reason"}
        same = before.nonce and before.model_dump(exclude=plain) == after.model_dump(exclude=plain)
        mine = before.epoch == self.epoch  # else the one who led before is still to be fenced off
        if same and mine and self._written is not None and (now - self._written).total_seconds() < KEEP_SECONDS:
            self._held = after
            return after
        if same and mine and before.evidence == after.evidence and before.reason == after.reason:
            return before
        self._written = now
        saved = self._save(after)
        if len(saved.epochs) > len(before.epochs):
            crash.point("after-split")
        return saved

    def _save(self, state: RolloutState) -> RolloutState:
        saved = self._state.rollouts.save(state.model_copy(update={"epoch": self.epoch}))
        self._held = saved
        return saved

    def _tell(self, look: Look) -> None:
        for spec in look.specs:
            self._telling.tell(spec, look.states.get(spec.number))


def _ended(state: RolloutState | None) -> bool:
    return state is not None and state.phase.ended


def _resumed(state: RolloutState) -> RolloutState:
    """What failed works again: the phase is what it was, by what was asked of the router."""
    if state.phase is not Phase.ERROR:
        return state
    begun = bool(state.epochs) or state.step_started is not None
    phase = Phase.PENDING if not begun else Phase.SHADOW if state.shadow else Phase.CANARY
    return state.model_copy(update={"phase": phase})


def _without_challenger(now: Manifest | None, version: int, cause: str, when: datetime) -> Manifest | None:
    if now is None or now.challenger != version:
        return None
    return now.model_copy(update={"challenger": None, "cause": cause, "run_key": "", "recorded_at": when})


def _next(now: Manifest, champion: int, challenger: int | None, cause: str, run_key: str, when: datetime) -> Manifest:
    return Manifest(
        number=0,
        champion=champion,
        challenger=challenger,
        previous=now.champion,
        cause=cause,
        run_key=run_key,
        recorded_at=when,
    )
