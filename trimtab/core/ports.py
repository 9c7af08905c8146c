"""
What trimtab asks of the outside, as protocols: adapters implement them, tests run one suite against every adapter.

All names and sizes are plain values; all times are timezone-aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing or a HEAD shows it: `etag` without quotes, `size` in bytes."""

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's bytes with the etag they were read under."""

    body: bytes
    etag: str


class Bucket(Protocol):
    """
    One bucket of an S3-compatible store.

    Every method raises `Unavailable` when the store cannot be reached (after its own bounded retries) and
    `NotFound` when the bucket does not exist.
    """

    @property
    def name(self) -> str: ...

    def get(self, key: str) -> Stored:
        """The whole object. Raises NotFound when there is none."""

    def find(self, key: str) -> Stored | None:
        """As `get`, with None when there is none."""

    def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of the object, or None when there is none."""

    def stream(self, key: str, etag: str | None = None) -> Iterator[bytes]:
        """
        The object's bytes in chunks of about 1 MiB.

        Raises NotFound when there is none, Conflict when `etag` is given and the object has another by now.
        """

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """
        Objects whose key starts with `prefix`, in ascending order of key among flat fixed-width keys.

        With `start_after`, only keys greater than it.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands directly under `prefix` (which ends with a slash) and holds keys of its own, by name."""

    def create(self, key: str, body: bytes) -> str:
        """
        Put an object that must not exist yet; returns its etag.

        A lost answer is settled by reading back: when the object already holds exactly these bytes, the call
        succeeds. So put an owner or nonce in the body where two writers could write the same bytes and only one
        may win.

        Raises Conflict when the object exists with other bytes.
        """

    def create_from_file(self, key: str, path: Path) -> str:
        """As `create`, streamed from a file; for digest-addressed keys, where an existing object is the same."""

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """
        Compare-and-swap: put only if the object still has `etag`; returns the new etag.

        The body holds a nonce or revision, so that a lost answer can be settled by reading back.

        Raises Conflict when the object has another etag or does not exist.
        """

    def put(self, key: str, body: bytes) -> str:
        """Put without a condition: users' data only, never state."""

    def delete(self, key: str) -> None:
        """
        Delete if it exists: users' data, probes, and segments of a log that a compacted one holds; nothing else of
        the state.
        """


class Buckets(Protocol):
    """An S3-compatible endpoint with its credentials."""

    def bucket(self, name: str) -> Bucket:
        """The bucket by that name; nothing is asked of the store yet."""


class RunPhase(StrEnum):
    """Where an execution of the training pipeline stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """
    What one attempt of a run is started with: the pipeline's own parameters, and the id that makes it unique.

    `run_id` is uuid5(run key, attempt). `state` is `s3://BUCKET/NAMESPACE`. `spec` is an s3:// address or YAML text.
    """

    run_id: str
    model: str
    spec: str
    state: str
    objects: tuple[str, ...]
    reason: str
    run_key: str
    image: str = ""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What the launcher knows of a run; `error` is one readable line when it failed."""

    run_id: str
    phase: RunPhase
    error: str = ""


class RunLauncher(Protocol):
    """Starts training runs and says how they stand: kfp.local in a child process, or the KFP API."""

    def look_up(self, run_id: str) -> RunStatus | None:
        """The run, or None when this launcher never started it."""

    def launch(self, request: RunRequest) -> RunStatus:
        """Start the run; a `run_id` that was started before is adopted, never started twice."""

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        """The last lines that the run printed, oldest first; empty when there are none."""

    def stop(self, run_id: str) -> None:
        """End the run and everything it started; nothing happens when it has ended already."""


@dataclass(frozen=True, slots=True)
class Serving:
    """
    Who is to answer the traffic.

    `versions` are kept running; of them the champion answers what the challenger does not. The challenger answers
    `weight_percent` of the requests, or with `shadow` a copy of all of them, whose answers nobody sees. With
    `sticky_header` a user, named by that header, keeps one variant, and a higher weight only adds users to the
    challenger.
    """

    champion: int
    challenger: int | None = None
    weight_percent: int = 0
    shadow: bool = False
    sticky_header: str = ""
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServingSeen:
    """
    What serves just now.

    `route` is the split that the router itself confirms, None before it has any; its `versions` are those that answer
    (`ready`). `failing` says of a version that does not become ready why, in one line. `restarts` counts by version
    the processes that ended by themselves. `down` are versions of which nothing answers, where the router would go on
    sending them requests; one that lacks some of its pods is neither `ready` nor down.
    """

    route: Serving | None
    ready: frozenset[int]
    failing: Mapping[int, str]
    restarts: Mapping[int, int]
    down: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One request that the gateway answered.

    `version` is the variant that was chosen for it; `failed` also where another one had to answer in its place.
    `user` is the value of the sticky header, empty without one. `within` says between which times it came, where only
    a counter tells: `at` is then a guess. `teller` is the process whose word it is, empty where one speaks for all.
    """

    at: float  # wall seconds since 1970 at which the request came
    version: int
    failed: bool
    seconds: float
    user: str = ""
    request_id: str = ""
    within: tuple[float, float] | None = None
    teller: str = ""


class TrafficSplit(Protocol):
    """
    Runs the variants of one model and splits the traffic over them: Envoy here, a SeldonDeployment in a cluster.

    Attributes:
        told_apart: Whether `answers` has each variant's own account, one some seconds behind the other, instead of one
            router's of all.
    """

    told_apart: bool

    def want(self, serving: Serving) -> None:
        """
        Make it so, step by step and without waiting: start what is missing, move the weights only to versions that
        are ready, stop what is no longer named only once no route leads there. Repeating it changes nothing.

        Raises Unavailable when the router or the variants cannot be managed now.
        """

    def seen(self) -> ServingSeen:
        """What serves just now, by the router's own word. Raises Unavailable when it cannot be known."""

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        """
        Requests that were answered since `position` (empty: from now on), oldest first, and the position after them.

        The same position gives the same answers, also after a restart of everything, and those that show late.
        """


class Clock(Protocol):
    """The policy clock: the wall clock in production, the stream's own time in a replay."""

    def now(self) -> datetime:
        """Timezone-aware UTC."""
