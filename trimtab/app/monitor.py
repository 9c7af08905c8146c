"""
The monitor: a thread that looks at what is served, keeps its findings in the store, and wakes who decides.

It decides nothing itself: `core.trigger.decide` reads the findings, `trimtab status` and `/metrics` show them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from trimtab.adapters.joined import joined_of
from trimtab.adapters.performance import PerformanceWatch
from trimtab.adapters.server_load import ServerLoad
from trimtab.adapters.state import State
from trimtab.app.answer_watch import AnswerWatch
from trimtab.app.champion import LiveChampion
from trimtab.app.clocks import WallClock
from trimtab.app.service_watch import ServiceWatch
from trimtab.core.errors import Conflict, TrimtabError, Unavailable
from trimtab.core.monitor.alarm import halved
from trimtab.core.monitor.findings import Findings
from trimtab.core.observation import in_order, original, spent
from trimtab.core.ports import Clock, TrafficSplit
from trimtab.core.records import IntakeOutcome, LedgerEntry
from trimtab.core.spec.model import ContinuousModel

LOOK_SECONDS = 5.0
STAND_BY_SECONDS = 0.2  # between looks at whether this process acts
IDLE_SHARE = 10  # a look that took a second is followed by ten of rest: intake and serving have the cores
LEAST_REST_SECONDS, MOST_REST_SECONDS = 0.5, 60.0
WRITE_SECONDS = 30.0  # findings in which only the newest minute is new are written so often
STOP_SECONDS = 30.0
log = logging.getLogger("trimtab.monitor")


class Uploaded(Protocol):
    """What has been uploaded, and the live champion: `app.intake.Intake`, or what another process wrote of it."""

    champion: LiveChampion

    @property
    def outcomes(self) -> Mapping[str, IntakeOutcome]: ...

    def current(self) -> list[LedgerEntry]: ...


class Monitor:
    """
    Watches one model from `start` to `stop`.

    Args:
        state: The model's.
        model: The spec.
        clock: The policy clock.
        intake: What has been uploaded, and the live champion.
        acts: Whether this process works for the model: only then it looks and writes.
        found: Is called when something that `decide` reads has changed.
        traffic: The gateway; None where nothing serves.
        load_addresses: Of the model servers' metrics, by version.

    Attributes:
        findings: The newest; None before the first look.
        problem: Why it cannot measure; empty while it can, or waits for the store.
    """

    def __init__(
        self,
        state: State,
        model: ContinuousModel,
        clock: Clock,
        intake: Uploaded,
        acts: Callable[[], bool],
        found: Callable[[], None],
        traffic: TrafficSplit | None = None,
        load_addresses: Callable[[], Mapping[int, str]] = dict,
    ) -> None:
        self._state = state
        self._model = model
        self._clock = clock
        self._intake = intake
        self._acts = acts
        self._tell_found = found
        self._traffic = traffic
        self._load_addresses = load_addresses
        self._key = state.layout.current("monitor")
        self._etag: str | None = None
        self._written = (b"", float("-inf"))  # what stands in the store but for its times, and when (monotonic)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trimtab-monitor", daemon=True)
        self._opened = False
        self.findings: Findings | None = None
        self.problem = ""
        self.looks = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def wake(self) -> None:
        """Something may have come: look soon."""
        self._bell.set()

    def _work(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._bell.wait(max(pause, 0.05))
            self._bell.clear()
            if self._stopping.is_set():
                return
            began = time.monotonic()
            pause = LOOK_SECONDS
            try:
                if self._acts():
                    self.look()
                else:
                    # Whoever acts meanwhile writes the findings.
                    self._opened, pause = False, STAND_BY_SECONDS
                self.problem = ""
            except Unavailable as error:
                # The worker tells of the store, and whoever leads rollouts of the gateway.
                log.info("the monitor waits: %s", error.message)
            except Conflict:
                self._opened = False
            except TrimtabError as error:
                self.problem = f"the monitor cannot measure: {error.message}"
            except Exception as error:
                log.exception("a look of the monitor failed")
                self.problem = f"the monitor failed: {type(error).__name__}: {error}"
            # A bell shortens the pause, and not the rest that a look has earned the others.
            rest = max(LEAST_REST_SECONDS, min(IDLE_SHARE * (time.monotonic() - began), MOST_REST_SECONDS))
            self._stopping.wait(rest)

    def look(self) -> Findings:
        """
        Look at everything once, and keep what was found.

        Raises:
            Unavailable: If the store or the gateway does not answer.
            Conflict: If another process wrote findings meanwhile.
        """
        if not self._opened:
            self._open()
        found = self._measure()
        changed = self._says(found) != (self._says(self.findings) if self.findings else None)
        self._write(found)
        self.findings = found
        self.looks += 1
        if changed:
            self._tell_found()
        return found

    def forget(self) -> None:
        """Another process may have written findings: the next look goes on from them."""
        self._opened = False

    def _open(self) -> None:
        """Go on from the findings in the store."""
        stored = self._state.bucket.find(self._key)
        before = Findings.from_json(stored.body, self._key) if stored else None
        self._etag = stored.etag if stored else None
        most = self._model.spec.evaluation.max_latency_p99_milliseconds
        position, minutes = (before.position, before.minutes) if before else ("", ())
        self._service = ServiceWatch(most, position, minutes)
        self._answers = AnswerWatch(self._state, self._model)
        self._performance = PerformanceWatch(self._state, self._model, not isinstance(self._clock, WallClock))
        self._load = ServerLoad()
        self.findings, self._opened = before, True

    def _measure(self) -> Findings:
        state, now = self._state, self._clock.now()
        champion = self._intake.champion.get()
        manifest = state.registry.manifest()
        decisions = state.decisions.all()
        joined = joined_of(state, self._model)
        joined.refresh()
        table = joined.frame(now)
        if self._traffic is not None:
            self._service.ask_gateway(self._traffic)
        else:
            self._service.read_log(table, joined.failures)
        self._service.close_minutes()
        self._answers.look(table)
        trigger = halved(self._model.spec.triggers.drift)
        current = {minute.version for minute in self._service.minutes[-3:]}
        return Findings(
            champion=manifest.champion if manifest else None,
            at=datetime.now(UTC),
            policy_at=now,
            minutes=self._service.minutes,
            answers=self._answers.newest(),
            inputs=self._answers.inputs(table, champion.version, trigger, spent(decisions), now) if champion else None,
            performance=self._performance.look(champion, table, self._outcomes(), decisions, now),
            load=self._load.look(self._load_addresses()),
            anomalies=(*self._service.anomalies(), *self._answers.anomalies(current)),
            position=self._service.position,
        )

    def _outcomes(self) -> list[IntakeOutcome]:
        """Of the uploads that stand in the source, each file's rows once, in order of arrival."""
        known = dict(self._intake.outcomes)
        found = (original(known, known.get(entry.id)) for entry in in_order(self._intake.current()))
        by_partition = {o.partition.id: o for o in found if o is not None and o.partition and o.partition.rows}
        return list(by_partition.values())

    @staticmethod
    def _says(found: Findings) -> tuple[object, ...]:
        """What `decide` reads of it."""
        return (found.champion, found.worse(found.champion), found.drifted(found.champion), found.inputs is None)

    def _write(self, found: Findings) -> None:
        restless = {"at": found.policy_at, "load": (), "minutes": (), "nonce": "", "position": ""}
        body = found.model_copy(update=restless).to_json()
        now = time.monotonic()
        if body == self._written[0] and now - self._written[1] < WRITE_SECONDS:
            return
        whole = found.model_copy(update={"nonce": uuid.uuid4().hex}).to_json()
        if self._etag is None:
            self._etag = self._state.bucket.create(self._key, whole)
        else:
            self._etag = self._state.bucket.replace(self._key, whole, self._etag)
        self._written = (body, now)
