"""A model in memory with everything that decides and executes, and a launcher whose runs the test brings to an end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bikes
import pytest
from bikes import DAY, day_file

from trimtab.adapters.environment import Environment
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.requests import Requests
from trimtab.adapters.state import State
from trimtab.app.chronicle import Chronicle
from trimtab.app.clocks import StreamClock
from trimtab.app.controller import Controller
from trimtab.app.execution import Executor
from trimtab.app.intake import Intake
from trimtab.app.loop import Loop
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus
from trimtab.core.records import Decision, IntakeOutcome, JournalEntry, Manifest, ModelVersion, Outcome
from trimtab.core.spec import load

SPEC = bikes.spec(source="s3://LANDING/in/")


def wait_for(look: Callable[[], Any], seconds: float = 20) -> Any:
    """What `look` gives once it gives something; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


class HandLauncher:
    """
    `RunLauncher` as kfp.local's: a run id is started once and adopted after that; runs end when the test says so.

    Args:
        work: Called in `launch`, in place of the run; what it returns ends the run at once.
    """

    def __init__(self, work: Callable[[RunRequest], RunStatus | None] = lambda request: None) -> None:
        self.work = work
        self.requests: list[RunRequest] = []
        self.runs: dict[str, RunStatus] = {}
        self.printed: dict[str, list[str]] = {}
        self.stopped: list[str] = []

    def look_up(self, run_id: str) -> RunStatus | None:
        return self.runs.get(run_id)

    def launch(self, request: RunRequest) -> RunStatus:
        if request.run_id not in self.runs:
            self.requests.append(request)
            self.runs[request.run_id] = RunStatus(request.run_id, RunPhase.RUNNING)
            ended = self.work(request)
            if ended is not None:
                self.runs[request.run_id] = ended
        return self.runs[request.run_id]

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        return self.printed.get(run_id, [])[-lines:]

    def stop(self, run_id: str) -> None:
        if self.runs[run_id].phase is RunPhase.RUNNING:
            self.stopped.append(run_id)
            self.end(run_id, "the run was stopped")

    def end(self, run_id: str, error: str = "", printed: list[str] | None = None) -> None:
        self.printed[run_id] = printed or [f"line {number}" for number in range(30)]
        self.runs[run_id] = RunStatus(run_id, RunPhase.FAILED if error else RunPhase.SUCCEEDED, error)


@dataclass
class Time:
    """A wall clock that stands until a test moves it; an hour ahead, so that whatever is recorded lies before it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=1))

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Rig:
    """One model's parts as `Loop` puts them together, without threads: `step` is one pass over everything."""

    buckets: Buckets
    cache: Path
    landing: str = "landing"
    state_bucket: str = "state"
    text: str = SPEC
    launcher: HandLauncher = field(default_factory=HandLauncher)
    wall: Time = field(default_factory=Time)

    def __post_init__(self) -> None:
        self.text = self.text.replace("LANDING", self.landing)
        self.model = load(self.text)
        self.open("first")

    def open(self, owner: str) -> None:
        """A new process: nothing in memory."""
        self.state = State.open(self.buckets, f"s3://{self.state_bucket}/default", "bikes", self.cache)
        self.clock = StreamClock()
        self.intake = Intake(self.state, self.buckets, self.model, self.clock)
        self.chronicle = Chronicle(self.state, self.clock)
        self.chronicle.open()
        self.executor = Executor(self.state, self.launcher, self.clock, self.wall, owner, self.intake.entry)
        self.requests = Requests(self.state)
        self.controller = Controller(
            self.state,
            self.buckets,
            self.model,
            self.state.data.put_spec(self.text),
            self.clock,
            self.wall,
            self.intake,
            self.executor,
            self.chronicle,
            self.requests,
        )

    def put(self, key: str, body: bytes) -> None:
        self.buckets.bucket(self.landing).put(f"in/{key}", body)

    def take_in(self) -> list[IntakeOutcome]:
        self.intake.reconcile()
        outcomes = []
        while (taken := self.intake.take_next()) is not None:
            outcomes.append(taken[1])
        return outcomes

    def step(self) -> Any:
        self.take_in()
        return self.controller.advance()

    def decisions(self) -> list[Decision]:
        return self.state.decisions.all()

    def outcome(self, number: int = 1) -> Outcome | None:
        return self.state.decisions.outcome(number)

    def conclude(self, decision: Decision, state: str = "rejected", **more: Any) -> None:
        """As a step of the run does it."""
        outcome = Outcome(
            number=decision.number,
            run_key=decision.run_key,
            state=state,  # type: ignore[arg-type]
            reason=f"as told: {state}",
            decided_at=decision.decided_at,
            recorded_at=self.wall(),
            **more,
        )
        self.state.decisions.conclude(outcome)

    def register(self, decision: Decision, artifact: str = "0" * 64) -> ModelVersion:
        """As the last step of a run does it: version, manifest, outcome."""

        def build(number: int) -> ModelVersion:
            return ModelVersion(
                number=number,
                run_key=decision.run_key,
                artifact=artifact,
                evaluated_artifact="0" * 64,
                dataset=decision.dataset,
                training_digest=decision.training_digest,
                spec=decision.spec,
                trained_from=DAY,
                trained_until=decision.decided_at,
                rows=12,
                estimator="sklearn.linear_model:LinearRegression",
                seed=0,
                metrics={"mean_absolute_error": 0.5},
                evaluation={},
                reference="",
                lineage={},
                training_seconds=1.0,
                fits=2,
                recorded_at=self.wall(),
            )

        version = self.state.registry.add_version(build)

        def promote(manifest: Manifest | None) -> Manifest:
            before = manifest.champion if manifest else None
            return Manifest(
                number=0,
                champion=version.number,
                challenger=None,
                previous=before,
                cause=f"v{version.number} is better",
                run_key=decision.run_key,
                recorded_at=self.wall(),
            )

        self.state.registry.publish(promote)
        self.conclude(decision, "champion", version=version.number, training_seconds=1.0, fits=2)
        return version

    def journal(self, *kinds: str) -> list[JournalEntry]:
        return [entry for entry in self.state.journal.entries() if not kinds or entry.kind in kinds]


