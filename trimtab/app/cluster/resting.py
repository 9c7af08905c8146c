"""When a model's rollouts need no look: by what was there when nothing was left to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.adapters.state import State
from trimtab.app.rollout.leader import LOG_COMES
from trimtab.app.rollout.look import Look
from trimtab.core.ports import ServingSeen
from trimtab.core.rollout.values import Phase

WHOLE_LOOK = timedelta(minutes=10)  # between looks at everything, whatever there is
LATE_LABELS = timedelta(seconds=15)  # between looks at a promotion that may still be taken back


@dataclass(frozen=True, slots=True)
class Rest:
    """
    What was there when nothing was left to do: while it is, nothing is.

    Attributes:
        last: The newest keys of manifests and rollouts.
        until: When a former champion is stopped, or a probation ends; and in any case a look is taken.
    """

    last: tuple[str, ...]
    seen: ServingSeen
    until: datetime

    def holds(self, state: State, seen: ServingSeen, now: datetime) -> bool:
        return now < self.until and seen == self.seen and last_keys(state, self.last) == self.last


def rest_after(look: Look, last: tuple[str, ...], state: State) -> Rest:
    """
    Args:
        look: That left nothing to do.
        last: The newest keys before it.
    """
    return Rest(last, look.seen, _until(state, look))


def last_keys(state: State, before: tuple[str, ...] = ("", "")) -> tuple[str, ...]:
    """The newest keys of what a rollout begins with; what was known before is not listed again."""
    found = []
    for kind, known in zip(("manifests", "rollouts"), before, strict=True):
        keys = [info.key for info in state.bucket.list(state.layout.numbered(kind), known)]
        found.append(keys[-1] if keys else known)
    return tuple(found)


def _until(state: State, look: Look) -> datetime:
    """When something is due, though nothing has changed."""
    served = state.served.read()
    moments = [look.now + WHOLE_LOOK]
    if served is not None and served.kept_until is not None and served.kept_until > look.now:
        moments.append(served.kept_until)
    for spec in look.specs[-1:]:
        at = look.states.get(spec.number)
        if at is None or at.ended is None:
            continue
        if look.now < at.ended + spec.policy.probation:
            moments.append(look.now + LATE_LABELS)
        if at.phase is Phase.ROLLED_BACK and look.now < at.ended + LOG_COMES:
            moments.append(at.ended + LOG_COMES)  # then what its challenger raised is told
    return min(moments)
