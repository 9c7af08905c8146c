"""What the controller knows of one model between looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.state import State
from trimtab.app.cluster.acceptance import Found
from trimtab.app.cluster.deciding import Deciding, Run
from trimtab.app.cluster.marks import Marks
from trimtab.app.cluster.queue import Calm
from trimtab.app.rollout.standing import Standing
from trimtab.app.status import Status
from trimtab.core.spec.model import ContinuousModel

OWNER = "trimtab-controller"  # of every model's lease: the cluster's own Lease lets only one process lead
LEASE_SECONDS = 300.0  # a successor takes it over, and need not wait
QUIET_SECONDS = 30.0  # between looks at what nobody told of: 200 models are 7 looks a second
RUNNING_SECONDS = 5.0  # while a run goes on
WHOLE_SECONDS = 600.0  # between looks at everything, deleted uploads included
SOONEST_SECONDS = 0.2


@dataclass
class Led:
    """What this process knows of one model; used by one worker at a time."""

    resource: Object
    deciding: Deciding
    deleted: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `resource`: the watch sets it, too
    epoch: int = 0  # of its lease; 0 while another holds it
    renewed: float = 0.0  # monotonic seconds
    marks: Marks = field(default_factory=Marks)
    arrived: str | None = None  # the annotation's value, as it was looked at
    looked: float = float("-inf")  # monotonic seconds: at everything
    found: Found | None = None  # what the spec came to at this look; None where that cannot be known
    text: str = ""  # of the spec that was looked at
    model: ContinuousModel | None = None  # the last spec that was accepted
    status: Status | None = None
    standing: Standing | None = None  # of its rollout, at the last look at that
    serving: tuple[str, ...] = ()  # what of it did not work at that look
    measured: str = ""  # the annotation's value, as it was looked at
    calm: Calm = field(default_factory=Calm)  # of the looks at what serves
    run: Run | None = None
    open: bool = False  # whether a decision has no outcome yet
    due: datetime | None = None  # when a policy's wait ends
    problems: dict[str, str] = field(default_factory=dict)  # by what does not work

    def hold(self, state: State, now: float) -> bool:
        """
        Whether this process has the model's lease, which is taken over from the leader before.

        Args:
            now: Monotonic seconds.

        Raises:
            Fenced: If another process has taken it.
        """
        if self.epoch:
            if now - self.renewed > LEASE_SECONDS / 3:
                state.lease.renew(OWNER, self.epoch, LEASE_SECONDS)
                self.renewed = now
            return True
        epoch = state.lease.acquire(OWNER, LEASE_SECONDS, succeed=True)
        if epoch is None:
            who = state.lease.who()
            self.problems["lease"] = f"standing by: {who.owner if who else 'another process'} works for this model"
            return False
        self.epoch, self.renewed = epoch, now
        self.problems.pop("lease", None)
        return True

    def is_due(self, wall: datetime, now: float) -> bool:
        """Whether a look at everything is due, though nobody told of news; `now` in monotonic seconds."""
        return (self.due is not None and wall >= self.due) or now - self.looked > WHOLE_SECONDS

    def pause(self, wall: datetime) -> float:
        """Seconds to the next look."""
        pause = RUNNING_SECONDS if self.open else QUIET_SECONDS
        if self.due is not None:
            pause = min(pause, (self.due - wall).total_seconds())
        return max(pause, SOONEST_SECONDS)
