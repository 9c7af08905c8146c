"""
What a rollout has measured since the last look: answers of the router, mirrored requests of the log, losses by replay.

Where each reading goes on stands in the rollout's state beside the evidence, in one write: an answer counts once,
whoever is killed in between.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trimtab.adapters.state import State
from trimtab.app.rollout.replaying import Replaying
from trimtab.core.ports import Answer, ServingSeen, TrafficSplit
from trimtab.core.predictions import Position, PredictionLine
from trimtab.core.rollout import evidence as evidences
from trimtab.core.rollout.evidence import Evidence, LossPairs
from trimtab.core.rollout.values import RolloutSpec, RolloutState

ANSWERS_AT_ONCE = 10_000
ROUNDS = 20  # of reading; what is left is read at the next look
LOG_BYTES = 16 << 20  # of the prediction log at one look
LOG_SECONDS = 2.0  # between looks at the prediction log; variants put a segment every few seconds
EXPLAIN_ROUNDS = 4  # of so many bytes, to find out what a challenger raised
LATE = timedelta(minutes=2)  # mirrored requests are put into the log so long after the last of them, at most


@dataclass(frozen=True, slots=True)
class Reached:
    """Where reading goes on: in the router's log of answers (`first`: where it began), and in the prediction log."""

    first: str = ""
    router: str = ""
    log: Position = field(default_factory=dict)

    @classmethod
    def of(cls, state: RolloutState) -> Reached:
        return cls(**json.loads(state.position)) if state.position else cls()

    def __str__(self) -> str:
        return json.dumps({"first": self.first, "router": self.router, "log": self.log}, sort_keys=True)


def evidence_of(state: RolloutState) -> Evidence:
    """What the state keeps, as a value."""
    return Evidence.model_validate(state.evidence)


def with_evidence(state: RolloutState, evidence: Evidence, reached: Reached) -> RolloutState:
    kept = evidence.model_dump(mode="json", by_alias=True)
    return state.model_copy(update={"evidence": kept, "position": str(reached)})


class Measuring:
    """Measures for the one rollout that is led; without `replaying` no losses."""

    def __init__(self, state: State, traffic: TrafficSplit, replaying: Replaying | None) -> None:
        self._log = state.predictions
        self._traffic = traffic
        self._replaying = replaying
        self.forget()

    @property
    def problem(self) -> str:
        return self._replaying.problem if self._replaying else ""

    def forget(self) -> None:
        """Another process may have led meanwhile, and every process may have begun anew."""
        self._restarts: Mapping[int, int] = {}
        self._began: set[int] = set()
        self._log_read = float("-inf")  # monotonic seconds

    def begin(self, spec: RolloutSpec, state: RolloutState) -> RolloutState:
        """The state of a rollout that begins now: what was answered before says nothing of it."""
        _, router = self._traffic.answers("")
        return with_evidence(state, evidences.begin(spec, self._traffic.told_apart), Reached(router, router))

    def measure(self, spec: RolloutSpec, state: RolloutState, seen: ServingSeen, now: datetime) -> RolloutState:
        """
        The state with everything in it that was measured since.

        Raises:
            Unavailable: If the router's log or the store cannot be read.
        """
        evidence, reached = self._restarted(evidence_of(state), spec, seen), Reached.of(state)
        evidence, reached = self._answered(evidence, reached, spec, state)
        evidence, reached = self._mirrored(evidence, reached, spec, state, now)
        return with_evidence(state, self.judged(evidence, spec, state), reached)

    def judged(self, evidence: Evidence, spec: RolloutSpec, state: RolloutState) -> Evidence:
        """The evidence with the losses that labels tell of by now."""
        losses = self._replaying.newest(spec, state) if self._replaying else None
        if losses is None:
            return evidence
        if isinstance(losses, LossPairs):
            return evidences.with_losses(evidence, spec, losses)
        return evidences.with_live_losses(evidence, spec, losses, state.epochs)

    def raised(self, spec: RolloutSpec, state: RolloutState) -> Counter[str]:
        """What the challenger's model raised during the rollout, and how often, by the prediction log."""
        found: Counter[str] = Counter()
        position: Position = {}
        for _ in range(EXPLAIN_ROUNDS):
            lines, after = self._log.read(position, since=state.started - LATE, limit_bytes=LOG_BYTES)
            found.update(
                line.error
                for line in lines
                if isinstance(line, PredictionLine) and line.kind == "failure" and line.version == spec.version
            )
            if after == position:
                break
            position = after
        return found

    def _restarted(self, evidence: Evidence, spec: RolloutSpec, seen: ServingSeen) -> Evidence:
        """The first requests of a process that began anew are its own, not its model's."""
        for version in (spec.champion, spec.version):
            count = seen.restarts.get(version, 0)
            if version not in self._began or count > self._restarts.get(version, 0):
                evidence = evidences.with_restart(evidence, spec, version)
        self._began = {spec.champion, spec.version}
        self._restarts = dict(seen.restarts)
        return evidence

    def _answered(
        self, evidence: Evidence, reached: Reached, spec: RolloutSpec, state: RolloutState
    ) -> tuple[Evidence, Reached]:
        for _ in range(ROUNDS):
            answers, router = self._traffic.answers(reached.router, ANSWERS_AT_ONCE)
            if answers:
                evidence = evidences.with_answers(evidence, spec, answers, state.epochs)
            reached = replace(reached, router=router)
            if len(answers) < ANSWERS_AT_ONCE:
                break
        return evidence, reached

    def _mirrored(
        self, evidence: Evidence, reached: Reached, spec: RolloutSpec, state: RolloutState, now: datetime
    ) -> tuple[Evidence, Reached]:
        """Nobody waits for a mirrored answer, so that only the model servers' own log tells of it."""
        shadows = [epoch for epoch in state.epochs if epoch.shadow]
        if not shadows or (shadows[-1].confirmed_to is not None and now > shadows[-1].confirmed_to + LATE):
            return evidence, reached
        if time.monotonic() - self._log_read < LOG_SECONDS:
            return evidence, reached
        self._log_read = time.monotonic()
        begin = shadows[0].asked_at
        lines, position = self._log.read(reached.log, since=begin - LATE, limit_bytes=LOG_BYTES)
        requests = [line for line in lines if isinstance(line, PredictionLine) and line.at >= begin.timestamp()]
        challenger = [_answer(line) for line in requests if line.shadow and line.version == spec.version]
        champion = [_answer(line) for line in requests if not line.shadow and line.version == spec.champion]
        if challenger or champion:
            evidence = evidences.with_shadow(evidence, spec, challenger, champion)
        return evidence, replace(reached, log=position)


def _answer(line: PredictionLine) -> Answer:
    return Answer(line.at, line.version, line.kind == "failure", line.seconds, request_id=line.id)