@pytest.fixture(name="day_file")
def day_file_fixture() -> Callable[..., bytes]:
    return day_file


@pytest.fixture(scope="session", name="Rig")
def rig_class() -> type[Rig]:
    """For tests that open one on another store, or with another spec than `SPEC`, which is its `text`."""
    return Rig


@pytest.fixture(name="wait_for")
def wait_for_fixture() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def hand() -> HandLauncher:
    return HandLauncher()


@pytest.fixture
def memory() -> MemoryBuckets:
    return MemoryBuckets()


@pytest.fixture
def rig(memory: MemoryBuckets, tmp_path: Path) -> Rig:
    return Rig(memory, tmp_path / "cache")


@pytest.fixture
def make_rig(memory: MemoryBuckets, tmp_path: Path) -> Callable[..., Rig]:
    """A rig whose spec has some of its lines replaced."""

    def make(**replaced: str) -> Rig:
        text = SPEC
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        return Rig(memory, tmp_path / "cache", text=text)

    return make


@pytest.fixture
def make_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Loop]]:
    """A running loop on given buckets; stopped at the end."""
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    loops: list[Loop] = []

    def make(
        buckets: Buckets, launcher: HandLauncher, landing: str = "landing", state: str = "state", **more: Any
    ) -> Loop:
        text = more.pop("text", SPEC).replace("LANDING", landing)
        environment = Environment(state_bucket=state, token="t0ken", policy_clock="stream")
        more.setdefault("listing_seconds", 0.2)
        loop = Loop(load(text), text, environment, buckets, launcher, **more)
        loops.append(loop)
        loop.start()
        return loop

    yield make
    for loop in loops:
        loop.stop()


class Inbox:
    """A receiver on a free port: answers with `status`, keeps what came."""

    def __init__(self) -> None:
        self.status = 200
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.asked = 0
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.asked += 1
                if inbox.status == 200:
                    inbox.messages.append(json.loads(body))
                    inbox.paths.append(self.path)
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/t0ken-that-nobody-may-read"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


@pytest.fixture
def make_inbox() -> Iterator[Callable[[], Inbox]]:
    made: list[Inbox] = []

    def make() -> Inbox:
        made.append(Inbox())
        return made[-1]

    yield make
    for inbox in made:
        inbox.close()


@pytest.fixture
def inbox(make_inbox: Callable[[], Inbox], monkeypatch: pytest.MonkeyPatch) -> Inbox:
    made = make_inbox()
    monkeypatch.setenv("BIKES_ALERTS", made.address)
    return made
