"""The model server as a process: what it answers, shows, logs, and how it ends."""

import json
import os
import resource
import signal
import threading
import time
from typing import Any

import psutil
import pytest

from trimtab.core.predictions import Label, PredictionLine

pytestmark = pytest.mark.xdist_group("model-server")

LINES_OF = 60  # requests of one client before a kill


def named(row: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"names": list(row), "ndarray": [list(row.values())]}}


def metric(server: Any, name: str) -> float:
    text = server.ask("GET", "/metrics", port=server.metrics_port)[1]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


class Client(threading.Thread):
    """Asks one row after another until told to stop; what was answered, by id."""

    def __init__(self, server: Any, row: dict[str, Any], prefix: str) -> None:
        super().__init__(daemon=True)
        self._server, self._row, self._prefix = server, row, prefix
        self.answered: list[str] = []
        self.failed = 0
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            name = f"{self._prefix}-{number}"
            try:
                code = self._server.predict(named(self._row), Seldon_Puid=name)[0]
            except (OSError, ValueError):
                self.failed += 1
                time.sleep(0.01)
                continue
            if code == 200:
                self.answered.append(name)

    def wait_for(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.answered) < number:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_answer_names_its_version_and_keeps_the_requests_id(deployed, row):
    code, answer, headers = deployed.server.predict(named(row), X_Request_Id="asked-1")
    assert code == 200
    assert (headers["x-model-version"], headers["x-model-variant"], headers["seldon-puid"]) == ("1", "v1", "asked-1")
    assert answer["meta"] == {"puid": "asked-1", "tags": {"version": 1, "variant": "v1"}}


def test_every_answer_is_a_line_in_the_store(deployed, row):
    code, answer, _ = deployed.server.predict(named({**row, "trip": "t-4"}), Seldon_Puid="logged-1", Host="gate-shadow")
    assert code == 200
    (line,) = deployed.wait_for_lines(lambda line: line["id"] == "logged-1")
    parsed = PredictionLine.model_validate(line)
    assert parsed.shadow
    assert (parsed.version, parsed.rows, parsed.passed) == (1, 1, {"trip": ["t-4"]})
    assert [*parsed.predictions, *(parsed.scores or [[]])[0]] == answer["data"]["ndarray"][0]
    assert abs(parsed.at - time.time()) < 120


def test_feedback_is_a_label_in_the_store(deployed):
    feedback = {"response": {"meta": {"puid": "judged-1"}}, "reward": 0}
    assert deployed.server.ask("POST", "/api/v1.0/feedback", feedback)[0] == 200
    (line,) = deployed.wait_for_lines(lambda line: line["id"] == "judged-1")
    assert (Label.model_validate(line).value, line["row"]) == (False, 0)


def test_health_and_metadata_are_answered_in_both_protocols(deployed):
    ask = deployed.server.ask
    assert ask("GET", "/health/ping")[:2] == (200, "pong")
    assert ask("GET", "/health/status")[0] == 200
    assert ask("GET", "/metadata")[1]["name"] == "trips"
    assert ask("GET", "/v2")[1]["name"] == "trimtab"
    assert ask("GET", "/v2/health/live")[1] == {"live": True}
    assert ask("GET", "/v2/health/ready")[1] == {"ready": True}
    assert ask("GET", "/v2/models/trips/ready")[1]["ready"]
    described = ask("GET", "/v2/models/trips")[1]
    assert [one["name"] for one in described["inputs"]] == ["carrier", "distance", "heat", "holiday", "origin"]
    assert [one["datatype"] for one in described["inputs"]] == ["BYTES", "INT64", "FP64", "BOOL", "BYTES"]


def test_the_open_inference_protocol_is_answered(deployed, row):
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in row.items()]
    code, answer, _ = deployed.server.ask("POST", "/v2/models/trips/infer", {"id": "mine", "inputs": inputs})
    assert code == 200
    assert (answer["id"], answer["model_version"]) == ("mine", "1")
    assert [output["name"] for output in answer["outputs"]] == ["late", "probabilities"]


def test_metrics_count_requests_by_code_rows_columns_and_the_process(deployed, row):
    server = deployed.server
    names = ('trimtab_requests_total{code="200"', 'trimtab_requests_total{code="400"')
    names += ("trimtab_rows_total", "trimtab_unknown_columns_total", "trimtab_request_seconds_count")
    before = [metric(server, name) for name in names]
    server.predict({"jsonData": [{**row, "other": 1}] * 3})
    server.predict({"jsonData": [{}]})
    assert [metric(server, name) - was for name, was in zip(names, before, strict=True)] == [1, 1, 3, 1, 2]
    assert metric(server, "trimtab_process_resident_memory_bytes") > 50e6
    assert metric(server, "trimtab_process_cpu_seconds_total") > 0.1


