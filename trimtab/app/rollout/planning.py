"""
`trimtab plan`: what the controller would do now, and why, from what is written down.

A dry run of the same decision over the same records; nothing is written and nothing is asked of the router.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import exp
from typing import TYPE_CHECKING, Any

from trimtab.app.rollout.measuring import evidence_of
from trimtab.core.rollout.aliases import Drop, Propose, repair, way_back
from trimtab.core.rollout.decision import after_promotion, decide
from trimtab.core.rollout.evidence import Evidence, begin
from trimtab.core.rollout.plan import Expected, expected
from trimtab.core.rollout.proof import harm, harmless
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState
from trimtab.core.rollout.verdicts import Advance, Hold, Promote

if TYPE_CHECKING:
    from trimtab.adapters.state import State

HARMLESS = "harmless"
LOG_HUGE = 600.0  # beyond it exp overflows; it is proof all the same


@dataclass(frozen=True)
class Test:
    """One test: its e-value now, and what would prove."""

    name: str
    what: str
    e_value: float
    needed: float
    proven: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "test": self.name,
            "what": self.what,
            "eValue": self.e_value,
            "needed": self.needed,
            "proven": self.proven,
        }


@dataclass(frozen=True)
class Plan:
    """
    What would be done.

    Attributes:
        rollout: The name of the one that goes on; empty without one.
        would: Advance, Hold, RollBack, Promote, Abort, Supersede; propose, drop or nothing without a rollout.
        steps: What is still to come, of the rollout's own steps, with the requests that each asks for.
    """

    model: str
    champion: int | None
    rollout: str
    phase: str
    would: str
    reason: str
    tests: tuple[Test, ...] = ()
    steps: tuple[Expected, ...] = ()
    requests_per_second: float | None = None
    waiting: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "champion": self.champion,
            "rollout": self.rollout,
            "phase": self.phase,
            "would": self.would,
            "reason": self.reason,
            "tests": [test.to_json() for test in self.tests],
            "steps": [
                {"step": each.step, "what": each.what, "requests": each.requests, "seconds": each.seconds}
                for each in self.steps
            ],
            "requestsPerSecond": self.requests_per_second,
            "waiting": list(self.waiting),
        }


def plan(state: State, now: datetime, immediate: bool = False) -> Plan:
    """
    The plan of a model.

    Args:
        now: Wall clock.
        immediate: Whether the spec of now knows no rollouts.

    Raises:
        Unavailable: If the store does not answer.
    """
    manifests, specs, states = state.registry.manifests(), state.rollouts.all(), state.rollouts.states()
    champion = manifests[-1].champion if manifests else None
    going_on = [spec for spec in specs if (at := states.get(spec.number)) is None or not at.phase.ended]
    if not going_on:
        back = way_back(manifests, specs, states)
        if back is not None:
            said = f"v{back.champion} takes over from v{back.version}, which is proven worse"
            return Plan(state.model, champion, "", "", "RollBack", said)
        todo = repair(manifests[-1] if manifests else None, specs, states, immediate)
        return _quiet(state.model, champion, todo, specs, states, now)
    spec = going_on[0]
    at = states.get(spec.number) or RolloutState(number=spec.number, epoch=0, started=now)
    newer = going_on[-1].version if len(going_on) > 1 else None
    return _of_rollout(
        state.model,
        champion,
        spec,
        state.rollouts.asked(spec.number),
        at,
        newer,
        now,
        tuple(each.name for each in going_on[1:]),
    )


def _of_rollout(
    model: str,
    champion: int | None,
    spec: RolloutSpec,
    asked: Asked,
    at: RolloutState,
    newer: int | None,
    now: datetime,
    waiting: tuple[str, ...],
) -> Plan:
    evidence = evidence_of(at) if at.evidence else begin(spec)
    # Whether its process answers just now only the platform knows: it did when the rollout left Pending.
    ready = at.phase not in (Phase.PENDING, Phase.ERROR)
    verdict = decide(spec, asked, at, evidence, ready, now, newer)
    would, reason = type(verdict).__name__, verdict.reason
    if at.phase is Phase.ERROR:
        would, reason = "Hold", f"nothing until it works again: {at.reason}"
    rate = requests_per_second(evidence, at, now)
    judges = spec.max_latency_milliseconds is not None
    coming = [
        each for each in expected(spec.policy, rate, judges_latency=judges) if each.step is None or each.step >= at.step
    ]
    return Plan(
        model=model,
        champion=champion,
        rollout=spec.name,
        phase=at.phase.value,
        would=would,
        reason=reason,
        tests=_tests(spec, evidence),
        steps=tuple(coming) if isinstance(verdict, Hold | Advance | Promote) else (),
        requests_per_second=rate,
        waiting=waiting,
    )


def _quiet(
    model: str,
    champion: int | None,
    todo: Propose | Drop | None,
    specs: list[RolloutSpec],
    states: dict[int, RolloutState | None],
    now: datetime,
) -> Plan:
    """No rollout goes on: the alias may ask for one, or the last promotion may be on probation."""
    if isinstance(todo, Propose):
        said = f"a rollout of v{todo.version} beside v{todo.champion}: {todo.cause}"
        return Plan(model, champion, "", "", "Propose", said)
    if isinstance(todo, Drop):
        return Plan(model, champion, "", "", "Drop", todo.cause)
    last = next((spec for spec in reversed(specs) if spec.version == champion), None)
    at = states.get(last.number) if last else None
    if last is not None and at is not None and at.phase is Phase.PROMOTED and at.ended and last.policy.probation:
        evidence = evidence_of(at)
        verdict = after_promotion(last, at, evidence, now)
        return Plan(
            model, champion, last.name, at.phase.value, type(verdict).__name__, verdict.reason, _tests(last, evidence)
        )
    why = "no challenger waits" if champion else "there is no champion yet"
    return Plan(model, champion, "", "", "Nothing", why)


def _tests(spec: RolloutSpec, evidence: Evidence) -> tuple[Test, ...]:
    # Harm once proven stays proven, so that its highest e-value counts; of harmlessness where it stands now.
    found = [Test(each.test, str(each), _e(each.peak), _e(each.needed), each.proven) for each in harm(evidence, spec)]
    if evidence.loss.labelled:
        shown = harmless(evidence, spec)
        found.append(Test(HARMLESS, str(shown), _e(shown.log_e), _e(shown.needed), shown.proven))
    return tuple(found)


def requests_per_second(evidence: Evidence, at: RolloutState, now: datetime) -> float | None:
    """Of both variants, since the router confirmed the split of now; None before anybody asked."""
    if not at.epochs or at.epochs[-1].confirmed_from is None or len(evidence.counts) < len(at.epochs):
        return None
    counts = evidence.counts[len(at.epochs) - 1]
    seconds = (now - at.epochs[-1].confirmed_from).total_seconds()
    requests = counts.champion + counts.challenger
    return requests / seconds if requests and seconds > 1 else None


def _e(log_e: float) -> float:
    return exp(min(log_e, LOG_HUGE))
