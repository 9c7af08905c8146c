"""
What a rollout does next: spec, wishes, state, evidence and *now* come in, a verdict comes out.

The order is the policy: what people ended; harm, which nothing outvotes; what people asked for; time; gates; proof.
Only proven harm rolls back, or that it is gone while requests go to it; only proven absence of harm promotes where
labels exist; and no traffic is no evidence.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.core.rollout.evidence import Evidence
from trimtab.core.rollout.proof import harm, harmless, numbers
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState
from trimtab.core.rollout.verdicts import Abort, Advance, Hold, Probation, Promote, RollBack, Settle, Supersede, Verdict
from trimtab.core.spec.rollout import Step
from trimtab.core.spec.units import format_duration

UNANSWERED = timedelta(minutes=2)  # a pod that moves to another node is back by then


def decide(
    spec: RolloutSpec,
    asked: Asked,
    state: RolloutState,
    evidence: Evidence,
    ready: bool,
    now: datetime,
    newer: int | None = None,
) -> Verdict:
    """
    The one decision about a rollout that has not ended.

    Args:
        spec: What it is to do.
        asked: What people asked of it.
        state: How far it is.
        evidence: What it has measured.
        ready: Whether the challenger's process answers.
        now: Wall clock.
        newer: The newest challenger registered since, if any.
    """
    if state.phase.ended:
        return Hold(f"{spec.name} ended as {state.phase}", state.phase)
    if asked.aborted:
        return Abort(asked.reason or "somebody asked to abort it")
    proven = _rolled_back(spec, evidence)
    if proven is not None:
        return proven
    if state.unanswered_since is not None and now - state.unanswered_since >= UNANSWERED:
        return _unanswered(spec, evidence)
    if asked.promoted:
        if not ready:
            return Hold(f"asked to promote v{spec.version}, which is not ready to serve yet", state.phase)
        return Promote(asked.reason or "somebody asked to promote it", numbers(evidence, spec))
    if newer is not None and spec.policy.superseding == "replace" and not _carried_weight(state):
        return Supersede(newer, f"v{newer} takes the place of v{spec.version}, which has carried no weight yet")
    if state.phase is Phase.HELD:
        return _held(spec, evidence)
    if asked.paused:
        return Hold(asked.reason or "somebody paused it", Phase.PAUSED, numbers(evidence, spec))
    if not ready:
        return _not_ready(spec, state, evidence, now)
    if not _begun(state):
        return _enter(spec, state, evidence, 0, f"v{spec.version} is ready")
    return _in_step(spec, asked, state, evidence, now)


def after_promotion(spec: RolloutSpec, state: RolloutState, evidence: Evidence, now: datetime) -> Probation:
    """
    Whether a promoted challenger stays: during probation, late labels go on judging the pair.

    RollBack only for a loss that is proven; Settle once probation is over.
    """
    ends = (state.ended or state.started) + spec.policy.probation
    for standing in harm(evidence, spec):
        if standing.test == "loss" and standing.proven and now < ends:
            return RollBack(f"on probation, harm is proven: {standing}", standing.metric, numbers(evidence, spec))
    if now < ends:
        return Hold(f"on probation for another {_duration(ends - now)}", Phase.PROMOTED, numbers(evidence, spec))
    return Settle(f"probation of {format_duration(spec.policy.probation)} is over", numbers(evidence, spec))


def _rolled_back(spec: RolloutSpec, evidence: Evidence) -> RollBack | None:
    found = [standing for standing in harm(evidence, spec) if standing.proven]
    if not found:
        return None
    reason = "harm is proven: " + "; ".join(map(str, found))
    return RollBack(reason, found[0].metric, numbers(evidence, spec))


def _held(spec: RolloutSpec, evidence: Evidence) -> Hold:
    reason = f"held after {format_duration(spec.policy.max_duration)}"
    if harmless(evidence, spec).proven:
        reason += f"; meanwhile it is shown harmless: {harmless(evidence, spec)}"
    return Hold(f"{reason}: somebody has to promote or abort it", Phase.HELD, numbers(evidence, spec))


def _not_ready(spec: RolloutSpec, state: RolloutState, evidence: Evidence, now: datetime) -> Verdict:
    reason = f"v{spec.version} is not ready to serve"
    if _overdue(spec, state, now):
        return _without_evidence(spec, evidence, f"{reason} after {_duration(now - state.started)}", served=False)
    recovered = _phase(state) if _begun(state) else Phase.PENDING
    return Hold(reason, recovered if state.phase is Phase.ERROR else state.phase, numbers(evidence, spec))


def _unanswered(spec: RolloutSpec, evidence: Evidence) -> RollBack:
    # Of such requests no test may ever hear: its own log and counters know none that did not reach it.
    reason = (
        f"nothing of v{spec.version} has answered for {format_duration(UNANSWERED)}, and the router sends it requests"
    )
    return RollBack(reason, "", numbers(evidence, spec))


def _in_step(spec: RolloutSpec, asked: Asked, state: RolloutState, evidence: Evidence, now: datetime) -> Verdict:
    steps = spec.policy.steps
    step = steps[state.step] if state.step < len(steps) else None
    if step is not None and step.pause is not None:
        if state.step not in asked.approved:
            return Hold(f"step {state.step + 1} waits for approval", Phase.PAUSED, numbers(evidence, spec))
        # Whoever approves has decided to go on: the time that it took them is not held against the challenger.
        return _next(spec, state, evidence, now, False, _approved(asked))
    if state.step_started is None:
        return Hold(f"the router has not confirmed step {state.step + 1} yet", _phase(state), numbers(evidence, spec))
    missing = _missing(spec, step, state, evidence, now) if step is not None else ""
    overdue = _overdue(spec, state, now)
    if missing and overdue:
        return _without_evidence(spec, evidence, missing, served=_served(evidence) > 0)
    if missing:
        return Hold(missing, _phase(state), numbers(evidence, spec))
    return _next(spec, state, evidence, now, overdue, _met(state, evidence))


def _missing(spec: RolloutSpec, step: Step, state: RolloutState, evidence: Evidence, now: datetime) -> str:
    """What the step's gate still asks for; empty when it is met."""
    assert state.step_started is not None
    if step.shadow is not None:
        # Mirrored requests are counted over all shadow steps, so the gates before this one are asked for again.
        gates = [s.shadow for s in spec.policy.steps[: state.step + 1] if s.shadow is not None]
        wanted = sum(gate.min_requests or spec.policy.min_requests for gate in gates)
        if evidence.mirrored.requests < wanted:
            return f"{evidence.mirrored.requests:,} of {wanted:,} mirrored requests"
        return ""
    wanted, seen = step.min_requests or spec.policy.min_requests, _requests_in_step(state, evidence)
    if seen < wanted:
        return f"{seen:,} of {wanted:,} requests at {state.weight_percent} %"
    if step.min_duration is not None and now - state.step_started < step.min_duration:
        rest = state.step_started + step.min_duration - now
        return f"{seen:,} requests at {state.weight_percent} %, and another {_duration(rest)} until minDuration"
    return ""


