"""
Monitoring of many models, by a few threads.

Of several replicas the one that holds a lease in the store measures.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from trimtab.adapters.state.lease import Lease
from trimtab.app.cluster.catalog import Catalog, Listed
from trimtab.app.cluster.model_monitor import IDLE_SECONDS, ModelMonitor, OwnImage
from trimtab.app.cluster.queue import WorkQueue
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.waking import Waking
from trimtab.app.tenure import Tenure
from trimtab.core.errors import Fenced, TrimtabError

THREADS = 2
STAND_BY_SECONDS = 2.0  # between looks at the lease that another replica holds
STOP_SECONDS = 60.0
log = logging.getLogger("trimtab.monitors")


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
