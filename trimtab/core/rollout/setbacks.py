"""What rollouts mean for the next training run: which candidates came to nothing after all, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

States = Mapping[int, RolloutState | None]


def taken_back(
    specs: Iterable[RolloutSpec], states: States, manifests: Sequence[Manifest], versions: Iterable[ModelVersion]
) -> dict[str, datetime]:
    """
    When a run's version was rolled back, on the wall clock, by run key: by evidence, or by a person.

    A person went back where an older version follows a newer one as champion; one that was made champion again since
    is no setback any more.
    """
    found = {
        spec.run_key: state.ended
        for spec in specs
        if spec.run_key
        and (state := states.get(spec.number)) is not None
        and state.phase is Phase.ROLLED_BACK
        and state.ended is not None
    }
    run_keys = {version.number: version.run_key for version in versions}
    for before, after in pairwise(manifests):
        left, came = before.champion, after.champion
        if left is not None and came is not None and came < left and left in run_keys:
            found.setdefault(run_keys[left], after.recorded_at)
    champion = manifests[-1].champion if manifests else None
    return {run_key: at for run_key, at in found.items() if run_key != run_keys.get(champion or 0)}


def carrying(specs: Iterable[RolloutSpec], states: States) -> str:
    """Why no run should start now: a rollout answers users with its challenger. Empty when none does."""
    for spec in specs:
        state = states.get(spec.number)
        if state is not None and not state.phase.ended and state.weight_percent:
            return f"rollout {spec.name} carries {state.weight_percent} % of the traffic ({state.phase})"
    return ""