def _next(
    spec: RolloutSpec, state: RolloutState, evidence: Evidence, now: datetime, overdue: bool, why: str
) -> Verdict:
    """What follows a step whose gate is met."""
    steps, said = spec.policy.steps, numbers(evidence, spec)
    if state.step + 1 < len(steps):
        if overdue:
            missing = f"{why}, and {len(steps) - state.step - 1} of {len(steps)} steps are left"
            return _without_evidence(spec, evidence, missing, served=True)
        return _enter(spec, state, evidence, state.step + 1, why)
    if evidence.loss.labelled:
        shown = harmless(evidence, spec)
        if shown.proven:
            return Promote(f"{why}; shown harmless: {shown}", said)
        missing = f"{why}; not shown harmless yet: {shown}{_unused(evidence)}"
        if overdue:
            return _without_evidence(spec, evidence, missing, served=True)
        return Hold(missing, _phase(state), said)
    if spec.policy.strategy == "abTest" and not overdue:
        rest = max(state.started + spec.policy.max_duration - now, timedelta(0))
        return Hold(f"{why}; no labels came, so it runs for another {_duration(rest)}", _phase(state), said)
    return Promote(f"{why}; no harm proven; no labels came, so the loss was not judged", said)


def _unused(evidence: Evidence) -> str:
    """Why labels that came do not count, where none of them does: else people wait for nothing."""
    loss = evidence.loss
    if loss.challenger_units or not loss.left_out:
        return ""
    return f"; {loss.left_out:,} labelled rows do not count: one of the two learned from them, or could not score them"


