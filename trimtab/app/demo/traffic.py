"""The stream's rows as traffic: each row a request through the gateway, and its label a fortnight later."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from trimtab.app.demo.client import Asked, Client, Row, rows_of
from trimtab.core.errors import Unavailable

if TYPE_CHECKING:
    from trimtab.adapters.batches import Batch
    from trimtab.app.embedded.platform import Platform
    from trimtab.core.spec.model import Data

PER_SECOND = 150.0
WATCHED_PER_SECOND = 60.0  # under a rollout: the controller looks once a second
DAY_ROWS = 24
SERVING_SECONDS = 120.0  # until the gateway answers after a start: 5 s on an idle machine


@dataclass
class Fortnight:
    """One upload as its users see it: rows that they ask about now, targets that they learn when the file lands."""

    number: int  # in 2012, from 1
    batch: Batch
    rows: list[Row]
    targets: list[float]
    times: list[datetime]
    asked: list[Asked] = field(default_factory=list)

    @classmethod
    def of(cls, number: int, batch: Batch, data: Data) -> Fortnight:
        kinds = {name: column.type for name, column in data.described.items()}
        known = {data.timestamp, *data.key, *data.features}
        rows, targets = rows_of(batch.body, kinds, data.target)
        rows = [{name: value for name, value in row.items() if name in known} for row in rows]
        times = [datetime.fromisoformat(str(row[data.timestamp])).replace(tzinfo=UTC) for row in rows]
        return cls(number, batch, rows, targets, times)

    @property
    def end(self) -> datetime:
        return self.times[-1] + timedelta(hours=1)


class Traffic:
    """
    Users of the model, for as long as one platform runs.

    Args:
        platform: Running.
    """

    def __init__(self, platform: Platform) -> None:
        environment = platform.environment
        self._client = Client(environment.gateway_url, environment.gateway_token)
        self._gateway = environment.gateway_url
        self._labels = f"{environment.url}/v1/models/{platform.model.name}/labels"
        self._token = environment.token
        self._target = platform.model.spec.data.target

    def wait_until_served(self) -> None:
        """
        Wait until the gateway has somebody who answers.

        Raises:
            Unavailable: After two minutes, with what the gateway says.
        """
        until, said = time.monotonic() + SERVING_SECONDS, ""
        while time.monotonic() < until:
            try:
                with urlopen(f"{self._gateway}/health/status", timeout=5) as answer:  # noqa: S310  our own gateway
                    if answer.status == 200:
                        return
            except OSError as error:
                said = str(error)
            time.sleep(0.05)
        raise Unavailable(f"the gateway answered nobody within {SERVING_SECONDS:.0f} s: {said}", "see .trimtab/serving")

    def send(self, fortnight: Fortnight, after_day: Callable[[Fortnight], None] | None = None) -> None:
        """Ask for every row of a fortnight; with `after_day` a day at a time, and it is called after each."""
        numbered = list(enumerate(fortnight.rows))
        if after_day is None:
            fortnight.asked += self._client.ask_all(numbered, PER_SECOND)
            return
        for start in range(0, len(numbered), DAY_ROWS):
            fortnight.asked += self._client.ask_all(numbered[start : start + DAY_ROWS], WATCHED_PER_SECOND)
            after_day(fortnight)

    def label(self, fortnight: Fortnight) -> int:
        """The fortnight's targets become known: tell them, by the requests' ids; returns how many were taken."""
        labels = [
            {"requestId": each.request_id, self._target: fortnight.targets[each.row]}
            for each in fortnight.asked
            if not each.failed
        ]
        if not labels:
            return 0
        request = Request(  # noqa: S310  our own listener on the loopback
            self._labels,
            data=json.dumps({"labels": labels}).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method="POST",
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310  the same
            return int(json.loads(answer.read())["labels"])


class Sending:
    """A fortnight's traffic in a thread of its own, beside the landing of the one before: from `with` to its end."""

    def __init__(self, traffic: Traffic, fortnight: Fortnight | None) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._send, args=(traffic, fortnight), name="demo-traffic")

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _send(self, traffic: Traffic, fortnight: Fortnight | None) -> None:
        try:
            if fortnight is not None:
                traffic.send(fortnight)
        except BaseException as error:
            self._error = error


class StreamTime:
    """What time it is in the stream at a moment of the wall clock: the row that was asked about last."""

    def __init__(self, fortnights: Sequence[Fortnight]) -> None:
        import numpy as np

        pairs = sorted((each.at, one.times[each.row]) for one in fortnights for each in one.asked)
        self._walls = np.array([wall for wall, _ in pairs])
        latest, times = datetime.min.replace(tzinfo=UTC), []
        for _, at in pairs:  # three connections overtake each other by a row
            latest = max(latest, at)
            times.append(latest)
        self._times = times

    def at(self, wall: float) -> datetime:
        """Of a moment before the first request, its time."""
        import numpy as np

        return self._times[max(int(np.searchsorted(self._walls, wall, side="right")) - 1, 0)]
