"""
Executing one decision: claim it, start its run, watch it, and see that it comes to an outcome.

Level-triggered: `advance` looks at claim and run as they are and does the next thing, whoever did the one before. So
it does not matter where a process was killed; each thing is done once because its record is create-only or swapped.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trimtab.adapters import crash
from trimtab.adapters.state import State
from trimtab.core.errors import Conflict
from trimtab.core.ports import Clock, RunLauncher, RunPhase, RunRequest, RunStatus
from trimtab.core.records import Claim, Decision, LedgerEntry, Outcome

MOST_ATTEMPTS = 3  # of one decision; a clean stop of the platform ends an attempt without counting
LEASE_SECONDS = 15.0
BACK_OFF_SECONDS = (2.0, 10.0)  # after the first and the second transient failure: a store needs seconds to restart
LOG_LINES = 20  # in the outcome of a failed run
WHOLE_LOG = 1_000_000
STEPS_THAT_FIT = ("train", "evaluate")
SDK_SILENCE = timedelta(hours=24)  # a step that takes longer than this is none of ours
log = logging.getLogger("trimtab.execution")


def run_id_of(run_key: str) -> Callable[[int], str]:
    """
    The id of each attempt: the same whoever computes it.

    >>> run_id_of("abc")(1) == run_id_of("abc")(1) != run_id_of("abc")(2)
    True
    """
    return lambda attempt: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run_key}/{attempt}"))


@dataclass
class Executor:
    """
    What it takes to execute decisions.

    Attributes:
        owner: Unique to this process among the living.
        entry: A ledger entry by its id.
        launched: Runs that this process started, and that may go on.
    """

    state: State
    launcher: RunLauncher
    clock: Clock
    wall: Callable[[], datetime]
    owner: str
    entry: Callable[[str], LedgerEntry]
    image: str = ""
    launched: set[str] = field(default_factory=set)

    def advance(self, decision: Decision) -> Claim | None:
        """
        Do what comes next for a decision that has no outcome; returns its claim, None while another holds it.

        Raises:
            Unavailable: If the store or the launcher does not answer: call again.
            Fenced: If another process has taken over.
        """
        claim = self._claim(decision)
        if claim is None:
            return None
        status = self.launcher.look_up(claim.run_id)
        if status is None:
            if claim.state == "submitted":
                # Started once, and nobody knows of it: its folder is gone, or it ran on a machine that is.
                self._transient(decision, claim, "the run is not known any more where it was started")
                return claim
            status = self._launch(decision, claim)
        if claim.state == "claimed":
            claim = self.state.decisions.submitted(claim)
            crash.point("after-submit")
        if status.phase in (RunPhase.SUCCEEDED, RunPhase.FAILED):
            self._ended(decision, claim, status)
        return claim

    def conclude_foreign(self, decision: Decision) -> None:
        """
        A run through the SDK that failed for good has nobody else to say so: what its steps wrote down says it, and
        after a long silence that nothing more will come.
        """
        failure = self.state.data.step(decision.run_key, "failure") or {}
        if failure.get("permanent"):
            self._fail(decision, f"{failure.get('step', 'a step')}: {failure.get('error')}", ())
        elif self.wall() - decision.recorded_at > SDK_SILENCE and self.wall() - self._heard(decision) > SDK_SILENCE:
            hours = SDK_SILENCE // timedelta(hours=1)
            self._fail(
                decision, f"nothing was heard of the run for {hours} hours: it was killed, or lost its store", ()
            )

    def _heard(self, decision: Decision) -> datetime:
        """When a step of the run last wrote something down."""
        prefix = self.state.layout.step(decision.run_key, "").removesuffix(".json")
        written = [info.modified for info in self.state.bucket.list(prefix)]
        return max(written, default=decision.recorded_at)

    def unfinished(self, decision: Decision) -> Claim | None:
        """
        For a decision that has its outcome: the claim whose run has still to end, None when all is over.

        A step writes the outcome, and the run goes on for a moment. Its log is kept when it has ended.
        """
        claim = self.state.decisions.claim(decision.number)
        status = self.launcher.look_up(claim.run_id) if claim is not None else None
        if claim is None or status is None:
            return None
        if status.phase in (RunPhase.PENDING, RunPhase.RUNNING):
            return claim
        self._keep_log(claim)
        return None

    def renew(self, claim: Claim) -> None:
        """Hold the claim for longer. Raises Fenced when another took it."""
        self.state.decisions.renew(claim, LEASE_SECONDS, self.wall())

    def interrupt(self, decision: Decision, claim: Claim) -> None:
        """
        The platform stops cleanly: end the run, and let the next start try it again at once.

        The attempt does not count as one of the three: it did not fail.
        """
        self.launcher.stop(claim.run_id)
        if self.state.decisions.outcome(decision.number) is None:
            self.state.data.put_step(decision.run_key, f"stopped-{claim.attempt}", {"runId": claim.run_id})
            self.state.decisions.back_off(claim, self.wall())

    def abandon(self) -> None:
        """
        Another process works for this model now: end the runs that go on in this one.

        Nothing is written: the other sees them as lost, and tries them again. Not for runs that live elsewhere, which
        it goes on with.
        """
        while self.launched:
            self.launcher.stop(self.launched.pop())

    # The claim

    def _claim(self, decision: Decision) -> Claim | None:
        """This process's claim on the decision, taken or taken over if it may be; None if it may not, just now."""
        held = self.state.decisions.claim(decision.number)
        if held is not None and held.owner == self.owner and held.retry_after is None:
            return held
        if held is not None and held.lease_until > self.wall():
            return None  # another's, or backing off
        # A dead owner's attempt goes on as it stands; one that nobody knows any more counts as failed, in `advance`.
        adopt = held is not None and held.retry_after is None
        number, ids = decision.number, run_id_of(decision.run_key)
        try:
            claim = self.state.decisions.take(number, self.owner, ids, LEASE_SECONDS, self.wall(), adopt)
        except Conflict as conflict:
            log.info("%s", conflict)
            return None
        crash.point("after-claim")
        return claim

    # The run

    def _launch(self, decision: Decision, claim: Claim) -> RunStatus:
        layout = self.state.layout
        self.launched.add(claim.run_id)
        return self.launcher.launch(
            RunRequest(
                run_id=claim.run_id,
                model=self.state.model,
                spec=self.state.uri(layout.spec(decision.spec)),
                state=self.state.address,
                objects=tuple(self.entry(each).uri for each in decision.entries),
                reason=decision.reason,
                run_key=decision.run_key,
                image=self.image,
            )
        )

    def _ended(self, decision: Decision, claim: Claim, status: RunStatus) -> None:
        self._keep_log(claim)
        self.launched.discard(claim.run_id)
        if self.state.decisions.outcome(decision.number) is not None:
            return  # the step that decided it has written so
        failure = self.state.data.step(decision.run_key, "failure") or {}
        if status.phase is RunPhase.SUCCEEDED:
            self._transient(decision, claim, "the run ended without an outcome")
        elif failure.get("permanent"):
            reason = f"{failure.get('step', 'a step')}: {failure.get('error') or status.error}"
            self._fail(decision, reason, self.launcher.logs(claim.run_id, LOG_LINES))
        else:
            self._transient(decision, claim, status.error or "the run was killed")

    def _keep_log(self, claim: Claim) -> None:
        if self.state.data.log(claim.run_id) is None:
            lines = self.launcher.logs(claim.run_id, WHOLE_LOG)
            self.state.data.put_log(claim.run_id, "".join(f"{line}\n" for line in lines))

    def _transient(self, decision: Decision, claim: Claim, error: str) -> None:
        """Try again under the same run key, a little later; after three failures give up."""
        stopped = sum(
            self.state.data.step(decision.run_key, f"stopped-{attempt}") is not None
            for attempt in range(1, claim.attempt + 1)
        )
        failures = claim.attempt - stopped
        if failures >= MOST_ATTEMPTS:
            last = self.launcher.logs(claim.run_id, LOG_LINES)
            self._fail(decision, f"{failures} attempts failed, the last one: {error}", last)
            return
        later = timedelta(seconds=BACK_OFF_SECONDS[min(max(failures, 1), len(BACK_OFF_SECONDS)) - 1])
        log.warning("decision %d: attempt %d failed: %s", decision.number, claim.attempt, error)
        self.state.decisions.back_off(claim, self.wall() + later)

    def _fail(self, decision: Decision, reason: str, last_lines: Sequence[str]) -> None:
        spent = spent_on_fits(self.state, decision.run_key)
        self.state.decisions.conclude(
            Outcome(
                number=decision.number,
                run_key=decision.run_key,
                state="failed",
                reason=reason,
                training_seconds=spent[0],
                fits=spent[1],
                log=tuple(last_lines),
                decided_at=self.clock.now(),
                recorded_at=self.wall(),
            )
        )


def spent_on_fits(state: State, run_key: str) -> tuple[float, int]:
    """Wall seconds and number of the fits of a run that failed: what its steps wrote down before it did."""
    seconds, fits = 0.0, 0
    for step in STEPS_THAT_FIT:
        done: dict[str, Any] = state.data.step(run_key, step) or {}
        if "seconds" in done:
            seconds, fits = seconds + float(done["seconds"]), fits + int(done.get("fits", 1))
    failure: dict[str, Any] = state.data.step(run_key, "failure") or {}
    if failure.get("step") in STEPS_THAT_FIT and "seconds" in failure:
        seconds, fits = seconds + float(failure["seconds"]), fits + 1
    return seconds, fits
