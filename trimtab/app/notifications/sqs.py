"""
A queue of SQS, read for events: where the cluster cannot be reached from outside.

A message is deleted once what it tells of is written down. One that cannot be understood is deleted too: it says only
that something may have come, which the listing finds, and would come again for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from trimtab.app.notifications.event import Event
from trimtab.app.notifications.reading import read
from trimtab.core.errors import Invalid, TrimtabError, Unavailable

WAIT_SECONDS = 20  # of one long poll, SQS's most
AT_ONCE = 10  # messages, SQS's most
HIDDEN_SECONDS = 60  # from other readers, while what they tell of is written down
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)  # after something did not work; the last one repeats
STOP_SECONDS = WAIT_SECONDS + 5.0
log = logging.getLogger("trimtab.sqs")


def connect() -> Any:
    """boto3's client, by the same variables as S3's; its own endpoint is `AWS_ENDPOINT_URL_SQS`."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=WAIT_SECONDS + 10, retries={"total_max_attempts": 1})
    return boto3.client("sqs", config=config)


class Queue:
    """
    Reads a queue from `start` to `stop`; several may read the same one.

    Args:
        url: Of the queue.
        note: Writes down what events tell of. Raises Unavailable where it cannot: the message comes again.
        client: Of SQS, made by boto3; None: by the environment.
        wait_seconds: Of a long poll.
    """

    def __init__(
        self, url: str, note: Callable[[list[Event]], int], client: Any = None, wait_seconds: int = WAIT_SECONDS
    ) -> None:
        self._url = url
        self._note = note
        self._client = client
        self._wait_seconds = wait_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trimtab-sqs", daemon=True)
        self.problem = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The poll that goes on ends by itself; what it brings is left in the queue."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def poll(self) -> int:
        """
        Take what stands in the queue, waiting for it; returns how many messages were done with.

        Raises:
            Unavailable: If queue or store do not answer: what was not written down comes again.
        """
        done = []
        try:
            for message in self._receive():
                if self._stopping.is_set():
                    break
                self._take(message)
                done.append(message["ReceiptHandle"])
        finally:
            if done:
                self._delete(done)
        return len(done)

    def _take(self, message: Any) -> None:
        try:
            self._note(read(message["Body"].encode()))
        except Invalid as error:
            log.warning("a message of the queue is passed over: %s", error.message.splitlines()[0])

    def _receive(self) -> list[Any]:
        found: list[Any] = self._asked(
            "receive_message",
            MaxNumberOfMessages=AT_ONCE,
            WaitTimeSeconds=self._wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
        ).get("Messages", [])
        return found

    def _delete(self, handles: list[str]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
        self._asked("delete_message_batch", Entries=entries)

    def _asked(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._client is None:
                self._client = connect()
            return getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise Unavailable(
                f"the queue {self._url} cannot be read: {error}",
                "the listener needs sqs:ReceiveMessage and sqs:DeleteMessage on it",
            ) from error

    def _work(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self.poll()
                if self.problem:
                    log.warning("the queue can be read again")
                failures, self.problem = 0, ""
            except Exception as error:
                if not isinstance(error, TrimtabError):
                    log.exception("unexpected")
                said = error.message if isinstance(error, TrimtabError) else f"{type(error).__name__}: {error}"
                if not self.problem:
                    log.warning("%s; trying again", said)
                self.problem = said
                self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
