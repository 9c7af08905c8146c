"""Where a model's rollout reads what was answered: Prometheus if it scrapes the pods, else the prediction log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from trimtab.adapters.prometheus import PrometheusAnswers
from trimtab.app.cluster.seldon_splits import ScrapedOrLogged
from trimtab.core.ports import Answer

LINE = Answer(5.0, 7, False, 0.01, request_id="of the log")


class Logged:
    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        return ([LINE], '{"w": 2}') if position else ([], '{"w": 1}')


def answers(*series: dict[str, Any]) -> ScrapedOrLogged:
    def fetch(address: str) -> Any:
        return {"data": {"result": list(series) if "count%28" in address else []}}

    counted = PrometheusAnswers("http://p", "shop", "iris", {"v7": 7}.get, fetch, lambda: 1000.0)
    return ScrapedOrLogged(counted, Logged(), "shop/iris")


def test_where_nothing_is_scraped_the_log_tells_and_the_operator_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found, position = answers().answers("")
    assert (found, position) == ([], 'logged {"w": 1}')
    assert "shop/iris: Prometheus has not scraped its pods" in caplog.text
    scraped_by_now = answers({"metric": {}, "value": [1000, "4"]})
    assert scraped_by_now.answers(position) == ([LINE], 'logged {"w": 2}')


def test_where_the_pods_are_scraped_prometheus_tells() -> None:
    found, position = answers({"metric": {}, "value": [1000, "4"]}).answers("")
    assert found == []
    assert position.startswith('scraped {"read": {}, "since": 1000')


def test_a_rollout_goes_on_where_an_earlier_version_read() -> None:
    assert answers().answers("995.000") == ([], 'scraped {"read": {}, "since": 995.0}')
    assert json.loads(answers().answers('logged {"w": 1}')[1].partition(" ")[2]) == {"w": 2}