def test_a_connection_is_kept_and_asked_again(deployed, row):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", deployed.server.port, timeout=30)
    ports = set()
    for _ in range(3):
        connection.request("POST", "/predict", json.dumps(named(row)), {"Content-Type": "application/json"})
        assert connection.getresponse().read()
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_a_disk_that_is_full_costs_lines_and_no_answer(deployed, row):
    server = deployed.server
    (worker,) = psutil.Process(server.process.pid).children()
    limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    lost = metric(server, "trimtab_log_lost_lines_total")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        codes = [server.predict(named(row), Seldon_Puid=f"full-{number}")[0] for number in range(5)]
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)
    assert codes == [200] * 5
    assert metric(server, "trimtab_log_lost_lines_total") - lost == 5
    assert server.predict(named(row), Seldon_Puid="room-again")[0] == 200
    deployed.wait_for_lines(lambda line: line["id"] == "room-again")


def test_no_answered_request_is_lost_by_kill_9_nor_by_the_end(deploy, make_server, row):
    """Three ends of one log: the worker killed, the whole group killed, and a stop in the middle of requests."""
    first = deploy()
    clients = [Client(first.server, row, f"first-{number}") for number in range(2)]
    for client in clients:
        client.start()
    clients[0].wait_for(LINES_OF)
    (worker,) = psutil.Process(first.server.process.pid).children()
    worker.kill()
    # Another worker takes its place, and what was answered meanwhile goes on.
    clients[0].wait_for(2 * LINES_OF)
    first.server.kill()
    for client in clients:
        client.stop.set()
        client.join()

    second = make_server(first.state, first.version.number, first.variables, first.folder)
    later = [Client(second, row, f"second-{number}") for number in range(2)]
    for client in later:
        client.start()
    later[0].wait_for(LINES_OF)
    began = time.monotonic()
    assert second.terminate() == 0
    assert time.monotonic() - began < 30
    for client in later:
        client.stop.set()
        client.join()

    answered = [name for client in (*clients, *later) for name in client.answered]
    assert {line["id"] for line in first.logged()} >= set(answered)
    ids = [line["id"] for line in first.logged()]
    assert len(ids) == len(set(ids))
    assert not list(first.folder.rglob("*.jsonl"))


@pytest.fixture(scope="module")
def orphaned(deploy):
    """A server whose watching process was killed; with it the worker that this left behind."""
    found = deploy()
    (worker,) = psutil.Process(found.server.process.pid).children()
    os.kill(found.server.process.pid, signal.SIGKILL)
    found.server.process.wait()
    return found, worker


def test_a_worker_does_not_outlive_the_process_that_watches_it(orphaned):
    orphaned[1].wait(timeout=30)
    assert not orphaned[1].is_running()


def test_an_artifact_that_is_not_the_registrys_is_refused_in_one_line_with_exit_code_2(orphaned, make_server):
    found = orphaned[0]
    key = found.state.layout.artifact(found.version.artifact)
    found.state.bucket.put(key, found.state.bucket.get(key).body[:-1] + b"x")
    server = make_server(found.state, found.version.number, found.variables, found.folder, wait=False)
    assert server.process.wait(timeout=120) == 2
    (line,) = [line for line in server.said().splitlines() if line]
    assert line.startswith("cannot serve: ")
    assert "is not what was registered" in line
    assert found.version.artifact in line


@pytest.mark.parametrize(
    ("variables", "code", "word"),
    [
        ({"TRIMTAB_VERSION": "9"}, 2, "no version v9"),
        ({"TRIMTAB_VERSION": "latest"}, 2, "TRIMTAB_VERSION is 'latest'"),
        ({"TRIMTAB_MODEL": ""}, 2, "no TRIMTAB_MODEL"),
        ({"TRIMTAB_STATE_BUCKET": ""}, 2, "no TRIMTAB_STATE_BUCKET"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(deployed, make_server, tmp_path, variables, code, word):
    server = make_server(deployed.state, 1, {**deployed.variables, **variables}, tmp_path, wait=False)
    assert server.process.wait(timeout=120) == code
    (line,) = [line for line in server.said().splitlines() if line]
    assert word in line
