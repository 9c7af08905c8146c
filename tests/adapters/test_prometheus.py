"""Answers by Prometheus: counters of Seldon's executor, scraped, restarted, doubled and late."""

from __future__ import annotations

import json
import logging
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.adapters.executor_counters import gains
from trimtab.adapters.prometheus import LATE_SECONDS, PrometheusAnswers
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import Answer

VERSIONS = {"v6": 6, "v7": 7}
Samples = list[tuple[float, float]]
Lateness = Callable[[str, float], float]  # seconds until a bound's sample of a time shows


class Prometheus:
    """What it has stored, and a wall clock; asked by its own HTTP address' text."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.series: list[tuple[dict[str, str], Samples, Lateness]] = []
        self.asked: list[str] = []

    def store(
        self,
        predictor: str,
        buckets: dict[str, Samples],
        code: str = "200",
        pod: str = "pod-0",
        late: Lateness = lambda bound, at: 0.0,
        **more: str,
    ) -> None:
        for bound, samples in buckets.items():
            labels = {"predictor_name": predictor, "code": code, "le": bound, "pod": pod, "service": "predictions"}
            self.series.append(({**labels, "job": "executor", **more}, samples, late))

    def fetch(self, address: str) -> Any:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
        self.asked.append(query["query"])
        end = float(query["time"])
        since = end - float(query["query"].rsplit("[", 1)[1].removesuffix("s]"))
        found = []
        for labels, samples, late in self.series:
            shown = [(at, value) for at, value in samples if at + late(labels["le"], at) <= self.now]
            inside = [[at, str(value)] for at, value in shown if since < at <= end]
            if inside:
                found.append({"metric": labels, "values": inside})
        return {"data": {"result": found}}

    def answers(self) -> PrometheusAnswers:
        return PrometheusAnswers("http://p:9090/", "shop", "iris", VERSIONS.get, self.fetch, lambda: self.now)


def scraped(*values: float, every: float = 15.0, first: float = 1000.0) -> Samples:
    return [(first + number * every, value) for number, value in enumerate(values)]


def at(prometheus: Prometheus, now: float) -> tuple[list[Answer], str]:
    """Everything from 1001 to that time."""
    prometheus.now = now
    return prometheus.answers().answers("1001")


def polled(prometheus: Prometheus, until: float, every: float = 2.0) -> list[Answer]:
    """What a rollout reads from 1000 to that time."""
    reader, found = prometheus.answers(), []
    _, position = reader.answers("")
    while prometheus.now < until:
        prometheus.now += every
        some, position = reader.answers(position)
        found += some
    return found


def test_the_first_call_gives_nothing_but_a_place_to_go_on_from() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"+Inf": scraped(10, 12, first=985.0)})
    answers, position = prometheus.answers().answers("")
    assert answers == []
    assert prometheus.answers().answers(position) == ([], position)


def test_counters_become_answers_of_their_predictor_status_and_duration() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"0.05": scraped(10, 12), "0.1": scraped(10, 13), "+Inf": scraped(10, 14)})
    prometheus.store("v7", {"0.05": scraped(0, 1), "+Inf": scraped(0, 1)}, code="500")
    answers, position = at(prometheus, 1020)
    assert sorted(each.seconds for each in answers if not each.failed) == [0.05, 0.05, 0.1, 60.0]
    assert {each.version for each in answers if not each.failed} == {6}
    assert [(each.version, each.seconds) for each in answers if each.failed] == [(7, 0.05)]
    assert all(1000 < each.at < 1015 for each in answers)
    assert json.loads(position)["read"] == {"v6 pod-0 200": 1015.0, "v7 pod-0 500": 1015.0}
    assert '{deployment_name="iris",namespace="shop"}' in prometheus.asked[0]


def test_only_predictions_count_and_what_the_model_refused_is_no_failure() -> None:
    prometheus = Prometheus()
    prometheus.store("v7", {"+Inf": scraped(0, 5)}, service="feedback")
    prometheus.store("v7", {"+Inf": scraped(0, 5)}, code="400")
    prometheus.store("main", {"+Inf": scraped(0, 5)})
    assert at(prometheus, 1020)[0] == []


def test_a_job_by_services_renames_the_executors_label() -> None:
    prometheus = Prometheus()
    prometheus.store("v7", {"+Inf": scraped(0, 5)}, service="iris-v7", exported_service="predictions")
    assert len(at(prometheus, 1020)[0]) == 5


def test_a_restarted_pod_counts_from_0_again_in_all_its_buckets() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"0.05": scraped(2, 4, 6), "+Inf": scraped(90, 95, 7)})
    seconds = sorted(each.seconds for each in at(prometheus, 1040)[0])
    assert seconds == [0.05] * 2 + [0.05] * 6 + [60.0] * 4


def test_the_first_failure_makes_a_counter_and_counts() -> None:
    prometheus = Prometheus()
    prometheus.store("v7", {"+Inf": scraped(100, 101, 101)})
    prometheus.store("v7", {"+Inf": scraped(3, 4, first=1015.0)}, code="500")
    assert sum(each.failed for each in at(prometheus, 1040)[0]) == 4


def test_what_was_counted_while_nobody_scraped_is_left_out() -> None:
    prometheus = Prometheus()
    # The counter is old, and Prometheus comes back after ten minutes.
    prometheus.store("v7", {"+Inf": scraped(5000, first=900.0) + scraped(6000, 6002, first=1500.0)})
    prometheus.now = 1520
    answers, _ = prometheus.answers().answers("1490")
    assert len(answers) == 2


def test_a_pod_that_two_jobs_scrape_counts_once() -> None:
    prometheus = Prometheus()
    for job in ("annotations", "podmonitor"):
        prometheus.store("v7", {"+Inf": scraped(0, 5)}, job=job)
    prometheus.store("v7", {"+Inf": scraped(0, 3)}, pod="pod-1")
    assert len(at(prometheus, 1020)[0]) == 8


def test_read_on_by_position_each_answer_comes_once() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"0.1": scraped(*range(0, 400, 4)), "+Inf": scraped(*range(0, 500, 5))})
    prometheus.store("v7", {"+Inf": scraped(*range(100), first=1007.0)})
    prometheus.now = 1000 + 99 * 15
    position, found = "1001", []
    while True:
        some, after = prometheus.answers().answers(position, limit=17)
        assert prometheus.answers().answers(position, limit=17) == (some, after)
        found += some
        if after == position:
            break
        position = after
    assert len(found) == 99 * 5 + 98
    assert len({(each.at, each.version, each.seconds) for each in found}) == len(found)


def test_after_a_long_absence_prometheus_is_asked_for_some_minutes_at_once() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"+Inf": scraped(*range(1000))})
    prometheus.now = 1000 + 999 * 15
    reader, position, found = prometheus.answers(), "1001", 0
    for _ in range(999 * 15 // 120 + 1):
        some, position = reader.answers(position)
        found += len(some)
    assert found == 999
    assert all(float(asked.rsplit("[", 1)[1].removesuffix("s]")) < 900 for asked in prometheus.asked)


@pytest.mark.parametrize("late", [1.0, 6.0, 30.0, LATE_SECONDS - 10])
def test_a_scrape_counts_once_however_late_it_shows_within_minutes(late: float) -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"0.1": scraped(*range(0, 160, 4)), "+Inf": scraped(*range(0, 200, 5))})
    slow = {"0.1": scraped(*range(40), first=1007.0), "+Inf": scraped(*range(40), first=1007.0)}
    prometheus.store("v7", slow, late=lambda bound, at: late)
    found = polled(prometheus, until=1000 + 39 * 15 + LATE_SECONDS + 20)
    assert [sum(each.version == version for each in found) for version in (6, 7)] == [39 * 5, 39]


DELAYS = st.lists(st.floats(0, 100), min_size=60, max_size=60)


@given(DELAYS)
def test_whatever_shows_when_nothing_is_lost_nor_counted_twice(delays: list[float]) -> None:
    prometheus = Prometheus()

    def late(bound: str, at: float) -> float:
        return delays[int((at - 1000) / 15) * 2 + (bound == "0.1")] if at > 1015 else 0.0

    counts = {"0.1": scraped(*range(0, 60, 2)), "+Inf": scraped(*range(0, 90, 3))}
    prometheus.store("v7", counts, late=late)
    found = polled(prometheus, until=1000 + 29 * 15 + 104, every=4.0)
    assert sorted(each.seconds for each in found) == [0.1] * 58 + [60.0] * 29


def test_a_scrape_that_is_there_in_part_waits_for_the_rest_of_it() -> None:
    prometheus = Prometheus()
    prometheus.store("v7", {"0.1": scraped(10, 12, 14), "+Inf": scraped(10, 12, 14)})
    first_failure = {"0.1": scraped(2, first=1015.0), "+Inf": scraped(3, first=1015.0)}
    prometheus.store("v7", first_failure, code="500", late=lambda bound, at: 8.0 if bound == "0.1" else 1.0)
    found = polled(prometheus, until=1030)
    assert sorted(each.seconds for each in found if each.failed) == [0.1, 0.1, 60.0]
    assert sum(not each.failed for each in found) == 4


def test_a_pod_that_is_gone_drops_out_of_the_position() -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"+Inf": scraped(*range(100))}, pod="stays")
    prometheus.store("v6", {"+Inf": scraped(0, 1, 2)}, pod="gone")
    reader = prometheus.answers()
    _, position = reader.answers("")
    while prometheus.now < 1000 + 99 * 15:
        prometheus.now += 15
        _, position = reader.answers(position)
    assert set(json.loads(position)["read"]) == {"v6 stays 200"}


def test_where_nothing_is_scraped_any_more_the_operator_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    prometheus = Prometheus()
    prometheus.store("v6", {"+Inf": scraped(*range(5))})
    polled(prometheus, until=1060 + LATE_SECONDS - 10)
    assert caplog.records == []
    prometheus.now = 1000.0
    with caplog.at_level(logging.WARNING):
        polled(prometheus, until=1060 + 2 * LATE_SECONDS)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["shop/iris"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_gains_over_any_two_scrapes_are_never_negative(first: list[int], more: list[int]) -> None:
    old = {float(bound): float(sum(first[: bound + 1])) for bound in range(len(first))}
    grown = {bound: value + sum(more[: int(bound) + 1]) for bound, value in old.items()}
    assert gains(old, grown) == {bound: sum(more[: int(bound) + 1]) for bound in old}
    assert all(value >= 0 for value in gains(grown, old).values())


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    said: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = said[0]
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", said
    httpd.shutdown()
    httpd.server_close()
    thread.join(10)


def test_over_http_an_answer_is_read_and_refusals_are_told_from_outages(
    server: tuple[str, list[tuple[int, bytes]]],
) -> None:
    url, said = server
    answers = PrometheusAnswers(url, "shop", "iris", VERSIONS.get, wall=lambda: 1030.0)
    metric = {"predictor_name": "v7", "code": "200", "le": "+Inf", "service": "predictions", "pod": "a"}
    values = [[1005.0, "1"], [1020.0, "3"]]
    said[:] = [(200, json.dumps({"data": {"result": [{"metric": metric, "values": values}]}}).encode())]
    assert [each.version for each in answers.answers("1010")[0]] == [7, 7]
    said[:] = [(400, b"parse error")]
    with pytest.raises(Invalid, match="parse error"):
        answers.answers("1010")
    said[:] = [(503, b"starting")]
    with pytest.raises(Unavailable, match="503"):
        answers.answers("1010")
    said[:] = [(200, b"<html>")]
    with pytest.raises(Unavailable, match="TRIMTAB_PROMETHEUS_URL"):
        answers.answers("1010")
