"""A queue of SQS, read by boto3 from a server that speaks its protocol."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config

from trimtab.app.events import Event
from trimtab.app.notifications.sqs import Queue
from trimtab.core.errors import Unavailable


def records(key: str) -> str:
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}
    return json.dumps({"Records": [record]})


class Sqs(ThreadingHTTPServer):
    """One queue: a message stays until it is deleted, and is shown again once it is visible again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.messages: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.broken = False

    def send(self, body: str) -> None:
        self.messages[uuid.uuid4().hex] = body

    def show_again(self) -> None:
        self.hidden.clear()

    def asked(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation == "ReceiveMessage":
            found = [key for key in self.messages if key not in self.hidden][: body["MaxNumberOfMessages"]]
            self.hidden.update(found)
            return {"Messages": [{"MessageId": key, "ReceiptHandle": key, "Body": self.messages[key]} for key in found]}
        assert operation == "DeleteMessageBatch"
        for entry in body["Entries"]:
            del self.messages[entry["ReceiptHandle"]]
        return {"Successful": [{"Id": entry["Id"]} for entry in body["Entries"]], "Failed": []}


class Answers(BaseHTTPRequestHandler):
    server: Sqs

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
        code = 503 if self.server.broken else 200
        answer = json.dumps({"message": "away"} if self.server.broken else self.server.asked(operation, body)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    server = Sqs()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


class Book:
    """Notes events; not while the store is away."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.away = False

    def note(self, events: list[Event]) -> int:
        if self.away:
            raise Unavailable("the store did not answer")
        self.keys += [event.key for event in events]
        return len(events)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def queue(sqs: Sqs, book: Book) -> Queue:
    endpoint = f"http://127.0.0.1:{sqs.server_port}"
    client = boto3.client(
        "sqs",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    return Queue(f"{endpoint}/123456789012/uploads", book.note, client, wait_seconds=0)


def test_what_was_written_down_is_taken_off_the_queue(sqs: Sqs, book: Book, queue: Queue) -> None:
    for number in range(12):
        sqs.send(records(f"in/{number}"))
    assert [queue.poll(), queue.poll(), queue.poll()] == [10, 2, 0]
    assert book.keys == [f"in/{number}" for number in range(12)]
    assert sqs.messages == {}


def test_what_the_store_did_not_take_comes_again(sqs: Sqs, book: Book, queue: Queue) -> None:
    sqs.send(records("in/a"))
    book.away = True
    with pytest.raises(Unavailable):
        queue.poll()
    assert len(sqs.messages) == 1
    book.away = False
    sqs.show_again()
    assert queue.poll() == 1
    assert book.keys == ["in/a"]


def test_a_message_that_nobody_understands_does_not_come_for_ever(sqs: Sqs, book: Book, queue: Queue) -> None:
    sqs.send("hello")
    sqs.send(records("in/a"))
    assert queue.poll() == 2
    assert book.keys == ["in/a"]
    assert sqs.messages == {}


def test_a_queue_that_is_away_is_told_and_read_again_later(sqs: Sqs, book: Book, queue: Queue) -> None:
    sqs.broken = True
    with pytest.raises(Unavailable, match="cannot be read"):
        queue.poll()
    queue.start()
    until(lambda: queue.problem)
    sqs.broken = False
    sqs.send(records("in/a"))
    until(lambda: book.keys == ["in/a"] and not queue.problem)
    queue.stop()


def until(look: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
