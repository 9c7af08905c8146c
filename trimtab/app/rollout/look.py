"""What one look at everything found; what is written down in its course replaces what was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trimtab.core.ports import ServingSeen
from trimtab.core.records import Manifest
from trimtab.core.rollout.values import RolloutSpec, RolloutState


@dataclass
class Look:
    """
    Attributes:
        manifests: Oldest first.
        specs: Of all rollouts, by number.
        states: By number; None before the controller took one up.
        now: Wall clock.
    """

    manifests: list[Manifest]
    specs: list[RolloutSpec]
    states: dict[int, RolloutState | None]
    seen: ServingSeen
    now: datetime

    @property
    def manifest(self) -> Manifest | None:
        return self.manifests[-1] if self.manifests else None

    @property
    def champion(self) -> int | None:
        return self.manifests[-1].champion if self.manifests else None

    def open(self) -> list[RolloutSpec]:
        """Rollouts that have not ended, oldest first: one is led, the others wait."""
        return [spec for spec in self.specs if not over(self.states.get(spec.number))]


def over(state: RolloutState | None) -> bool:
    return state is not None and state.phase.ended
