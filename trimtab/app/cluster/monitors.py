"""
Monitoring of many models: what is served is measured, and a rollout's versions are scored, by a few threads.

Findings and losses go into the state, where the controller reads them. Of several replicas the one that holds a lease
in the store measures.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from trimtab.adapters.state import State
from trimtab.adapters.state.lease import Lease
from trimtab.app.champion import LiveChampion
from trimtab.app.clocks import WallClock
from trimtab.app.cluster.arrivals import Arrivals, ArrivalsSoFar
from trimtab.app.cluster.catalog import Catalog, Listed
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.queue import WorkQueue
from trimtab.app.cluster.replays import Replays
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.waking import Waking
from trimtab.app.monitor import Monitor
from trimtab.app.status import read_findings
from trimtab.app.tenure import Tenure
from trimtab.core.errors import Conflict, Fenced, TrimtabError, Unavailable
from trimtab.core.monitor.findings import Findings
from trimtab.core.ports import Buckets
from trimtab.core.records import IntakeOutcome, LedgerEntry
from trimtab.core.spec.model import ContinuousModel

THREADS = 2
LED_SECONDS = 5.0  # between looks at a model of which a rollout goes on
IDLE_SECONDS = 30.0  # ... at another one
IDLE_SHARE = 4  # a look that took a second is followed by four of rest for this model
MOST_REST_SECONDS = 120.0
STAND_BY_SECONDS = 2.0  # between looks at the lease that another replica holds
STOP_SECONDS = 60.0
log = logging.getLogger("trimtab.monitors")


class Uploads:
    """What the listener took in for one model, and the live champion, as the monitor asks for them."""

    def __init__(
        self, state: State, buckets: Buckets, model: ContinuousModel, trusted_types: tuple[str, ...], spec_folder: str
    ) -> None:
        self.champion = LiveChampion(state, trusted_types, spec_folder)
        self._state = state
        self._buckets = buckets
        self._model = model
        self._so_far = ArrivalsSoFar()
        self._newest = Arrivals({}, {}, {})

    def read(self) -> None:
        """Read what has come since. Raises Unavailable when the store does not answer."""
        self._newest = self._so_far.read(self._state, self._buckets, self._model)

    @property
    def outcomes(self) -> Mapping[str, IntakeOutcome]:
        return self._newest.outcomes

    def current(self) -> list[LedgerEntry]:
        return self._newest.current()


class ModelMonitor:
    """
    Measures one model, look by look; used by one thread at a time.

    Attributes:
        news: Whether something came out since it was last told, that the controller acts upon.
    """

    def __init__(
        self,
        state: State,
        buckets: Buckets,
        model: ContinuousModel,
        trusted_types: tuple[str, ...] = (),
        spec_folder: str = "",
    ) -> None:
        self._uploads = Uploads(state, buckets, model, trusted_types, spec_folder)
        self.news = False
        self._monitor = Monitor(state, model, WallClock(), self._uploads, lambda: True, self._found)
        self._replays = Replays(state, model, trusted_types=trusted_types, spec_folder=spec_folder)
        self._measured = float("-inf")  # monotonic seconds
        self._rest = 0.0  # after the last measurement, at least
        self.problem = ""

    @property
    def findings(self) -> Findings | None:
        return self._monitor.findings

    def look(self) -> float:
        """
        Score what is due and measure if it is time; returns after how many seconds to look again.

        What cannot be measured is a `problem`, and keeps nothing else from being measured.

        Raises:
            Unavailable: If the store does not answer.
        """
        led, problems = False, []
        try:
            led, news = self._replays.look()
            self.news = self.news or news
        except Conflict:
            led = True
        except Unavailable:
            raise
        except TrimtabError as error:
            led = True
            problems.append(f"the loss cannot be measured: {error.message}")
        began = time.monotonic()
        if began >= self._measured + max(self._rest, LED_SECONDS if led else IDLE_SECONDS):
            problems += self._measure()
            took = time.monotonic() - began
            self._measured, self._rest = time.monotonic(), min(IDLE_SHARE * took, MOST_REST_SECONDS)
        elif self.problem and not problems:
            problems.append(self.problem)
        self.problem = "; ".join(problems)
        return LED_SECONDS if led else IDLE_SECONDS

    def forget(self) -> None:
        """Another process may have measured meanwhile."""
        self._monitor.forget()
        self._replays.forget()

    def _measure(self) -> list[str]:
        try:
            self._uploads.read()
            self._monitor.look()
        except Conflict:
            self._monitor.forget()
        except Unavailable:
            raise
        except TrimtabError as error:
            return [f"the monitor cannot measure: {error.message}"]
        return [self._uploads.champion.problem] if self._uploads.champion.problem else []

    def _found(self) -> None:
        self.news = True


class OwnImage:
    """Has a model measured by Jobs in the image of its user's code, for as long as there is reason to."""

    def __init__(self, listed: Listed, state: State, jobs: Jobs) -> None:
        self.listed = listed
        self._state = state
        self._jobs = jobs
        self._spec = ""
        self.findings: Findings | None = None
        self.news = False
        self.problem = ""

    def look(self) -> float:
        """
        Ask for a Job where somebody serves; returns after how many seconds to look again.

        Raises:
            Unavailable: If the store or the API server does not answer.
            Invalid: If the API server refuses such a Job.
        """
        manifest = self._state.registry.manifest()
        if manifest is None or manifest.champion is None:
            return IDLE_SECONDS
        if not self._spec:
            self._spec = self._state.uri(self._state.layout.spec(self._state.data.put_spec(self.listed.text)))
        self.problem = self._jobs.ensure(self.listed, "monitor", self._spec)
        before, self.findings = self.findings, read_findings(self._state)
        self.news = self.news or before != self.findings
        return LED_SECONDS

    def forget(self) -> None:
        """What the Job finds is read each time."""


