"""Alerts, through apprise to a real HTTP server: each event once, nothing held up, no address in any log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bikes
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.alerting import Alerting
from trimtab.core.errors import Invalid
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel

SECRET = "t0ken-that-nobody-may-read"  # in the address of every inbox
NOW = datetime(2012, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.app.alerting.LOOK_SECONDS", 0.02)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(), "s3://state/default", "bikes", tmp_path / "cache")


@pytest.fixture
def begin() -> Iterator[Callable[..., Alerting]]:
    """Alerting that runs; stopped at the end."""
    begun: list[Alerting] = []

    def start(state: State, model: ContinuousModel, acts: Callable[[], bool] = lambda: True) -> Alerting:
        alerting = Alerting(state, model, acts, pauses=(0.02, 0.02))
        begun.append(alerting)
        alerting.start()
        return alerting

    yield start
    for alerting in begun:
        alerting.stop()


def spec(alerts: str = "[{urlFrom: {env: BIKES_ALERTS}}]") -> ContinuousModel:
    return load(f"{bikes.spec()}  alerts: {alerts}\n")


def tell(of: State, id: str, kind: str, summary: str, **evidence: Any) -> None:
    assert of.journal.tell(id, kind, summary, evidence, NOW) is not None


def tell_one_of_each(state: State) -> None:
    tell(state, "ledger/a/ingested", "ingested", "a.csv: 12 rows; drift says retrain: heat moved", verdict="retrain")
    tell(state, "ledger/b/quarantined", "quarantined", "b.csv: set aside (unit_change): heat looks like Fahrenheit")
    tell(state, "wait/1", "waiting", "upload: the budget of 24 hours is used up until 2012-06-02 00:00 UTC")
    tell(state, "outcome/1", "finished", "decision 1: failed: train: it raised", state="failed")
    tell(state, "outcome/2", "finished", "decision 2: awaitingApproval: short of the floor", state="awaitingApproval")
    tell(state, "rollout/1/RolledBack", "rolledBack", "bikes-v3: RolledBack: more errors")
    tell(state, "rollout/2/Held/0/1", "rollout", "bikes-v4: Held: no evidence after 24h")


EACH = ["drift", "quarantine", "budget", "failed", "approval", "rollback", "approval"]
NO_NEWS = (
    ("ledger/c/ingested", "ingested", {"verdict": "wait"}),
    ("decision/3", "decided", {}),
    ("outcome/3", "finished", {"state": "champion"}),
    ("wait/2", "waiting", {}),
    ("rollout/3/split/0", "rollout", {}),
    ("manifest/4", "promoted", {}),
)


def test_every_event_is_told_once_in_order(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    begin(state, spec())
    for id, kind, evidence in NO_NEWS:
        tell(state, id, kind, "nothing to call anybody for", **evidence)
    tell_one_of_each(state)

    wait_for(lambda: len(inbox.messages) >= len(EACH))

    assert inbox.titles() == [f"bikes: {event}" for event in EACH]
    assert "heat looks like Fahrenheit" in inbox.messages[1]["message"]
    assert "`trimtab quarantine list -m bikes`" in inbox.messages[1]["message"]


def test_after_a_restart_nothing_is_told_again_and_what_came_meanwhile_is(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    first = begin(state, spec())
    wait_for(lambda: state.bucket.find(state.layout.current("alerts-BIKES_ALERTS")))
    tell_one_of_each(state)
    wait_for(lambda: len(inbox.messages) == len(EACH))
    first.stop()
    tell(state, "rollout/5/RolledBack", "rolledBack", "bikes-v5: RolledBack: slower")

    begin(state, spec())
    wait_for(lambda: len(inbox.messages) > len(EACH))
    tell(state, "rollout/6/RolledBack", "rolledBack", "bikes-v6: RolledBack: slower still")
    wait_for(lambda: len(inbox.messages) == len(EACH) + 2)

    assert [message["message"].splitlines()[0] for message in inbox.messages[-2:]] == [
        "bikes-v5: RolledBack: slower",
        "bikes-v6: RolledBack: slower still",
    ]


def test_what_happened_before_somebody_asked_to_be_told_is_no_news(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    tell_one_of_each(state)
    begin(state, spec())
    wait_for(lambda: state.bucket.find(state.layout.current("alerts-BIKES_ALERTS")))

    tell(state, "rollout/5/RolledBack", "rolledBack", "bikes-v5: RolledBack: slower")
    wait_for(lambda: inbox.messages)

    assert inbox.titles() == ["bikes: rollback"]


def test_only_the_events_that_were_asked_for_are_told(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    begin(state, spec("[{urlFrom: {env: BIKES_ALERTS}, events: [rollback]}]"))
    tell_one_of_each(state)

    wait_for(lambda: inbox.messages)

    assert inbox.titles() == ["bikes: rollback"]


def test_with_a_drift_trigger_its_alarms_are_the_event_and_single_reports_are_not(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    with_trigger = bikes.spec().replace("  triggers:\n", "  triggers:\n    drift: {}\n")
    with_trigger += "  alerts: [{urlFrom: {env: BIKES_ALERTS}}]\n"
    begin(state, load(with_trigger))
    tell(state, "ledger/a/ingested", "ingested", "a.csv: drift says retrain", verdict="retrain")
    tell(state, "alert/drift/a", "alert", "uploads: a batch further from the reference than its own 13 are")

    wait_for(lambda: inbox.messages)

    assert inbox.titles() == ["bikes: drift"]
    assert "further from the reference" in inbox.messages[0]["message"]


def test_a_receiver_that_refuses_is_tried_a_few_times_and_the_next_message_has_its_turn(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    inbox.status = 500
    alerting = begin(state, spec())
    tell(state, "rollout/1/RolledBack", "rolledBack", "lost: three refusals")
    wait_for(lambda: inbox.asked == 3 and alerting.problems)
    wait_for(lambda: b'"givenUp":1' in state.bucket.get(state.layout.current("alerts-BIKES_ALERTS")).body)

    inbox.status = 200
    tell(state, "rollout/2/RolledBack", "rolledBack", "bikes-v2: RolledBack")
    wait_for(lambda: inbox.messages)

    assert inbox.messages[0]["message"].startswith("bikes-v2: RolledBack")
    wait_for(lambda: not alerting.problems)


def test_a_dead_receiver_holds_no_other_up(
    state: State,
    inbox: Any,
    make_inbox: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[..., Alerting],
    wait_for: Callable[..., Any],
) -> None:
    dead = make_inbox()
    dead.status = 500
    monkeypatch.setenv("DEAD_ALERTS", dead.address)
    begin(state, spec("[{urlFrom: {env: DEAD_ALERTS}}, {urlFrom: {env: BIKES_ALERTS}}]"))
    tell_one_of_each(state)

    wait_for(lambda: len(inbox.messages) == len(EACH))

    assert dead.messages == []


def test_a_process_that_does_not_work_for_the_model_stays_silent(
    state: State, inbox: Any, begin: Callable[..., Alerting], wait_for: Callable[..., Any]
) -> None:
    acts = threading.Event()
    begin(state, spec(), acts.is_set)
    looks = 5
    tell(state, "rollout/1/RolledBack", "rolledBack", "bikes-v1: RolledBack")
    for _ in range(looks):
        threading.Event().wait(0.03)  # that nothing comes can only be seen by waiting a little
    assert inbox.asked == 0

    acts.set()
    wait_for(lambda: inbox.messages)


def test_an_address_stands_in_no_log_error_or_state(
    state: State,
    inbox: Any,
    begin: Callable[..., Alerting],
    wait_for: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    inbox.status = 500
    alerting = begin(state, spec())
    tell(state, "rollout/1/RolledBack", "rolledBack", "bikes-v1: RolledBack")
    wait_for(lambda: alerting.problems)
    wait_for(lambda: any("given up" in record.message for record in caplog.records))
    alerting.stop()

    written = b"".join(state.bucket.get(info.key).body for info in state.bucket.list(""))
    assert SECRET not in caplog.text
    assert SECRET.encode() not in written
    assert SECRET not in "".join(alerting.problems)


def test_a_variable_that_is_not_set_is_told_by_its_name(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIKES_ALERTS", raising=False)
    with pytest.raises(Invalid, match="found no BIKES_ALERTS in the environment"):
        Alerting(state, spec(), lambda: True)


def test_an_address_that_is_none_is_refused_without_repeating_it(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIKES_ALERTS", f"nonsense-{SECRET}")
    with pytest.raises(Invalid, match="no address that apprise knows in BIKES_ALERTS") as refused:
        Alerting(state, spec(), lambda: True)
    assert SECRET not in str(refused.value)
