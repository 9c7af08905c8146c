"""
A user of the model: asks the gateway for predictions, a row a request, over a few connections that are kept.

Nothing of trimtab is used but HTTP: this is what any client would do.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/api/v1.0/predictions"
CONNECTIONS = 3
TIMEOUT_SECONDS = 60.0
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what came of it."""

    row: int  # in the fortnight
    request_id: str
    at: float  # wall seconds since 1970
    seconds: float
    status: int  # 0: no answer at all
    version: int | None  # that answered
    prediction: float | None
    said: str = ""  # of a failed one

    @property
    def failed(self) -> bool:
        return self.status != http.client.OK


class Client:
    """
    Args:
        url: The gateway's address.
        token: Its bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._local = threading.local()

    def ask_all(self, rows: Sequence[tuple[int, Row]], per_second: float) -> list[Asked]:
        """Every row as a request of its own, at most so many a second; in the order in which they were begun."""
        queue = iter(enumerate(rows))
        lock, began = threading.Lock(), time.monotonic()
        found: dict[int, Asked] = {}

        def work() -> None:
            while True:
                with lock:
                    place, (number, row) = next(queue, (-1, (0, {})))
                if place < 0:
                    break
                pause = began + place / per_second - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                found[place] = self.ask(number, row)
            self.close()

        threads = [threading.Thread(target=work, name=f"demo-client-{index}") for index in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[place] for place in sorted(found)]

    def ask(self, number: int, row: Row) -> Asked:
        """One request; a connection that the other side closed meanwhile is opened again, once."""
        body = json.dumps({"data": {"names": list(row), "ndarray": [list(row.values())]}}).encode()
        request_id, at, began = str(uuid.uuid4()), time.time(), time.monotonic()
        status, headers, answer, said = 0, {}, b"", ""
        for kept in (True, False):
            connection = self._connection()
            try:
                connection.request("POST", PATH, body, {**self._headers, "x-request-id": request_id})
                response = connection.getresponse()
                answer, status, headers = response.read(), response.status, dict(response.getheaders())
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                self.close()
                said = f"{type(error).__name__}: {error}"
                if not kept:
                    break
            except (OSError, http.client.HTTPException) as error:
                self.close()
                said = f"{type(error).__name__}: {error}"
                break
        seconds = time.monotonic() - began
        headers = {name.lower(): value for name, value in headers.items()}
        version = headers.get("x-model-version", "")
        return Asked(
            row=number,
            request_id=headers.get("x-request-id", request_id),
            at=at,
            seconds=seconds,
            status=status,
            version=int(version) if version.isdecimal() else None,
            prediction=_prediction(answer) if status == http.client.OK else None,
            said=said if status == 0 else answer[:300].decode(errors="replace") if status != http.client.OK else "",
        )

    def close(self) -> None:
        """This thread's connection."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
            self._local.connection = connection
        return connection


def _prediction(answer: bytes) -> float:
    """The one number of a Seldon answer to one row."""
    value = json.loads(answer)["data"]["ndarray"][0]
    return float(value[0] if isinstance(value, list) else value)


def rows_of(body: bytes, columns: Mapping[str, str], target: str) -> tuple[list[Row], list[float]]:
    """
    A csv file's rows as a client has them, without the target, and the targets, which it learns later.

    Args:
        columns: Type in the schema by column; others than these are sent as text.
        target: Its name.

    >>> rows_of(b"ts,hour,sky,cnt\\n2012-01-01 00:00:00,0,,12\\n", {"hour": "int", "sky": "category"}, "cnt")
    ([{'ts': '2012-01-01 00:00:00', 'hour': 0, 'sky': None}], [12.0])
    """
    import csv

    numbers = {"int": int, "float": float}
    rows: list[Row] = []
    targets = []
    for record in csv.DictReader(body.decode().splitlines()):
        targets.append(float(record.pop(target)))
        kinds = {name: numbers.get(columns.get(name, ""), str) for name in record}
        rows.append({name: kinds[name](value) if value != "" else None for name, value in record.items()})
    return rows, targets
