"""Who `spec.alerts` names is told by the controller: each event once, whoever leads; nothing waits for a receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import bikes
import pytest

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.cluster.alerts import Alerts
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel

NOW = datetime(2024, 3, 1, tzinfo=UTC)
BIKES, CARS = ("shop", "bikes"), ("shop", "cars")
ALL = "[{urlFrom: {env: BIKES_ALERTS}}]"


def model(alerts: str = ALL, name: str = "bikes") -> ContinuousModel:
    return load(f"{bikes.spec(name)}  alerts: {alerts}\n")


class Namespace:
    """The state of the models in namespace shop."""

    def __init__(self) -> None:
        self.buckets = MemoryBuckets()

    def state(self, name: str = "bikes") -> State:
        return State.open(self.buckets, "s3://state/shop", name)

    def reached(self, name: str = "bikes") -> bool:
        """Whether it stands in the store how far its receiver was told."""
        state = self.state(name)
        return state.bucket.find(state.layout.current("alerts-BIKES_ALERTS")) is not None

    def rolled_back(self, number: int, name: str = "bikes") -> str:
        said = f"{name}-v{number}: RolledBack: more errors"
        told = self.state(name).journal.tell(f"rollout/{number}/RolledBack", "rolledBack", said, {}, NOW)
        assert told is not None
        return said


@pytest.fixture
def shop() -> Namespace:
    return Namespace()


@pytest.fixture
def lead(shop: Namespace) -> Iterator[Callable[[], Alerts]]:
    """A process that leads, until the test ends or it is stopped."""
    begun: list[Alerts] = []

    def start() -> Alerts:
        begun.append(Alerts(ClusterSettings("state"), shop.buckets, pauses=(0.02, 0.02)))
        begun[-1].start()
        return begun[-1]

    yield start
    for alerts in begun:
        alerts.stop()


def said(inbox: Any) -> list[str]:
    return [message["message"].splitlines()[0] for message in inbox.messages]


def test_what_is_journalled_is_told_once_whoever_leads(
    shop: Namespace, lead: Callable[[], Alerts], inbox: Any, wait_for: Callable[..., Any]
) -> None:
    first = lead()
    first.news(BIKES, model())
    wait_for(shop.reached)
    one = shop.rolled_back(1)
    first.news(BIKES, model())
    wait_for(lambda: inbox.messages)
    first.stop()

    two = shop.rolled_back(2)  # while nobody leads
    second = lead()
    second.news(BIKES, model())
    wait_for(lambda: len(inbox.messages) == 2)
    second.news(BIKES, model())
    three = shop.rolled_back(3)
    second.news(BIKES, model())
    wait_for(lambda: len(inbox.messages) == 3)

    assert said(inbox) == [one, two, three]


def test_a_receiver_that_refuses_is_tried_again_and_what_is_given_up_is_a_problem_of_its_model(
    shop: Namespace, lead: Callable[[], Alerts], inbox: Any, wait_for: Callable[..., Any]
) -> None:
    alerts = lead()
    alerts.news(BIKES, model())
    wait_for(shop.reached)
    inbox.status = 500
    shop.rolled_back(1)
    alerts.news(BIKES, model())
    wait_for(lambda: inbox.asked == 3)
    key = shop.state().layout.current("alerts-BIKES_ALERTS")
    wait_for(lambda: b'"givenUp":1' in shop.state().bucket.get(key).body)
    (problem,) = alerts.problems(BIKES)
    assert "did not accept a message" in problem
    assert alerts.problems(CARS) == ()

    inbox.status = 200
    two = shop.rolled_back(2)
    alerts.news(BIKES, model())
    wait_for(lambda: inbox.messages)
    assert said(inbox) == [two]
    wait_for(lambda: alerts.problems(BIKES) == ())


def test_a_variable_that_the_controller_does_not_have_is_said_by_its_name_until_the_model_is_deleted(
    shop: Namespace, lead: Callable[[], Alerts], wait_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIKES_ALERTS", raising=False)
    alerts = lead()
    alerts.news(BIKES, model())
    wait_for(lambda: alerts.problems(BIKES))
    assert "found no BIKES_ALERTS in the environment" in alerts.problems(BIKES)[0]
    alerts.forget(BIKES)
    assert alerts.problems(BIKES) == ()


def test_an_alert_that_is_taken_out_of_the_spec_is_told_no_more(
    shop: Namespace, lead: Callable[[], Alerts], inbox: Any, wait_for: Callable[..., Any]
) -> None:
    alerts = lead()
    alerts.news(BIKES, model())
    alerts.news(CARS, model(name="cars"))
    wait_for(lambda: shop.reached() and shop.reached("cars"))
    alerts.news(BIKES, model("[]"))
    shop.rolled_back(1)
    alerts.news(BIKES, model("[]"))
    last = shop.rolled_back(1, "cars")
    alerts.news(CARS, model(name="cars"))
    wait_for(lambda: inbox.messages)
    assert said(inbox) == [last]
