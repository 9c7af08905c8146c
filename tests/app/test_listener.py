"""The HTTP door, by real requests: who may come in, what is refused and how."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from trimtab.app.endpoints import LARGEST_BODY, OneModel
from trimtab.app.events import Event
from trimtab.app.listener import Listener
from trimtab.core.errors import Unavailable

TOKEN = "s3cret"
RECORDS = b'{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}'


class Notebook:
    """A desk that writes down what it is handed."""

    model_name = "flights"

    def __init__(self) -> None:
        self.noted: list[Event] = []
        self.asked = 0
        self.down = False

    def note(self, events: list[Event]) -> int:
        if self.down:
            raise Unavailable("the store at http://127.0.0.1:1 did not answer", "trimtab doctor")
        self.noted += events
        return len(events)

    def ask_run(self) -> str:
        self.asked += 1
        return f"request-{self.asked}"

    def add_labels(self, body: bytes) -> int:
        raise AssertionError("no test here sends labels")

    def wake_rollouts(self) -> None:
        raise AssertionError("no test here asks for a look")

    def status_json(self) -> dict[str, Any]:
        return {"model": "flights", "champion": 7}

    def metrics_text(self) -> bytes:
        return b'trimtab_decisions{model="flights"} 7.0\n'


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Notebook, Listener]]:
    desk = Notebook()
    listener = Listener(OneModel(desk), TOKEN)
    listener.start()
    yield desk, listener
    listener.stop()


@pytest.fixture
def client(door: tuple[Notebook, Listener]) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{door[1].port}", headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def desk(door: tuple[Notebook, Listener]) -> Notebook:
    door[0].__init__()  # type: ignore[misc]
    return door[0]


def test_events_are_noted_and_counted(client: httpx.Client, desk: Notebook) -> None:
    answer = client.post("/v1/events", content=RECORDS)

    assert (answer.status_code, answer.json()) == (202, {"objects": 1, "new": 1})
    assert desk.noted == [Event("b", "k")]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ünï"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/models/flights/runs", "/nowhere"])
def test_without_the_token_nothing_is_answered(
    client: httpx.Client, desk: Notebook, header: str | None, path: str
) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    bare = httpx.Client(base_url=client.base_url, trust_env=False)

    with bare:
        answer = bare.post(path, content=RECORDS, headers=headers)  # type: ignore[arg-type]

    assert answer.status_code == 401
    assert "Bearer TOKEN" in answer.json()["error"]
    assert (desk.noted, desk.asked) == ([], 0)


def test_health_needs_no_token(client: httpx.Client) -> None:
    assert httpx.get(f"{client.base_url}/healthz", trust_env=False).json() == {"status": "ok"}


def test_a_platform_without_a_token_lets_nobody_in() -> None:
    listener = Listener(OneModel(Notebook()), "")
    port = listener.start()
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/events", headers={"Authorization": "Bearer"}, trust_env=False)
    finally:
        listener.stop()

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[]", b"{}", b'{"Records":[{}]}', b"[" * 100_000, b'{"Records":7}']
)
def test_a_malformed_body_gets_400_and_what_was_needed(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/events", content=body)

    assert answer.status_code == 400
    assert "needed" in answer.json()["error"]
    assert "Records" in answer.json()["hint"]


def test_a_body_that_is_too_large_is_refused_unread(client: httpx.Client, desk: Notebook) -> None:
    answer = client.post("/v1/events", content=b" " * (LARGEST_BODY + 1))

    assert answer.status_code == 413
    assert str(LARGEST_BODY) in answer.json()["error"]


def test_a_body_that_lies_about_its_length_is_refused_too(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=10)
    headers = {"Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked"}
    chunk = b" " * 65536
    connection.putrequest("POST", "/v1/events")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    for _ in range(17):
        connection.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    assert connection.getresponse().status == 413
    connection.close()


def test_while_the_store_is_down_the_sender_is_told_to_come_again(client: httpx.Client, desk: Notebook) -> None:
    desk.down = True

    answer = client.post("/v1/events", content=RECORDS)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"].startswith("the store at")


def test_a_run_on_demand_returns_the_id_of_the_request(client: httpx.Client, desk: Notebook) -> None:
    answer = client.post("/v1/models/flights/runs")

    assert (answer.status_code, answer.json()) == (202, {"request": "request-1"})


def test_another_model_is_not_found(client: httpx.Client, desk: Notebook) -> None:
    answer = client.post("/v1/models/bikes/runs")

    assert answer.status_code == 404
    assert "flights" in answer.json()["error"]
    assert desk.asked == 0


def test_status_is_served(client: httpx.Client) -> None:
    assert client.get("/v1/models/flights/status").json() == {"model": "flights", "champion": 7}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/events", 405), ("GET", "/docs", 404), ("GET", "/", 404)]
)
def test_every_error_is_json(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    assert "error" in answer.json()


def test_a_taken_port_is_said(door: tuple[Notebook, Listener]) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 127\.0\.0\.1"):
        Listener(OneModel(Notebook()), TOKEN, port=door[1].port).start()


def test_after_stop_the_port_is_free() -> None:
    first = Listener(OneModel(Notebook()), TOKEN)
    port = first.start()
    first.stop()

    second = Listener(OneModel(Notebook()), TOKEN, port=port)
    assert second.start() == port
    second.stop()


def test_prometheus_reads_the_metrics_with_the_token(client: httpx.Client) -> None:
    answer = client.get("/metrics")

    assert (answer.status_code, answer.text) == (200, 'trimtab_decisions{model="flights"} 7.0\n')
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert httpx.get(f"{client.base_url}/metrics", trust_env=False).status_code == 401


def test_no_more_bodies_are_taken_at_once_than_memory_has_room_for() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Notebook):
        def note(self, events: list[Event]) -> int:
            entered.set()
            assert go_on.wait(30)
            return super().note(events)

    desk = Slow()
    listener = Listener(OneModel(desk), TOKEN, most_at_once=1)
    base, headers = f"http://127.0.0.1:{listener.start()}", {"Authorization": f"Bearer {TOKEN}"}
    try:
        with (
            httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=60) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            first = pool.submit(client.post, "/v1/events", content=RECORDS)
            assert entered.wait(30)
            full, asked = client.post("/v1/events", content=RECORDS), client.get("/v1/models/flights/status")
            go_on.set()
            assert first.result(30).status_code == 202
            assert (full.status_code, full.headers["Retry-After"], asked.status_code) == (503, "5", 200)
            assert [client.post("/v1/events", content=RECORDS).status_code for _ in range(3)] == [202] * 3
    finally:
        go_on.set()
        listener.stop()
    assert len(desk.noted) == 4


def test_who_shows_no_token_and_sends_slowly_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.app.endpoints.MOST_STRANGERS", 2)
    monkeypatch.setattr("trimtab.app.endpoints.BODY_SECONDS", 1.0)

    class Never:
        def judge(self, body: bytes) -> bytes:
            raise AssertionError("it did not arrive")

    listener = Listener(OneModel(Notebook()), TOKEN, sns=Never(), most_at_once=1)  # type: ignore[arg-type]
    port = listener.start()
    head = (
        b"POST /v1/events HTTP/1.1\r\nHost: here\r\nx-amz-sns-message-type: Notification\r\nContent-Length: 9\r\n\r\n{"
    )
    strangers = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(6)]
    try:
        for stranger in strangers:
            stranger.sendall(head)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            known = client.post("/v1/events", content=RECORDS, headers={"Authorization": f"Bearer {TOKEN}"})
        said = sorted(stranger.recv(1000).split(b" ", 2)[1] for stranger in strangers)
    finally:
        for stranger in strangers:
            stranger.close()
        listener.stop()
    assert known.status_code == 202
    assert said == [b"408", b"408", *[b"503"] * 4]
