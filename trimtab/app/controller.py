"""
Observe, decide, apply: the one place where a verdict takes effect.

Each call looks at everything afresh, so that nothing depends on what an earlier call, or an earlier process, got done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import Protocol

from trimtab.adapters import crash
from trimtab.adapters.arrivals import assemble, list_source
from trimtab.adapters.estimators import code_digest
from trimtab.adapters.requests import Requests
from trimtab.adapters.state import State
from trimtab.app.chronicle import Chronicle
from trimtab.app.clocks import WallClock
from trimtab.app.execution import Executor
from trimtab.app.status import Held, Seen, Status, status_of
from trimtab.core.errors import Invalid, TrimtabError, Unavailable
from trimtab.core.monitor.alarm import halved
from trimtab.core.monitor.findings import Findings
from trimtab.core.observation import observe, serving_since
from trimtab.core.ports import Buckets, Clock, RunPhase
from trimtab.core.records import (
    Claim,
    Decision,
    IntakeOutcome,
    LedgerEntry,
    Manifest,
    ModelVersion,
    Outcome,
    run_key,
)
from trimtab.core.rollout.setbacks import carrying, taken_back
from trimtab.core.spec.digests import training_digest
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.trigger import decide
from trimtab.core.triggering import Ignore, Observed, Policy, StartRun, Verdict, Wait

LIVE = (RunPhase.PENDING, RunPhase.RUNNING)


class Taken(Protocol):
    """What has arrived and how its intake ended: `app.intake.Intake`, or what another process wrote of it."""

    @property
    def outcomes(self) -> Mapping[str, IntakeOutcome]:
        """By ledger id, of what is taken in."""

    def entries(self) -> Mapping[str, LedgerEntry]:
        """By ledger id, everything ever seen."""

    def current(self) -> list[LedgerEntry]:
        """Without what has been deleted or replaced in the source since."""


@dataclass
class Controller:
    """
    Decides for one model, and executes what it decided; used by the one worker.

    Attributes:
        findings: The monitor's newest.
        recipe: The training digest, where the user's code is not in this process's reach; None: it is read here.
        may_start: Says why no run may start just now, however much calls for one; empty where one may.
        rereads: Whether what was taken in under another data section is read again here; else the run does it.
        over: Decisions whose run has ended, and whose log is kept.
        trouble: Why the open decision could not be brought on in the last call of `advance`, which told all else.
    """

    state: State
    buckets: Buckets
    model: ContinuousModel
    spec: str  # digest of the spec's text in the state
    clock: Clock
    wall: Callable[[], datetime]
    intake: Taken
    executor: Executor
    chronicle: Chronicle
    requests: Requests
    spec_folder: str = ""
    findings: Callable[[], Findings | None] = lambda: None
    recipe: Callable[[], str] | None = None
    may_start: Callable[[], str] = lambda: ""
    rereads: bool = True
    over: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._policy = Policy(self.model.name, self.model.spec.triggers, self.model.spec.suspend)
        self._current: tuple[Decision, Claim] | None = None  # being executed by this process, as far as it knows
        self._open = False
        self._ended = False  # whether a decision came to its outcome in the last call
        self.trouble: TrimtabError | None = None
        self._seen = Seen(self.model.name, 0, {}, (), {})

    @property
    def executing(self) -> bool:
        return self._current is not None

    @property
    def current(self) -> tuple[Decision, Claim] | None:
        """The decision that this process executes, with its claim."""
        return self._current

    @property
    def open(self) -> bool:
        """Whether a decision had no outcome, or its run no end, at the last call of `advance`."""
        return self.executing or self._open

    def run_goes_on(self) -> bool:
        """Whether the run that goes on still goes on, by the launcher alone: the store is asked nothing."""
        if self._current is None:
            return False
        status = self.executor.launcher.look_up(self._current[1].run_id)
        return status is not None and status.phase in LIVE

    def forget(self) -> None:
        """Another process may have acted: believe nothing that was read before."""
        self._current = None

    def abandon(self) -> None:
        """Another process works for this model: end what goes on in this one, and believe nothing that was read."""
        self.forget()
        self.executor.abandon()

    def hold(self) -> None:
        """Renew the claim on what is being executed. Raises Fenced when another took it."""
        if self._current is not None:
            self.executor.renew(self._current[1])

    def interrupt(self) -> None:
        """The platform stops cleanly: end the run that goes on; it is tried again at the next start."""
        if self._current is not None:
            self.executor.interrupt(*self._current)
            self._current = None

    def advance(self) -> Verdict | None:
        """
        Bring on the open decision, or make one; returns the verdict, None while a decision is open.

        Raises:
            Unavailable: If the store or the launcher does not answer: call again.
            Invalid: If the launcher would never start the run.
            Conflict: If another wrote first: call again.
            Fenced: If another process works for this model now.
        """
        decisions = self.state.decisions.all()
        results = self.state.decisions.outcomes()
        self.trouble = None
        try:
            open_decision = self._execute(decisions, results)
        except (Unavailable, Invalid) as error:
            open_decision = self._unclear(decisions, results, error)
        if open_decision is not None or self._ended:
            results = self.state.decisions.outcomes()
        manifests = self.state.registry.manifests()
        champion = self._champion(manifests)
        observed = self._observe(decisions, results, open_decision, champion, manifests)
        verdict = decide(self._policy, observed, self.clock.now())
        if isinstance(verdict, StartRun) and (full := self.may_start()):
            verdict = Wait(None, full, "wall")
        started = self._start(verdict, observed, len(decisions) + 1) if isinstance(verdict, StartRun) else None
        # Told last, because a run that starts is in more of a hurry than the journal.
        self.chronicle.intakes(self.intake.entries(), self.intake.outcomes)
        self.chronicle.decisions(decisions, results)
        self.chronicle.promotions(manifests)
        if self._policy.triggers.drift is not None:
            self.chronicle.drift(observed.drift)
        if started is not None:
            decisions.append(started)
            self.chronicle.decisions([started], {})
        if started or open_decision is None or observed.arrivals or observed.requests:
            # That it waits for the run that goes on is news only where something does wait.
            self.chronicle.verdict(verdict)
        self._open = started is not None or open_decision is not None
        self._seen = Seen(
            model=self.model.name,
            seen=len(self.intake.entries()),
            outcomes=self.intake.outcomes,
            decisions=decisions,
            results=results,
            manifest=manifests[-1] if manifests else None,
            champion=champion,
            claim=self._current[1] if self._current else self._claimed(started or open_decision),
            held=_held(verdict) if open_decision is None else None,
        )
        if self.trouble is not None:
            raise self.trouble
        return verdict

    def _unclear(self, decisions: list[Decision], results: Mapping[int, Outcome], error: TrimtabError) -> Decision:
        """
        The decision that could not be brought on, mostly because the launcher does not answer.

        That keeps nobody from telling what is known; a store that is away says so again.
        """
        ours = [decision for decision in decisions if decision.reason != "sdk"]
        if not ours:
            raise error
        self.trouble, self._current = error, None
        return next((decision for decision in ours if decision.number not in results), ours[-1])

    def _execute(self, decisions: list[Decision], results: Mapping[int, Outcome]) -> Decision | None:
        """The decision that is open, brought on by what comes next; None when none is."""
        self._ended = False
        ours = [decision for decision in decisions if decision.reason != "sdk"]
        for decision in decisions:
            if decision.reason == "sdk" and decision.number not in results:
                self.executor.conclude_foreign(decision)
        self._current = None
        for decision in ours:
            if decision.number in results:
                continue
            claim = self.executor.advance(decision)
            if self.state.decisions.outcome(decision.number) is None:
                self._current = (decision, claim) if claim is not None and claim.retry_after is None else None
                return decision
            self._ended = True
        # One run at a time: only the newest may have an outcome and a process that has not ended yet.
        if ours and ours[-1].number not in self.over:
            claim = self.executor.unfinished(ours[-1])
            if claim is not None:
                self._current = (ours[-1], claim)
                return ours[-1]
            self.over.add(ours[-1].number)
        return None

    def _observe(
        self,
        decisions: list[Decision],
        results: Mapping[int, Outcome],
        open_decision: Decision | None,
        champion: ModelVersion | None,
        manifests: list[Manifest],
    ) -> Observed:
        if open_decision is not None:  # its run may have an outcome, and still not have ended
            results = {number: result for number, result in results.items() if number != open_decision.number}
        specs, states = self.state.rollouts.all(), self.state.rollouts.states()
        drift, findings = self._policy.triggers.drift, self.findings()
        number = champion.number if champion else None
        return observe(
            entries=self.intake.current(),
            outcomes=self.intake.outcomes,
            decisions=decisions,
            results=results,
            champion=champion,
            requests=self.requests.ids(),
            training_digest=self._training_digest(),
            maturity=self.model.spec.data.labels.maturity,
            wall=self.wall(),
            wall_is_policy=isinstance(self.clock, WallClock),
            # Where requests are watched too, each of the two has half of the accepted alarms.
            drift=halved(drift) if findings and findings.inputs else drift,
            champion_since=serving_since(manifests),
            asked=findings.drifted(number) if findings else (),
            worse=findings.worse(number) if findings else None,
            taken_back=taken_back(specs, states, manifests, self.state.registry.versions()),
            rollout=carrying(specs, states),
        )

    def _start(self, verdict: StartRun, observed: Observed, number: int) -> Decision:
        """Write the decision down, and start its run."""
        buckets = self.buckets if self.rereads else None
        dataset = assemble(self.state, list_source(self.buckets, self.model), self.model, buckets)
        state, recipe = self.state, observed.training_digest
        decision = state.decisions.propose(
            Decision(
                number=number,
                reason=verdict.reason,
                entries=verdict.entries,
                dataset=dataset.digest,
                training_digest=recipe,
                spec=self.spec,
                run_key=run_key(state.namespace, state.model, verdict.entries, recipe, verdict.reason, number),
                evidence=verdict.evidence,
                decided_at=self.clock.now(),
                recorded_at=self.wall(),
            )
        )
        crash.point("after-decision")
        try:
            claim = self.executor.advance(decision)
        except (Unavailable, Invalid) as error:
            self.trouble, claim = error, None
        self._current = (decision, claim) if claim is not None else None
        return decision

    def _claimed(self, decision: Decision | None) -> Claim | None:
        """The claim of an open decision that this process does not execute just now: another's, or backing off."""
        return self.state.decisions.claim(decision.number) if decision is not None else None

    def _champion(self, manifests: list[Manifest]) -> ModelVersion | None:
        number = manifests[-1].champion if manifests else None
        return None if number is None else self.state.registry.version(number)

    def _training_digest(self) -> str:
        """Read each time: the user's own estimator may be edited while the platform runs."""
        if self.recipe is not None:
            return self.recipe()
        code = code_digest(self.model.spec.training, self.spec_folder)
        return training_digest(self.model, code, version("scikit-learn"))

    def status(self, problems: tuple[str, ...] = ()) -> Status:
        """How the model stood at the last call of `advance`."""
        return status_of(replace(self._seen, problems=problems, findings=self.findings()))


def _held(verdict: Verdict) -> Held | None:
    if isinstance(verdict, Ignore):
        return Held("ignored", verdict.reason, None, "policy")
    if isinstance(verdict, Wait):
        return Held("waiting", verdict.reason, verdict.until, verdict.clock)
    return None
