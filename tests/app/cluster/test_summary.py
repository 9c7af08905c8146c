"""The status of a ContinuousModel, as kubectl shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trimtab.adapters.kubernetes.conditions import Condition, find, merged
from trimtab.app.cluster.commands import Commands
from trimtab.app.cluster.summary import patch, summary
from trimtab.app.status import Held, Seen, status_of
from trimtab.core.records import Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOUND = Condition("Accepted", "True", "Accepted", "the spec is sound")
WAITING = status_of(
    Seen("flights", 3, {}, (), {}, held=Held("waiting", "cooldown", NOW + timedelta(hours=1), "policy"))
)


def test_a_status_that_says_the_same_is_the_same() -> None:
    first = summary({}, SOUND, WAITING, (), 1, NOW)
    assert summary(first, SOUND, WAITING, (), 1, NOW + timedelta(hours=1)) == first


def test_what_is_waited_for_is_said_with_its_end() -> None:
    said = summary({}, SOUND, WAITING, (), 1, NOW)
    assert (said["waiting"], said["waitingUntil"]) == ("cooldown", "2026-01-01T01:00:00Z")
    training = find(said["conditions"], "Training")
    assert training is not None
    assert (training["status"], training["reason"]) == ("False", "Waiting")


def test_before_the_first_look_what_stands_there_stays() -> None:
    said = summary({"champion": 7, "conditions": []}, SOUND, None, ("the store is away",), 2, NOW)
    assert said["champion"] == 7
    assert said["problems"] == ["the store is away"]


def test_conditions_of_others_stay() -> None:
    others = [{"type": "Reviewed", "status": "True"}]
    assert merged(others, [SOUND], 1, NOW)[0] == others[0]


def test_what_is_gone_is_patched_away() -> None:
    before = summary({}, SOUND, WAITING, (), 1, NOW)
    idle = status_of(Seen("flights", 3, {}, (), {}, held=Held("ignored", "nothing new", None, "policy")))
    changes = patch(before, summary(before, SOUND, idle, (), 1, NOW))
    assert changes["waitingUntil"] is None
    assert changes["waiting"] == "nothing new"
    assert "uploads" not in changes


def test_a_spec_that_is_accepted_and_not_looked_at_yet_is_not_said_to_be_refused() -> None:
    refused = Condition("Accepted", "False", "Refused", "found no such estimator")
    before = summary({}, refused, None, (), 1, NOW)
    assert find(before["conditions"], "Training")["reason"] == "Refused"
    training = find(summary(before, SOUND, None, ("the store is away",), 2, NOW)["conditions"], "Training")
    assert (training["status"], training["message"]) == ("Unknown", "no look since the spec was accepted")
    goes_on = {"conditions": [{"type": "Training", "status": "True", "message": "decision 5"}]}
    kept = find(summary(goes_on, SOUND, None, (), 2, NOW)["conditions"], "Training")
    assert kept["message"] == "decision 5"


def test_the_next_move_has_commands_that_work_in_a_cluster() -> None:
    failed = Outcome(number=5, run_key="r", state="failed", reason="no rows", decided_at=NOW, recorded_at=NOW)
    status = status_of(Seen("flights", 3, {}, (), {5: failed}))
    assert status.next_move == "`trimtab logs flights/5`, mend what it says, then `trimtab run flights`"
    said = summary({}, SOUND, status, (), 1, NOW, Commands("shop", "ml").told)["nextMove"]
    pod = "kubectl -n ml exec deploy/trimtab-listener -- env TRIMTAB_NAMESPACE=shop trimtab"
    assert said == f"`{pod} logs flights/5`, mend what it says, then `{pod} run flights`"
    steering = "`trimtab plan flights`, then `trimtab approve flights` or `trimtab approve flights 3`"
    plan, step, candidate = Commands("shop", "ml").told(steering).split("`")[1::2]
    assert (plan, step) == ("kubectl trimtab plan flights -n shop", "kubectl trimtab approve flights -n shop")
    assert candidate == f"{pod} approve flights 3"
