"""
Intake for many models by one worker: one file at a time, each model in its turn, memory bounded by one file.

Of several replicas the one that holds a lease in the store takes in; every replica answers requests and writes uploads
down. Two at once would do the same twice and harm nothing: outcomes are create-only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from trimtab.adapters.state.lease import Lease
from trimtab.app.cluster.catalog import Catalog, Listed
from trimtab.app.cluster.desks import ClusterDesk
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.waking import Waking
from trimtab.app.events import Event
from trimtab.app.tenure import Tenure
from trimtab.core.errors import Fenced, Invalid, NotFound, TrimtabError, Unavailable
from trimtab.core.ports import Bucket

MOST_PAUSE_SECONDS = 30.0
STAND_BY_SECONDS = 2.0  # between looks at the lease that another replica holds
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)  # of one model, after something did not work; the last one repeats
STOP_SECONDS = 60.0  # to finish the file that is being taken in
log = logging.getLogger("trimtab.intakes")


def lease_of(bucket: Bucket, role: str, namespaces: Iterable[str]) -> Lease:
    """
    The lease of the one process that does a kind of work for the models of these namespaces; none: of all.

    No namespace begins with an underscore, so it stands beside all models' states.
    """
    named = "+".join(sorted(namespaces)) or "all"
    return Lease(bucket, f"_trimtab/leases/{role}-{named}.json", lambda: datetime.now(UTC))


class Intakes:
    """
    Takes in what comes for the models of a catalog, from `start` to `stop`; and the front of the listener.

    Args:
        open_desk: Makes the desk of a model.
        jobs: For models with an image of their own; None: they are not taken in here.
        arrived: Tells the controller that something was taken in.
        noted: Tells the other replicas that something was written down.
        owner: Unique among living processes.
    """

    def __init__(
        self,
        catalog: Catalog,
        open_desk: Callable[[Listed], ClusterDesk],
        lease: Lease,
        owner: str,
        jobs: Jobs | None,
        arrived: Waking,
        noted: Waking,
    ) -> None:
        self.catalog = catalog
        self._open_desk = open_desk
        self._jobs = jobs
        self._arrived = arrived
        self._noted = noted
        self._desks: dict[Key, ClusterDesk] = {}
        self._opening = threading.Lock()
        self._stopping = threading.Event()
        self._bell = threading.Event()
        self._tenure = Tenure(lease, owner, self._lost)
        self._thread = threading.Thread(target=self._work, name="trimtab-intakes", daemon=True)
        self._problem = ""
        catalog.changed = self.wake

    def start(self) -> None:
        self._tenure.start()
        self._thread.start()

    def stop(self) -> None:
        """Finish the file that is being taken in, and give the lease back."""
        self._stopping.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        self._tenure.end()

    def wake(self) -> None:
        """Something may have come, or the models may have changed: look now."""
        self._bell.set()

    @property
    def acts(self) -> bool:
        """Whether this replica is the one that takes in."""
        return self._tenure.held

    # The front of the listener

    def note(self, events: list[Event]) -> int:
        """
        Write down what events tell of, for every model whose source it stands in; returns how many were new.

        Raises:
            Unavailable: If the store does not answer, or the models are not known yet: the sender tries again.
        """
        if self.catalog.problem:
            raise Unavailable(f"the models of this cluster are not known yet: {self.catalog.problem}")
        new = 0
        for desk in self.desks().values():
            found = desk.note(events)
            new += found
            if found and not self.acts:
                self._noted.tell(desk.key)
        if new or any(not event.key for event in events):
            self.wake()
        return new

    def desk(self, name: str, namespace: str = "") -> ClusterDesk:
        found = [desk for key, desk in self.desks().items() if key[1] == name and namespace in ("", key[0])]
        if len(found) == 1:
            return found[0]
        if found:
            spaces = ", ".join(sorted(desk.key[0] for desk in found))
            raise Invalid(
                f"found models {name} in the namespaces {spaces}; needed one of them",
                "ask /v1/namespaces/NAMESPACE/models/NAME/…",
            )
        if self.catalog.problem:
            raise Unavailable(f"the models of this cluster are not known yet: {self.catalog.problem}")
        why = self.catalog.why_not((namespace, name)) if namespace else ""
        if why:
            raise Unavailable(f"{namespace}/{name} is not in use: {why}", f"kubectl -n {namespace} describe ctm {name}")
        where = f"in namespace {namespace}" if namespace else "in this cluster"
        raise NotFound(f"found no ContinuousModel {name!r} {where} that was accepted", "kubectl get ctm -A")

    def metrics_text(self) -> bytes:
        from trimtab.app.cluster.measures import intake_metrics

        return intake_metrics(self.acts, self.desks(), self.problems())

    def not_ready(self) -> str:
        return self.catalog.problem

    def problems(self) -> Mapping[Key, str]:
        """What does not work, by model."""
        return {key: desk.problem for key, desk in self.desks().items() if desk.problem}

    def desks(self) -> dict[Key, ClusterDesk]:
        """The desk of every model; one whose spec has changed since gets a new one."""
        models = self.catalog.models()
        with self._opening:
            for key, listed in models.items():
                desk = self._desks.get(key)
                if desk is not None and desk.listed.text == listed.text:
                    desk.listed = listed
                    continue
                try:
                    self._desks[key] = self._open_desk(listed)
                except TrimtabError as error:
                    log.warning("%s/%s: %s", *key, error.message)
            for key in set(self._desks) - set(models):
                del self._desks[key]
            return dict(self._desks)

    # The worker

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self._pass()
                self._told("")
            except TrimtabError as error:
                pause = STAND_BY_SECONDS
                self._told(error.message)
            except Exception as error:
                log.exception("unexpected")
                pause = STAND_BY_SECONDS
                self._told(f"{type(error).__name__}: {error}")
            self._bell.wait(pause)

    def _pass(self) -> float:
        """Each model once; returns for how many seconds there is nothing more."""
        self._bell.clear()
        if not self._tenure.held and not self._tenure.take():
            return STAND_BY_SECONDS
        pauses = [MOST_PAUSE_SECONDS]
        for desk in self.desks().values():
            if self._stopping.is_set() or not self._tenure.held:
                return 0.0
            pauses.append(self._serve(desk))
        return min(pauses)

    def _serve(self, desk: ClusterDesk) -> float:
        """One model's turn; returns for how many seconds it needs none."""
        if not desk.listed.current:
            return MOST_PAUSE_SECONDS
        now = time.monotonic()
        if now < desk.rests_until:
            return desk.rests_until - now
        try:
            again = self._bring_on(desk)
            desk.failures, desk.trouble = 0, ""
            return again
        except Exception as error:
            if isinstance(error, Fenced):
                raise
            if not isinstance(error, TrimtabError):
                log.exception("%s/%s: unexpected", *desk.key)
            said = error.message if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
            if not desk.trouble:
                log.warning("%s/%s: %s; trying again", *desk.key, said.splitlines()[0])
            rest = RETRY_SECONDS[min(desk.failures, len(RETRY_SECONDS) - 1)]
            desk.trouble, desk.failures, desk.rests_until = said, desk.failures + 1, now + rest
            return rest

    def _bring_on(self, desk: ClusterDesk) -> float:
        """List if it is time, take in one file, tell; returns when it wants its next turn."""
        if desk.listing_due():
            desk.list_all()
        if desk.listed.image:
            if desk.pending() and self._jobs is not None:
                desk.job_trouble = self._jobs.ensure(desk.listed, "intake", desk.spec_address())
                # The Job writes to the ledger: what it has done is read there, soon.
                desk.list_again_in(STAND_BY_SECONDS)
        else:
            desk.take_next()
        if desk.news and self._arrived.tell(desk.key):
            desk.news = False
        if desk.pending() and not desk.listed.image:
            return 0.0
        return 1.0 if desk.news else desk.until_listing()

    def _lost(self, fenced: Fenced) -> None:
        log.warning("another replica takes in now; standing by (%s)", fenced.message)

    def _told(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("intake: %s; trying again", problem.splitlines()[0])
        elif self._problem and not problem:
            log.warning("intake: it works again")
        self._problem = problem
