"""Uploads put into a running platform one at a time, each waited for until it is judged and any run has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from trimtab.core.errors import Unavailable

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.app.embedded.platform import Platform
    from trimtab.app.status import Status
    from trimtab.core.records import IntakeOutcome
    from trimtab.core.rollout.values import RolloutSpec

MOST_SECONDS = 300.0  # for one upload and the run it starts; a run takes about ten
LOOK_SECONDS = 0.05
EVENTS = "/v1/events"


@dataclass(frozen=True)
class Landed:
    """What became of one upload."""

    key: str
    etag: str
    outcome: IntakeOutcome
    status: Status
    seconds: float  # from the put to the end of what it started


class Stream:
    """
    A user's side of the platform: an S3 client, and the listener's address.

    Args:
        platform: Running.
    """

    def __init__(self, platform: Platform) -> None:
        import boto3

        from trimtab.adapters.state import State

        self._expected = 0  # object versions put so far
        self._platform = platform
        self._data = platform.model.spec.data
        self._client: Any = boto3.client("s3")
        self.state: State = State.open(platform.buckets, platform.environment.state, platform.model.name)

    def put(self, name: str, body: bytes) -> Landed:
        """
        Upload, and wait until the upload is concluded and no run goes on.

        Raises:
            Unavailable: If that takes longer than five minutes.
        """
        began, key = time.monotonic(), self._data.prefix + name
        etag = self._client.put_object(Bucket=self._data.bucket, Key=key, Body=body)["ETag"].strip('"')
        self._expected += 1
        status = self.settled(key)
        (entry,) = (each for each in self.state.ledger.entries().values() if (each.key, each.etag) == (key, etag))
        outcome = self.state.ledger.outcome(entry.id)
        assert outcome is not None, "a settled upload is concluded"
        return Landed(key, etag, outcome, status, time.monotonic() - began)

    def notify(self, key: str, etag: str, size: int) -> int:
        """Tell the listener of an object, as AWS S3 and MinIO do; returns the HTTP status."""
        event = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": datetime.now(UTC).isoformat(),
            "s3": {"bucket": {"name": self._data.bucket}, "object": {"key": key, "eTag": etag, "size": size}},
        }
        return self._post({"Records": [event]})

    def settled(self, what: str) -> Status:
        """
        The status once every upload is concluded, decided on, and nothing is being trained.

        Raises:
            Unavailable: After five minutes, with what is in the way.
        """
        until = time.monotonic() + MOST_SECONDS
        while True:
            status = self._platform.loop.snapshot()
            concluded = sum(status.uploads.get(state, 0) for state in ("ingested", "quarantined", "duplicate"))
            if concluded >= self._expected and not status.uploads.get("pending") and status.running is None:
                return status
            if time.monotonic() > until:
                raise Unavailable(
                    f"{what} did not come to an end within {MOST_SECONDS:.0f} s: {_in_the_way(status)}",
                    f"the logs of runs are under {self._platform.folder / 'runs'}",
                )
            time.sleep(LOOK_SECONDS)

    def trained(self, decisions: int, what: str) -> Status:
        """
        The status once there are more decisions than that, and none goes on.

        Raises:
            Unavailable: After five minutes, with what is in the way.
        """
        until = time.monotonic() + MOST_SECONDS
        while len(self.state.decisions.all()) <= decisions:
            if time.monotonic() > until:
                found = _in_the_way(self._platform.loop.snapshot())
                raise Unavailable(f"{what} started no training run within {MOST_SECONDS:.0f} s: {found}")
            time.sleep(LOOK_SECONDS)
        return self.settled(what)

    def proposed(self, version: int | None) -> RolloutSpec:
        """
        The rollout of a challenger, which the last step of its run proposes.

        Raises:
            Unavailable: After five minutes.
        """
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            for spec in self.state.rollouts.all():
                if spec.version == version:
                    return spec
            time.sleep(LOOK_SECONDS)
        raise Unavailable(f"nobody proposed a rollout of v{version} within {MOST_SECONDS:.0f} s")

    def _post(self, payload: Mapping[str, Any]) -> int:
        environment = self._platform.environment
        request = Request(  # noqa: S310  our own listener on the loopback
            environment.url + EVENTS,
            data=json.dumps(payload).encode(),
            headers={"Authorization": f"Bearer {environment.token}", "Content-Type": "application/json"},
            method="POST",
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310  the same
            return int(answer.status)


def _in_the_way(status: Status) -> str:
    if status.problems:
        return "; ".join(status.problems)
    if status.running:
        return f"decision {status.running.decision} is in attempt {status.running.attempt}"
    return ", ".join(f"{count} {state}" for state, count in status.uploads.items())
