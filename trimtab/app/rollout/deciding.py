"""From one look to what is asked of the router next: measured, decided by the pure rules, written down."""

from __future__ import annotations

from trimtab.adapters.state import State
from trimtab.app.rollout.keeping import Keeping
from trimtab.app.rollout.look import Look
from trimtab.app.rollout.measuring import Measuring, Reached, evidence_of, with_evidence
from trimtab.core.rollout import progress
from trimtab.core.rollout.decision import after_promotion, decide
from trimtab.core.rollout.evidence import with_rest
from trimtab.core.rollout.serving import promoting
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState
from trimtab.core.rollout.verdicts import Advance, Hold, Promote, RollBack


class Deciding:
    """Decides about one model's rollouts; each method leaves what it wrote in the look."""

    def __init__(self, state: State, measuring: Measuring, keeping: Keeping) -> None:
        self._rollouts = state.rollouts
        self._measuring = measuring
        self._keeping = keeping

    def lead(self, look: Look, spec: RolloutSpec) -> None:
        """Bring the one rollout on that is led."""
        before = look.states.get(spec.number) or self._begun(look, spec)
        state = self._keeping.remembered(before)
        if look.champion == spec.champion or (look.champion == spec.version and promoting(state)):
            after = self._decided(look, spec, _resumed(state))
        else:
            after = _overtaken(look, spec, state, self._rollouts.asked(spec.number))
        look.states[spec.number] = self._keeping.keep(before, after, look.now)

    def behind(self, look: Look, spec: RolloutSpec) -> None:
        """A rollout that waits behind another: under `replace` only the newest goes on waiting."""
        newest = look.open()[-1]
        if spec.number == newest.number or spec.policy.superseding != "replace":
            return
        state = look.states.get(spec.number) or self._begun(look, spec)
        reason = f"v{newest.version} takes the place of v{spec.version}, which waited"
        look.states[spec.number] = self._keeping.save(progress.ended(state, Phase.SUPERSEDED, reason, look.now))

    def probation(self, look: Look) -> None:
        """A promoted challenger goes on being judged, by late labels."""
        spec = next((each for each in reversed(look.specs) if each.version == look.champion), None)
        before = look.states.get(spec.number) if spec else None
        if spec is None or before is None or before.phase is not Phase.PROMOTED or before.ended is None:
            return
        if look.now >= before.ended + spec.policy.probation:
            return
        state = self._keeping.remembered(before)
        evidence = self._measuring.judged(evidence_of(state), spec, state)
        state = with_evidence(state, evidence, Reached.of(state))
        verdict = after_promotion(spec, state, evidence, look.now)
        if isinstance(verdict, RollBack):
            state = progress.ended(state, Phase.ROLLED_BACK, verdict.reason, look.now)
        look.states[spec.number] = self._keeping.keep(before, state, look.now)

    def _begun(self, look: Look, spec: RolloutSpec) -> RolloutState:
        return self._measuring.begin(spec, progress.begun(spec.number, self._keeping.epoch, {}, look.now))

    def _decided(self, look: Look, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        state = self._measuring.measure(spec, state, look.seen, look.now)
        ready = spec.version in look.seen.ready
        state = progress.answering(state, look.seen, spec.version, look.now)
        asked = self._rollouts.asked(spec.number)
        if promoting(state) and (look.champion == spec.version or (ready and not asked.aborted)):
            return state  # it is decided, and only to be confirmed
        newer = look.open()[-1].version if len(look.open()) > 1 else None
        verdict = decide(spec, asked, state, evidence_of(state), ready, look.now, newer)
        if isinstance(verdict, Advance | Promote):
            # Failures that have come and only wait to be compared are heard before the traffic moves on.
            state = with_evidence(state, with_rest(evidence_of(state)), Reached.of(state))
            verdict = decide(spec, asked, state, evidence_of(state), ready, look.now, newer)
        after = progress.after(state, verdict, look.now)
        failing = look.seen.failing.get(spec.version)
        if isinstance(verdict, Hold) and verdict.phase is Phase.PENDING and failing:
            return after.model_copy(update={"phase": Phase.ERROR, "reason": f"{verdict.reason}: {failing}"})
        return after


def _overtaken(look: Look, spec: RolloutSpec, state: RolloutState, asked: Asked) -> RolloutState:
    """Another champion was made meanwhile, by a person or by another run."""
    cause = look.manifest.cause if look.manifest else ""
    if look.champion == spec.version:
        return progress.promoted(state, f"it was made champion meanwhile: {cause}", look.now)
    if asked.aborted:
        return progress.ended(state, Phase.ABORTED, asked.reason or "somebody asked to abort it", look.now)
    return progress.ended(state, Phase.SUPERSEDED, f"v{look.champion} is champion now: {cause}", look.now)


def _resumed(state: RolloutState) -> RolloutState:
    """What failed works again: the phase is what it was, by what was asked of the router."""
    if state.phase is not Phase.ERROR:
        return state
    begun = bool(state.epochs) or state.step_started is not None
    phase = Phase.PENDING if not begun else Phase.SHADOW if state.shadow else Phase.CANARY
    return state.model_copy(update={"phase": phase})
