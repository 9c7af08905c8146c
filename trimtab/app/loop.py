"""
One model's loop in this process: a listener, and a worker that acts for as long as it holds the model's lease.

Nothing lives only in memory: stop it or kill it at any moment, and the next start goes on from the state.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.environment import Environment
from trimtab.adapters.requests import Requests
from trimtab.adapters.state import State
from trimtab.app.alerting import Alerting
from trimtab.app.chronicle import Chronicle
from trimtab.app.clocks import WallClock, clock_of
from trimtab.app.controller import Controller
from trimtab.app.endpoints import OneModel
from trimtab.app.events import Event
from trimtab.app.execution import Executor
from trimtab.app.exposition import render
from trimtab.app.intake import Intake
from trimtab.app.labels import Labels
from trimtab.app.listener import Listener
from trimtab.app.monitor import Monitor
from trimtab.app.rollout.standing import next_move
from trimtab.app.rollout.worker import RolloutWorker, rollout_worker
from trimtab.app.status import Status
from trimtab.app.worker import Worker
from trimtab.core.ports import Buckets, Clock, RunLauncher, TrafficSplit
from trimtab.core.spec.later import refuse_later
from trimtab.core.spec.model import ContinuousModel

LISTING_SECONDS = 5.0  # what no event told of is found by then
log = logging.getLogger("trimtab.loop")


class Loop:
    """
    Listens, takes in, decides and has runs executed for one model, from `start` to `stop`.

    Args:
        model: The spec, its schema in place.
        spec_text: Its text: what a run is started with.
        environment: State bucket, namespace, the listener's token.
        buckets: The store.
        launcher: Executes runs.
        clock: The policy clock; None: the one that the environment names.
        host, port: Of the listener; port 0 takes a free one.
        listing_seconds: How often the source is listed.
        owner: Unique among living processes. The same name after a restart spares the wait for the old lease's end,
            so give one only where nothing else can run under it.
        tell: Is told of what goes wrong and comes right again, in one line.
        traffic: Who serves the model's versions; None where nothing does.
        load_addresses: Of the model servers' own metrics, by version.

    Raises:
        Invalid: If the spec uses a field whose behaviour comes later, or names an alert's address that is not there.
    """

    def __init__(
        self,
        model: ContinuousModel,
        spec_text: str,
        environment: Environment,
        buckets: Buckets,
        launcher: RunLauncher,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        listing_seconds: float = LISTING_SECONDS,
        owner: str = "",
        tell: Callable[[str], None] = log.warning,
        traffic: TrafficSplit | None = None,
        load_addresses: Callable[[], Mapping[int, str]] = dict,
    ) -> None:
        refuse_later(model)
        self.model_name = model.name
        self.traffic = traffic
        owner = owner or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        clock = clock or clock_of(environment)
        folder = environment.spec_folder
        state = State.open(buckets, environment.state, model.name)
        self._requests = Requests(state)
        self._intake = Intake(state, buckets, model, clock, environment.trusted_types, folder)
        chronicle = Chronicle(state, clock)
        self._controller = Controller(
            state=state,
            buckets=buckets,
            model=model,
            spec="",  # the worker puts the text into the state when it may act
            clock=clock,
            wall=_wall,
            intake=self._intake,
            executor=Executor(
                state, launcher, clock, _wall, owner, self._intake.entry, model.spec.training.image or ""
            ),
            chronicle=chronicle,
            requests=self._requests,
            spec_folder=folder,
        )
        on_wall = isinstance(clock, WallClock)
        self._worker = Worker(
            state, owner, spec_text, self._intake, chronicle, self._controller, on_wall, listing_seconds, tell
        )
        self._rollouts: RolloutWorker | None = None
        if traffic is not None:
            trust = (environment.trusted_types, folder)
            self._rollouts = rollout_worker(state, model, traffic, clock, self._worker.tenure, tell, *trust)
        tenure = self._worker.tenure
        self.monitor = Monitor(
            state, model, clock, self._intake, lambda: tenure.held, self.wake, traffic, load_addresses
        )
        self._controller.findings = lambda: self.monitor.findings
        self._intake.on_taken = self.monitor.wake
        self._alerting = Alerting(state, model, lambda: tenure.held)
        self._labels = Labels(state, buckets, model, clock, owner, listing_seconds, tell)
        self._listener = Listener(OneModel(self), environment.token, host, port)

    @property
    def port(self) -> int:
        """The listener's; known once started."""
        return self._listener.port

    def start(self) -> int:
        """
        Start listening and working; returns the listener's port.

        Raises:
            Unavailable: If the port is taken.
        """
        port = self._listener.start()
        self._worker.start()
        if self._rollouts is not None:
            self._rollouts.start()
        self._labels.start()
        self.monitor.start()
        self._alerting.start()
        return port

    def stop(self) -> None:
        """
        Stop cleanly: nothing more is taken in; a run that goes on is ended, and tried again at the next start without
        counting as a failure; the lease is given back.
        """
        self._listener.stop()
        self._labels.stop()
        if self._rollouts is not None:
            self._rollouts.stop()
        self.monitor.stop()
        self._alerting.stop()
        self._worker.stop()

    def snapshot(self) -> Status:
        """How the model stood when worker and rollouts last looked; costs nothing."""
        status, rollouts = self._worker.status, self._rollouts
        status = replace(status, problems=(*status.problems, *self._beside)) if self._beside else status
        if rollouts is None:
            return status
        found = rollouts.standing
        move = status.next_move or next_move(self.model_name, found)
        return replace(status, rollout=found, next_move=move, problems=(*status.problems, *rollouts.problems))

    @property
    def _beside(self) -> tuple[str, ...]:
        """What does not work beside the worker: measuring, and telling people."""
        return (*filter(None, (self.monitor.problem,)), *self._alerting.problems)

    def wake(self) -> None:
        """Something may have come: look now."""
        self._worker.wake()
        self.wake_rollouts()

    # What the listener asks for, in its threads

    def note(self, events: list[Event]) -> int:
        new = self._intake.note(events)
        if new:
            self._worker.wake()
        return new

    def ask_run(self) -> str:
        request = self._requests.ask("api").id
        self._worker.wake()
        return request

    def add_labels(self, body: bytes) -> int:
        return self._labels.add(body)

    def wake_rollouts(self) -> None:
        if self._rollouts is not None:
            self._rollouts.wake()

    def metrics_text(self) -> bytes:
        return render(self.snapshot(), self.monitor.findings)

    def status_json(self) -> dict[str, Any]:
        return self.snapshot().to_json()


def _wall() -> datetime:
    return datetime.now(UTC)
