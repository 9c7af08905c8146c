"""What a rollout does next: every row of the policy, with the sentence that people read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from trimtab.core.rollout import evidence as evidences
from trimtab.core.rollout.decision import after_promotion, decide
from trimtab.core.rollout.evidence import Evidence, LossPairs
from trimtab.core.rollout.live import Counts
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState, WeightEpoch
from trimtab.core.rollout.verdicts import Abort, Advance, Hold, Promote, RollBack, Settle, Supersede, Verdict

MINUTE = timedelta(minutes=1)


@dataclass
class Case:
    """A rollout in its first weight step, ready, with nothing measured; a test says what is otherwise."""

    spec: RolloutSpec
    start: datetime
    evidence: Evidence = field(init=False)
    state: RolloutState = field(init=False)
    asked: Asked = field(default_factory=lambda: Asked(number=3))
    ready: bool = True
    after: timedelta = 5 * MINUTE
    newer: int | None = None

    def __post_init__(self) -> None:
        self.evidence = evidences.begin(self.spec)
        self.state = RolloutState(number=3, epoch=1, started=self.start)
        first = self.spec.policy.steps[0]
        if first.pause is None:
            self.at(0, first.set_weight or 0, shadow=first.shadow is not None)

    def at(self, step: int, weight: int, shadow: bool = False, phase: Phase | None = None) -> Case:
        epoch = WeightEpoch(weight_percent=weight, shadow=shadow, asked_at=self.start, confirmed_from=self.start)
        update = {
            "phase": phase or (Phase.SHADOW if shadow else Phase.CANARY),
            "step": step,
            "weight_percent": weight,
            "shadow": shadow,
            "step_started": self.start,
            "epochs": (epoch,),
        }
        self.state = self.state.model_copy(update=update)
        return self

    def change(self, **update: Any) -> Case:
        self.state = self.state.model_copy(update=update)
        return self

    def ask(self, **update: Any) -> Case:
        self.asked = self.asked.model_copy(update=update)
        return self

    def served(self, requests: int) -> Case:
        counts = (Counts(champion=10 * requests, challenger=requests),)
        self.evidence = self.evidence.model_copy(update={"counts": counts})
        return self

    def mirrored(self, requests: int) -> Case:
        seen = self.evidence.mirrored.model_copy(update={"requests": requests})
        self.evidence = self.evidence.model_copy(update={"mirrored": seen})
        return self

    def losses(self, worse: float, pairs: int = 3000) -> Case:
        """Of a challenger that errs on this share of the rows where the champion does not."""
        challenger = (np.arange(pairs) % 100 < 100 * worse).astype(float)
        given = LossPairs(np.zeros(pairs), challenger, mature=pairs)
        self.evidence = evidences.with_losses(self.evidence, self.spec, given)
        return self

    def labels_wait(self) -> Case:
        empty = np.array([])
        self.evidence = evidences.with_losses(self.evidence, self.spec, LossPairs(empty, empty, waiting=40))
        return self

    def labels_of_learned_rows(self) -> Case:
        empty = np.array([])
        self.evidence = evidences.with_losses(self.evidence, self.spec, LossPairs(empty, empty, mature=40, left_out=40))
        return self

    def harmed(self) -> Case:
        peak = self.evidence.errors.model_copy(update={"peak": 9.0})
        self.evidence = self.evidence.model_copy(update={"errors": peak})
        return self

    def decide(self) -> Verdict:
        now = self.start + self.after
        return decide(self.spec, self.asked, self.state, self.evidence, self.ready, now, self.newer)


@pytest.fixture
def case(spec: Any, start: datetime) -> Any:
    return lambda **rollout: Case(spec(**rollout), start)


def pending(case: Case) -> Case:
    return case.change(phase=Phase.PENDING, step_started=None, epochs=(), weight_percent=0, shadow=False)


# Steps and their gates


def test_a_challenger_that_is_not_ready_waits(case: Any) -> None:
    found = pending(case())
    found.ready = False
    assert found.decide() == Hold("v7 is not ready to serve", Phase.PENDING, found.decide().numbers)


def test_a_ready_challenger_enters_the_first_step(case: Any) -> None:
    verdict = pending(case()).decide()
    assert isinstance(verdict, Advance)
    assert (verdict.step, verdict.weight_percent, verdict.shadow, verdict.phase) == (0, 10, False, Phase.CANARY)
    assert verdict.reason == "v7 is ready; step 1 of 2: 10 % of the traffic"


def test_a_shadow_step_copies_the_traffic_and_gives_no_weight(case: Any) -> None:
    verdict = pending(case(steps=[{"shadow": {}}, {"setWeight": 5}])).decide()
    assert isinstance(verdict, Advance)
    assert (verdict.weight_percent, verdict.shadow, verdict.phase) == (0, True, Phase.SHADOW)


def test_a_step_holds_until_the_router_confirms_it(case: Any) -> None:
    verdict = case().served(5000).change(step_started=None).decide()
    assert isinstance(verdict, Hold)
    assert "router has not confirmed step 1" in verdict.reason


def test_a_step_holds_below_its_requests_and_advances_at_them(case: Any) -> None:
    below = case(minRequests=300).served(299).decide()
    assert isinstance(below, Hold)
    assert (below.reason, below.phase) == ("299 of 300 requests at 10 %", Phase.CANARY)
    verdict = case(minRequests=300).served(300).decide()
    assert isinstance(verdict, Advance)
    assert (verdict.step, verdict.weight_percent) == (1, 50)


def test_a_steps_own_gate_goes_before_the_rollouts(case: Any) -> None:
    steps = [{"setWeight": 10, "minRequests": 40}, {"setWeight": 50}]
    assert isinstance(case(steps=steps).served(40).decide(), Advance)


def test_only_requests_of_this_step_count(case: Any, start: datetime) -> None:
    found = case().served(5000).at(1, 50)
    before = found.state.epochs[0].model_copy(update={"confirmed_to": start + 2 * MINUTE, "weight_percent": 10})
    now = WeightEpoch(weight_percent=50, shadow=False, asked_at=start + 2 * MINUTE, confirmed_from=start + 2 * MINUTE)
    verdict = found.change(epochs=(before, now), step_started=start + 2 * MINUTE).decide()
    assert isinstance(verdict, Hold)
    assert verdict.reason == "0 of 200 requests at 50 %"


def test_no_traffic_is_no_evidence(case: Any) -> None:
    found = case()
    found.after = timedelta(hours=23)
    assert isinstance(found.decide(), Hold)


def test_a_step_holds_until_its_least_duration(case: Any) -> None:
    found = case(steps=[{"setWeight": 10, "minDuration": "10m"}, {"setWeight": 50}]).served(500)
    verdict = found.decide()
    assert isinstance(verdict, Hold)
    assert verdict.reason == "500 requests at 10 %, and another 5m until minDuration"
    found.after = 10 * MINUTE
    assert isinstance(found.decide(), Advance)


def test_a_shadow_step_counts_mirrored_requests(case: Any) -> None:
    steps = [{"shadow": {"minRequests": 500}}, {"setWeight": 5}]
    held = case(steps=steps).mirrored(499).decide()
    assert isinstance(held, Hold)
    assert (held.reason, held.phase) == ("499 of 500 mirrored requests", Phase.SHADOW)
    assert isinstance(case(steps=steps).mirrored(500).decide(), Advance)


def test_a_second_shadow_step_asks_for_requests_of_its_own(case: Any) -> None:
    steps = [{"shadow": {"minRequests": 500}}, {"shadow": {"minRequests": 100}}]
    found = case(strategy="shadow", steps=steps).mirrored(550).at(1, 0, shadow=True)
    assert isinstance(found.decide(), Hold)


# Pauses


def test_a_pause_step_keeps_the_weight_and_waits_for_its_own_approval(case: Any) -> None:
    steps = [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]
    entered = case(steps=steps).served(500).decide()
    assert isinstance(entered, Advance)
    assert (entered.step, entered.weight_percent, entered.phase) == (1, 10, Phase.PAUSED)
    waiting = case(steps=steps).served(500).at(1, 10, phase=Phase.PAUSED).ask(approved=(0,))
    assert waiting.decide().phase is Phase.PAUSED
    approved = waiting.ask(approved=(0, 1), approved_by="Ada").decide()
    assert isinstance(approved, Advance)
    assert (approved.step, approved.weight_percent) == (2, 50)
    assert approved.reason.startswith("approved by Ada")


def test_waiting_for_people_is_not_waiting_for_evidence(case: Any) -> None:
    steps = [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]
    found = case(steps=steps, onNoEvidence="rollBack").served(500).at(1, 10, phase=Phase.PAUSED)
    found.after = timedelta(days=9)
    verdict = found.decide()
    assert isinstance(verdict, Hold)
    assert verdict.phase is Phase.PAUSED
    # The approval starts the clock anew.
    late = found.at(2, 50).change(step_started=found.start + timedelta(days=9) - MINUTE, epochs=found.state.epochs)
    assert isinstance(late.served(0).decide(), Hold)


def test_who_pauses_a_rollout_that_has_not_begun_can_resume_it(case: Any) -> None:
    found = pending(case()).ask(paused=True, reason="pause by Ada")
    held = found.decide()
    assert (held.reason, held.phase) == ("pause by Ada", Phase.PAUSED)
    resumed = found.change(phase=Phase.PAUSED).ask(paused=False).decide()
    assert isinstance(resumed, Advance)
    assert resumed.step == 0


def test_a_paused_rollout_still_rolls_back_when_harm_is_proven(case: Any) -> None:
    assert isinstance(case().harmed().ask(paused=True).decide(), RollBack)


# Harm


def test_proven_harm_rolls_back_with_its_numbers(case: Any, epochs: Any, answers: Any) -> None:
    found = case(steps=[{"setWeight": 50}])
    given = answers([6, 7] * 200, after=3, failed=[False, True] * 200)
    found.evidence = evidences.with_answers(found.evidence, found.spec, given, epochs(50))
    verdict = found.decide()
    assert isinstance(verdict, RollBack)
    assert verdict.metric == "errors"
    assert verdict.reason.startswith("harm is proven: failed requests: 100 % of 200 against 0 % of 200")
    assert verdict.numbers["errors"]["challengerMean"] == 1
    assert verdict.numbers["errors"]["proven"]


def test_slow_answers_roll_back_as_latency(spec: Any, start: datetime, epochs: Any, answers: Any) -> None:
    found = Case(spec(latency=50.0, steps=[{"setWeight": 50}]), start)
    given = answers([6, 7] * 300, after=3, seconds=[0.01, 0.2] * 300)
    found.evidence = evidences.with_answers(found.evidence, found.spec, given, epochs(50))
    verdict = found.decide()
    assert isinstance(verdict, RollBack)
    assert verdict.metric == "latency"
    assert "requests beyond 50 ms" in verdict.reason


def test_a_worse_loss_rolls_back_before_any_weight(case: Any) -> None:
    found = case(steps=[{"shadow": {}}, {"setWeight": 5}]).losses(0.3)
    verdict = found.decide()
    assert isinstance(verdict, RollBack)
    assert verdict.metric == "loss"


def test_harm_goes_before_a_promotion_that_was_asked_for(case: Any) -> None:
    assert isinstance(case().harmed().ask(promoted=True).decide(), RollBack)


# Promotion


def last_step(case: Any, **rollout: Any) -> Case:
    found: Case = case(steps=[{"setWeight": 50}], **rollout).served(500)
    return found


def test_a_challenger_shown_harmless_is_promoted(case: Any) -> None:
    verdict = last_step(case).losses(0.0).decide()
    assert isinstance(verdict, Promote)
    assert "500 requests at 50 % without proven harm; shown harmless: loss: 0 % of 3,000" in verdict.reason


def test_no_harm_seen_is_not_shown_harmless(case: Any) -> None:
    for found in (last_step(case).losses(0.0, pairs=20), last_step(case).labels_wait()):
        verdict = found.decide()
        assert isinstance(verdict, Hold)
        assert verdict.phase is Phase.CANARY
        assert "not shown harmless yet" in verdict.reason


def test_labels_that_do_not_count_are_said_not_to(case: Any) -> None:
    verdict = last_step(case).labels_of_learned_rows().decide()
    assert isinstance(verdict, Hold)
    assert "40 labelled rows do not count: one of the two learned from them" in verdict.reason
    assert "do not count" not in last_step(case).labels_wait().decide().reason


def test_where_no_labels_come_the_gates_decide_and_the_reason_says_so(case: Any) -> None:
    verdict = last_step(case).decide()
    assert isinstance(verdict, Promote)
    assert verdict.reason.endswith("no labels came, so the loss was not judged")


def test_a_loss_proof_alone_skips_no_gate(case: Any) -> None:
    assert isinstance(case(steps=[{"setWeight": 50}]).served(10).losses(0.0).decide(), Hold)


def test_shadow_only_promotes_from_the_shadow(case: Any) -> None:
    found = case(strategy="shadow", steps=[{"shadow": {"minRequests": 500}}]).mirrored(500).losses(0.0)
    assert isinstance(found.decide(), Promote)


def test_an_ab_test_runs_until_the_evidence_decides_or_its_time_is_over(case: Any) -> None:
    ab = {"strategy": "abTest", "stickyHeader": "x-user"}
    assert isinstance(last_step(case, **ab).losses(0.0).decide(), Promote)
    undecided = last_step(case, **ab)
    verdict = undecided.decide()
    assert isinstance(verdict, Hold)
    assert "no labels came, so it runs for another" in verdict.reason
    undecided.after = timedelta(hours=24)
    assert isinstance(undecided.decide(), Promote)  # then as a canary: nothing but labels was missing


def test_promotion_by_request_waits_for_a_ready_challenger(case: Any) -> None:
    found = pending(case()).ask(promoted=True, reason="promote by Ada")
    assert found.decide() == Promote("promote by Ada", found.decide().numbers)
    found.ready = False
    assert isinstance(found.decide(), Hold)


# The end of its time


@pytest.mark.parametrize(("policy", "kind"), [("hold", Hold), ("promote", Promote), ("rollBack", RollBack)])
def test_without_proof_at_the_end_the_policy_decides(case: Any, policy: str, kind: type) -> None:
    found = last_step(case, onNoEvidence=policy, maxDuration="1h").losses(0.0, pairs=20)
    found.after = timedelta(minutes=59)
    assert isinstance(found.decide(), Hold)
    assert found.decide().phase is Phase.CANARY
    found.after = timedelta(hours=1)
    verdict = found.decide()
    assert isinstance(verdict, kind)
    assert "no proof either way in 1h" in verdict.reason
    if isinstance(verdict, Hold):
        assert verdict.phase is Phase.HELD
    if isinstance(verdict, RollBack):
        assert verdict.metric == ""


def test_no_weight_is_raised_once_time_is_over(case: Any) -> None:
    found = case(maxDuration="1h").served(500)
    found.after = timedelta(hours=1)
    verdict = found.decide()
    assert isinstance(verdict, Hold)
    assert verdict.phase is Phase.HELD
    assert "500 requests at 10 % without proven harm, and 1 of 2 steps are left" in verdict.reason


def test_an_approval_that_took_long_goes_on_all_the_same(case: Any) -> None:
    steps = [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]
    found = case(steps=steps, onNoEvidence="rollBack").at(1, 10, phase=Phase.PAUSED).ask(approved=(1,))
    found.after = timedelta(days=3)
    assert isinstance(found.decide(), Advance)
    last = case(steps=steps[:2], onNoEvidence="rollBack").at(1, 10, phase=Phase.PAUSED).ask(approved=(1,))
    last.after = timedelta(days=3)
    verdict = last.labels_wait().decide()
    assert isinstance(verdict, Hold)
    assert verdict.phase is Phase.CANARY


def test_an_idle_night_never_promotes(case: Any) -> None:
    for found in (case(onNoEvidence="promote"), pending(case(onNoEvidence="promote"))):
        found.ready = found.state.phase is not Phase.PENDING
        found.after = timedelta(days=2)
        verdict = found.decide()
        assert isinstance(verdict, Hold)
        assert verdict.phase is Phase.HELD


def test_a_held_rollout_waits_for_people_and_still_rolls_back(case: Any) -> None:
    held = last_step(case).losses(0.0).change(phase=Phase.HELD)
    verdict = held.decide()
    assert isinstance(verdict, Hold)
    assert "meanwhile it is shown harmless" in verdict.reason
    assert isinstance(held.ask(promoted=True).decide(), Promote)
    assert isinstance(held.ask(promoted=False, aborted=True).decide(), Abort)
    assert isinstance(held.ask(aborted=False).losses(0.3).decide(), RollBack)


# Other ends


def test_a_newer_challenger_replaces_this_one_before_its_first_weight(case: Any) -> None:
    found = case(steps=[{"shadow": {}}, {"setWeight": 5}])
    found.newer = 8
    verdict = found.decide()
    assert verdict == Supersede(8, "v8 takes the place of v7, which has carried no weight yet")


@pytest.mark.parametrize("superseding", ["replace", "queue"])
def test_a_newer_challenger_queues_behind_one_that_carries_weight(case: Any, superseding: str) -> None:
    found = case(superseding=superseding)
    found.newer = 8
    assert isinstance(found.decide(), Hold)
    if superseding == "queue":
        assert isinstance(pending(found).decide(), Advance)


def test_aborting_says_nothing_of_the_challenger(case: Any) -> None:
    assert case().harmed().ask(aborted=True, reason="abort by Ada").decide() == Abort("abort by Ada")


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED])
def test_what_has_ended_stays(case: Any, phase: Phase) -> None:
    verdict = case().harmed().change(phase=phase).ask(promoted=True).decide()
    assert isinstance(verdict, Hold)
    assert verdict.phase is phase


def test_a_crashed_challenger_holds_where_it_is(case: Any) -> None:
    found = case().served(500)
    found.ready = False
    verdict = found.decide()
    assert isinstance(verdict, Hold)
    assert verdict.phase is Phase.CANARY


def test_a_challenger_that_is_gone_while_requests_go_to_it_is_rolled_back(case: Any) -> None:
    found = case().served(500).ask(paused=True)
    found.ready = False
    found.change(unanswered_since=found.start)
    found.after = timedelta(seconds=119)
    assert isinstance(found.decide(), Hold)
    found.after = timedelta(seconds=120)
    verdict = found.decide()
    assert isinstance(verdict, RollBack)
    assert verdict.reason == "nothing of v7 has answered for 2m, and the router sends it requests"


# Probation


def test_late_labels_judge_a_promoted_challenger_during_probation(case: Any, start: datetime) -> None:
    found = case(probation="1h").change(phase=Phase.PROMOTED, ended=start)

    def at(minutes: int) -> Any:
        return after_promotion(found.spec, found.state, found.evidence, start + minutes * MINUTE)

    assert at(20) == Hold("on probation for another 40m", Phase.PROMOTED, at(20).numbers)
    assert isinstance(at(60), Settle)
    found.losses(0.3)
    verdict = at(20)
    assert isinstance(verdict, RollBack)
    assert verdict.metric == "loss"
    assert isinstance(at(60), Settle)
    # Errors and latency have no champion beside them any more.
    found.losses(0.0).harmed()
    assert isinstance(at(20), Hold)
