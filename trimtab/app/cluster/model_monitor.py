"""
One model of a cluster, measured and scored look by look: here, or by Jobs in the image of its user's code.

Findings and losses go into the state, where the controller reads them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.app.champion import LiveChampion
from trimtab.app.clocks import WallClock
from trimtab.app.cluster.arrivals import Arrivals, ArrivalsSoFar
from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.harm_watch import HarmWatch
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.replays import Replays, judged
from trimtab.app.monitor import Monitor
from trimtab.app.status import read_findings
from trimtab.core.errors import Conflict, TrimtabError, Unavailable
from trimtab.core.monitor.findings import Findings
from trimtab.core.ports import Buckets
from trimtab.core.records import IntakeOutcome, LedgerEntry
from trimtab.core.spec.model import ContinuousModel

LED_SECONDS = 5.0  # between looks at a model of which a rollout goes on
IDLE_SECONDS = 30.0  # ... at another one
IDLE_SHARE = 4  # a look that took a second is followed by four of rest for this model
MOST_REST_SECONDS = 120.0


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
        self._state = state
        self._uploads = Uploads(state, buckets, model, trusted_types, spec_folder)
        self._harm = HarmWatch(state)
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
        problems = []
        counted = judged(self._state, wall_clock())
        led = bool(counted)
        self.news = self._harm.look(counted) or self.news
        try:
            self.news = self._replays.look(counted) or self.news
        except Conflict:
            pass  # another process scores it, too: the next look goes on from what that wrote
        except Unavailable:
            raise
        except TrimtabError as error:
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
        self._harm.forget()

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
        self._harm = HarmWatch(state)
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
        bad = self._harm.look(judged(self._state, wall_clock()))
        self.news = self.news or bad or before != self.findings
        return LED_SECONDS

    def forget(self) -> None:
        """What the Job finds is read each time."""
        self._harm.forget()
