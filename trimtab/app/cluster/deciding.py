"""One look at whether a model is to be trained, and at the run that goes on: the laptop's controller, read-only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.requests import Requests
from trimtab.adapters.state import State
from trimtab.app.chronicle import Chronicle
from trimtab.app.clocks import WallClock
from trimtab.app.cluster.arrivals import ArrivalsSoFar
from trimtab.app.cluster.check_job import Passed
from trimtab.app.cluster.launching import NOBODY, Launching
from trimtab.app.cluster.remembered import Remembered
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.slots import Slots
from trimtab.app.cluster.telling import Telling
from trimtab.app.controller import LIVE, Controller
from trimtab.app.execution import LEASE_SECONDS, Executor
from trimtab.app.rollout.standing import next_move, standing
from trimtab.app.status import Status, read_findings
from trimtab.core.errors import TrimtabError, Unavailable
from trimtab.core.ports import Buckets, RunLauncher
from trimtab.core.records import Claim
from trimtab.core.spec.digests import training_digest
from trimtab.core.spec.model import ContinuousModel


@dataclass
class Run:
    """A run that went on when it was last looked at."""

    claim: Claim
    launcher: RunLauncher

    def goes_on(self, state: State) -> bool:
        """
        Whether it still does; its claim is then held for longer.

        Raises:
            Unavailable: If launcher or store do not answer.
            Fenced: If another process took the decision over.
        """
        status = self.launcher.look_up(self.claim.run_id)
        if status is None or status.phase not in LIVE:
            return False
        self.claim = state.decisions.renew(self.claim, LEASE_SECONDS, _wall())
        return True


def goes_on(run: Run | None, state: State) -> tuple[bool, Unavailable | None]:
    """Whether a run goes on, and why that cannot be known: then it does, until the launcher answers."""
    if run is None:
        return False, None
    try:
        return run.goes_on(state), None
    except Unavailable as away:
        return True, away


@dataclass(frozen=True, slots=True)
class Look:
    """
    What a look came to.

    Attributes:
        open: Whether a decision has no outcome yet; without a run it is another process's still, or backs off.
        due: When to look again, whatever happens; None: when something does.
        news: Whether something changed that rollouts depend on.
        trouble: Why the open decision could not be brought on; all else is as it says.
    """

    run: Run | None
    open: bool
    status: Status
    due: datetime | None
    news: bool
    trouble: TrimtabError | None = None


class Deciding:
    """
    Decides for one model; used by one worker at a time.

    Args:
        launcher: Of the model's runs.
    """

    def __init__(
        self,
        key: Key,
        settings: ClusterSettings,
        buckets: Buckets,
        slots: Slots,
        telling: Telling,
        launcher: Launching,
    ) -> None:
        self._key = key
        self._settings = settings
        self._buckets = buckets
        self._slots = slots
        self._telling = telling
        self._launcher = launcher
        self._arrivals = ArrivalsSoFar()
        self._remembered = Remembered()
        self._over: set[int] = set()
        self._spec = ("", "")  # text, and its digest in the state
        self._aliases: tuple[int, int] = (-1, -1)  # how many manifests and rollouts there were

    def look(self, resource: Object, text: str, model: ContinuousModel, passed: Passed) -> Look:
        """
        Bring the open decision on, or make one.

        Raises:
            Unavailable: If the store does not answer: call again.
            Conflict: If another wrote first: call again.
            Fenced: If another process works for this model now.
        """
        state = State.open(self._buckets, self._address, self._key[1], known=self._remembered.bodies())
        if self._spec[0] != text:
            self._spec = (text, state.data.put_spec(text))
        arrivals = self._arrivals.read(state, self._buckets, model)
        findings = read_findings(state)
        launcher, clock = self._launcher(self._key[0], model), WallClock()
        image = model.spec.training.image or self._settings.pipeline_image
        asked = False

        def may_start() -> str:
            nonlocal asked
            if not self._settings.kfp_url:
                return NOBODY
            asked = True
            return self._slots.ask(self._key)

        controller = Controller(
            state=state,
            buckets=self._buckets,
            model=model,
            spec=self._spec[1],
            clock=clock,
            wall=_wall,
            intake=arrivals,
            executor=Executor(state, launcher, clock, _wall, self._settings.pod_name, arrivals.entry, image),
            chronicle=Chronicle(state, clock),
            requests=Requests(state),
            findings=lambda: findings,
            recipe=lambda: training_digest(model, passed.code, passed.sklearn),
            may_start=may_start,
            rereads=False,
            over=self._over,
        )
        controller.chronicle.open()
        try:
            controller.advance()
        except TrimtabError as error:
            if error is not controller.trouble:
                raise
        self._keep_place(controller.open, asked)
        self._telling.tell(resource, state.journal.entries())
        specs, states = state.rollouts.all(), state.rollouts.states()
        aliases = (len(state.registry.manifests()), len(specs))
        news, self._aliases = aliases != self._aliases, aliases
        self._remembered.keep(state)
        status, found = controller.status(), standing(specs, states)
        status = replace(status, rollout=found, next_move=status.next_move or next_move(model.name, found))
        current = controller.current
        run = Run(current[1], launcher) if current is not None else None
        return Look(run, controller.open, status, _due(status), news, controller.trouble)

    def _keep_place(self, goes_on: bool, asked: bool) -> None:
        """A run that goes on has its place among the namespace's; one that ended gives it back."""
        if goes_on:
            self._slots.keep(self._key)
            return
        self._slots.free(self._key)
        if not asked:
            self._slots.leave(self._key)

    @property
    def _address(self) -> str:
        return f"s3://{self._settings.state_bucket}/{self._key[0]}"


def _due(status: Status) -> datetime | None:
    """The moment that is waited for."""
    moments = [status.running.retry_after if status.running else None, status.held.until if status.held else None]
    return min((moment for moment in moments if moment is not None), default=None)


def _wall() -> datetime:
    return datetime.now(UTC)
