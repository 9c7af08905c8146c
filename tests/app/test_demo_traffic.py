"""The demo's client, its traffic's clock, and the spec as it is edited for each challenger."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from trimtab.adapters.batches import Batch
from trimtab.app.demo.client import Asked, Client
from trimtab.app.demo.examples import example
from trimtab.app.demo.traffic import Fortnight, StreamTime
from trimtab.app.demo.trials import ROLLOUT, SLOW_MILLISECONDS, TRIALS, edited
from trimtab.core.spec import load
from trimtab.core.spec.digests import training_digest

DAY = datetime(2012, 3, 1, tzinfo=UTC)


class Gateway(ThreadingHTTPServer):
    """Answers as the model server does, fails on the value 13, and closes a connection after each third answer."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.answered = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append({"path": self.path, "token": self.headers["Authorization"], **body["data"]})
        (row,) = body["data"]["ndarray"]
        answer = json.dumps({"data": {"names": ["y"], "ndarray": [row[0] * 2]}, "meta": {}}).encode()
        self.send_response(500 if row[0] == 13 else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("x-model-version", "7")
        self.send_header("x-request-id", f"own-{self.headers['x-request-id']}")
        self.end_headers()
        self.wfile.write(answer)
        self.answered += 1
        self.close_connection = self.answered == 3  # without a word, as a server that is stopped does

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_each_row_is_one_request_with_the_token_and_its_answer_is_kept(gateway: Gateway) -> None:
    client = Client(f"http://127.0.0.1:{gateway.server_port}", "secret")
    rows = [{"x": number, "sky": None} for number in range(20)]
    found = client.ask_all(list(enumerate(rows)), per_second=2000)
    assert [each.row for each in found] == list(range(20))
    assert [each.prediction for each in found if not each.failed] == [2.0 * n for n in range(20) if n != 13]
    assert {each.version for each in found} == {7}
    assert all(each.request_id.startswith("own-") for each in found)
    assert len(gateway.seen) == 20
    assert {each["token"] for each in gateway.seen} == {"Bearer secret"}
    assert {tuple(each["names"]) for each in gateway.seen} == {("x", "sky")}
    assert gateway.connections >= 7


def test_a_failed_request_says_what_came_back(gateway: Gateway) -> None:
    asked = Client(f"http://127.0.0.1:{gateway.server_port}", "secret").ask(3, {"x": 13})
    assert (asked.failed, asked.status, asked.prediction) == (True, 500, None)
    assert "26" in asked.said


def test_nobody_there_is_a_failed_request_and_not_a_crash() -> None:
    asked = Client("http://127.0.0.1:9", "secret").ask(0, {"x": 1})
    assert (asked.failed, asked.status) == (True, 0)
    assert "refused" in asked.said


def test_requests_keep_to_their_pace(gateway: Gateway) -> None:
    client = Client(f"http://127.0.0.1:{gateway.server_port}", "secret")
    found = client.ask_all([(n, {"x": n}) for n in range(11)], per_second=50)
    assert found[-1].at - found[0].at >= 0.2 - 0.02


def asked(row: int, at: float) -> Asked:
    return Asked(row=row, request_id="", at=at, seconds=0.01, status=200, version=1, prediction=1.0)


def fortnight() -> Fortnight:
    model = load((example("bikeshare") / "model.yaml").read_text(encoding="utf-8"))
    header = "ts,hour,season,holiday,weekday,workingday,weathersit,temp,atemp,hum,windspeed,casual,registered,cnt"
    line = "2012-03-01 {0:02}:00:00,{0},spring,No,Thu,Yes,,8.5,9.0,66.0,0.0,5,43,48"
    body = "\n".join([header, *(line.format(hour) for hour in range(4))]).encode()
    return Fortnight.of(1, Batch("a.csv", body, DAY, DAY + timedelta(hours=3)), model.spec.data)


def test_users_send_what_they_know_and_neither_the_target_nor_what_leaks_it() -> None:
    made = fortnight()
    assert set(made.rows[0]) & {"cnt", "casual", "registered"} == set()
    assert (made.rows[1]["ts"], made.rows[1]["hour"], made.rows[1]["temp"]) == ("2012-03-01 01:00:00", 1, 8.5)
    assert made.rows[0]["weathersit"] is None
    assert made.targets == [48.0] * 4
    assert made.end == DAY + timedelta(hours=4)


def test_the_stream_is_as_late_as_the_newest_row_that_was_asked_about() -> None:
    made = fortnight()
    made.asked += [asked(0, 100.0), asked(2, 101.0), asked(1, 101.5), asked(3, 102.0)]
    clock = StreamTime([made])
    times = [clock.at(wall) for wall in (99.0, 100.0, 101.2, 101.7, 500.0)]
    assert times == [DAY, DAY, DAY + timedelta(hours=2), DAY + timedelta(hours=2), DAY + timedelta(hours=3)]


TEXT = (example("bikeshare") / "model.yaml").read_text(encoding="utf-8")


def test_between_trials_the_spec_is_the_examples_own() -> None:
    own, back = load(TEXT), load(edited(TEXT, None))
    assert own == back
    assert edited(TEXT, None).count("#") == TEXT.count("#")


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_for_a_trial_the_spec_asks_for_a_canary_and_only_a_changed_recipe_trains(trial: Any) -> None:
    own, made = load(TEXT), load(edited(TEXT, trial))
    rollout = made.spec.rollout
    assert (rollout.strategy, len(rollout.steps)) == ("canary", len(ROLLOUT["steps"]))
    assert made.spec.evaluation.max_latency_p99_milliseconds == SLOW_MILLISECONDS
    digests = [training_digest(each, "", "1.9.1") for each in (own, made)]
    assert (digests[0] == digests[1]) is (not trial.estimator)


def test_the_trials_come_one_after_the_other_and_end_in_the_four_ways_that_the_demo_promises() -> None:
    assert [(trial.metric, trial.ends) for trial in TRIALS] == [
        ("loss", "Promoted"),
        ("latency", "RolledBack"),
        ("errors", "RolledBack"),
        ("loss", "RolledBack"),
    ]
    for before, after in itertools.pairwise(TRIALS):
        assert before.after < before.through <= after.after + 2 <= after.through + 1


def test_no_rollout_of_the_demo_can_be_promoted_before_labels_of_its_first_fortnight_have_come() -> None:
    gates = [step.get("minRequests", step.get("shadow", {}).get("minRequests", 0)) for step in ROLLOUT["steps"]]
    shadow, quarter, half = gates
    assert shadow + 4 * quarter + 2 * half > 1.5 * 336