Work = ModelMonitor | OwnImage


class Monitors:
    """
    Measures all models of a catalog from `start` to `stop`.

    Args:
        open_work: What measures a model.
        measured: Tells the controller that something came out.
        owner: Unique among living processes.
    """

    def __init__(
        self,
        catalog: Catalog,
        open_work: Callable[[Listed], Work],
        lease: Lease,
        owner: str,
        measured: Waking,
        threads: int = THREADS,
    ) -> None:
        self.catalog = catalog
        self._open_work = open_work
        self._measured = measured
        self._queue: WorkQueue[Key] = WorkQueue()
        self._works: dict[Key, tuple[Listed, Work]] = {}
        self._troubles: dict[Key, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._tenure = Tenure(lease, owner, self._lost)
        self._epoch = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"trimtab-monitor-{number}", daemon=True)
            for number in range(threads)
        ]
        self._leader = threading.Thread(target=self._lead, name="trimtab-monitor-lease", daemon=True)
        catalog.changed = self._refresh

    def start(self) -> None:
        self._tenure.start()
        self._leader.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the looks that go on, and give the lease back."""
        self._stopping.set()
        self._queue.close()
        for thread in (self._leader, *self._threads):
            if thread.is_alive():
                thread.join(STOP_SECONDS)
        self._tenure.end()

    @property
    def acts(self) -> bool:
        """Whether this replica is the one that measures."""
        return self._tenure.held

    def problems(self) -> dict[Key, str]:
        """What does not work, by model."""
        found = {key: work.problem for key, (_, work) in dict(self._works).items() if work.problem}
        return found | {key: trouble for key, trouble in dict(self._troubles).items() if trouble}

    def metrics_text(self) -> bytes:
        from trimtab.app.cluster.measures import monitor_metrics

        found = {key: work.findings for key, (_, work) in dict(self._works).items()}
        return monitor_metrics(self.acts, found, self.problems())

    def not_ready(self) -> str:
        return self.catalog.problem

    def _refresh(self) -> None:
        """The models may have changed: every new one is looked at soon."""
        models = self.catalog.models()
        with self._lock:
            for key, listed in models.items():
                if key not in self._works or self._works[key][0].text != listed.text:
                    try:
                        self._works[key] = (listed, self._open_work(listed))
                    except TrimtabError as error:
                        log.warning("%s/%s: %s", *key, error.message)
                        continue
                    self._queue.add(key)
                else:
                    self._works[key] = (listed, self._works[key][1])
            for key in set(self._works) - set(models):
                del self._works[key]
                self._queue.forget(key)
                self._troubles.pop(key, None)

    def _lead(self) -> None:
        """Take the lease whenever it is free; who has just got it believes nothing that he measured before."""
        while not self._stopping.wait(STAND_BY_SECONDS if self._epoch or not self._tenure.held else 0.01):
            try:
                if not self._tenure.held and not self._tenure.take():
                    continue
            except TrimtabError as error:
                log.info("the monitors' lease could not be taken: %s", error.message)
                continue
            if self._tenure.epoch not in (None, self._epoch):
                self._epoch = self._tenure.epoch or 0
                for key, (_, work) in dict(self._works).items():
                    work.forget()
                    self._queue.add(key)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            listed, work = self._works.get(key, (None, None))
            if listed is None or work is None:
                self._queue.done(key)
            elif not self._tenure.held or not listed.current:
                self._queue.done(key, IDLE_SECONDS)
            else:
                self._look(key, work)

    def _look(self, key: Key, work: Work) -> None:
        try:
            pause = work.look()
            if work.news and self._measured.tell(key):
                work.news = False
        except Exception as error:
            if not isinstance(error, TrimtabError):
                log.exception("%s/%s: unexpected", *key)
            said = error.message if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
            if self._troubles.get(key) != said:
                log.warning("%s/%s: %s; trying again", *key, said.splitlines()[0])
            self._troubles[key] = said
            self._queue.failed(key)
            return
        self._troubles.pop(key, None)
        self._queue.done(key, pause if key in self._works else None)

    def _lost(self, fenced: Fenced) -> None:
        log.warning("another replica measures now; standing by (%s)", fenced.message)