def _enter(spec: RolloutSpec, state: RolloutState, evidence: Evidence, index: int, why: str) -> Advance:
    step = spec.policy.steps[index]
    said = numbers(evidence, spec)
    place = f"step {index + 1} of {len(spec.policy.steps)}"
    if step.pause is not None:
        reason = f"{why}; {place} waits for approval"
        return Advance(index, state.weight_percent, state.shadow, Phase.PAUSED, reason, said)
    if step.shadow is not None:
        return Advance(index, 0, True, Phase.SHADOW, f"{why}; {place}: a copy of the traffic", said)
    weight = step.set_weight or 0
    return Advance(index, weight, False, Phase.CANARY, f"{why}; {place}: {weight} % of the traffic", said)


def _without_evidence(spec: RolloutSpec, evidence: Evidence, missing: str, served: bool) -> Verdict:
    """maxDuration is over without proof either way."""
    policy, said = spec.policy, numbers(evidence, spec)
    reason = f"no proof either way in {format_duration(policy.max_duration)}: {missing}"
    if policy.on_no_evidence == "rollBack":
        return RollBack(f"{reason}; onNoEvidence: rollBack", "", said)
    # An idle night must not promote: who has answered nobody is held, whatever the policy.
    if policy.on_no_evidence == "promote" and served:
        return Promote(f"{reason}; onNoEvidence: promote", said)
    return Hold(f"{reason}: somebody has to promote or abort it", Phase.HELD, said)


def _overdue(spec: RolloutSpec, state: RolloutState, now: datetime) -> bool:
    # Waiting for an approval is people's time: after a pause step the clock starts anew with each step.
    paused = any(step.pause is not None for step in spec.policy.steps[: state.step])
    since = state.step_started or now if paused else state.started
    return now - since >= spec.policy.max_duration


def _begun(state: RolloutState) -> bool:
    # Not by the phase: a rollout that was paused or held before it began is in another than Pending.
    return bool(state.epochs) or state.step_started is not None


def _carried_weight(state: RolloutState) -> bool:
    return state.weight_percent > 0 or any(epoch.weight_percent > 0 for epoch in state.epochs)


def _requests_in_step(state: RolloutState, evidence: Evidence) -> int:
    assert state.step_started is not None
    return sum(
        counts.challenger
        for epoch, counts in zip(state.epochs, evidence.counts, strict=False)
        if epoch.confirmed_to is None or epoch.confirmed_to > state.step_started
    )


def _served(evidence: Evidence) -> int:
    return sum(counts.challenger for counts in evidence.counts) + evidence.mirrored.requests


def _approved(asked: Asked) -> str:
    return f"approved by {asked.approved_by}" if asked.approved_by else "approved"


def _phase(state: RolloutState) -> Phase:
    return Phase.SHADOW if state.shadow else Phase.CANARY


def _met(state: RolloutState, evidence: Evidence) -> str:
    if state.shadow:
        return f"{evidence.mirrored.requests:,} mirrored requests without proven harm"
    return f"{_requests_in_step(state, evidence):,} requests at {state.weight_percent} % without proven harm"


def _duration(value: timedelta) -> str:
    return format_duration(timedelta(seconds=max(round(value.total_seconds()), 0)))
