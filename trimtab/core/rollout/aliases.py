"""What has to be put right between the `challenger` alias and the rollouts: pure, and the same whoever looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core.records import Manifest
from trimtab.core.rollout.progress import carried
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState


@dataclass(frozen=True, slots=True)
class Propose:
    """The challenger has no rollout that could go on: propose one against the champion of now."""

    version: int
    champion: int
    cause: str


@dataclass(frozen=True, slots=True)
class Drop:
    """The challenger has had its rollout: it is challenger no more."""

    version: int
    cause: str


def repair(
    manifest: Manifest | None, specs: Sequence[RolloutSpec], states: Mapping[int, RolloutState | None], immediate: bool
) -> Propose | Drop | None:
    """
    What the `challenger` alias asks for; None while it is right.

    Args:
        manifest: The newest.
        specs, states: Of all rollouts.
        immediate: Whether the spec of now knows no rollouts.
    """
    if manifest is None or manifest.challenger is None or manifest.champion is None:
        return None
    version = manifest.challenger
    if version == manifest.champion:
        return Drop(version, f"v{version} is champion, and challenger no more")
    own = [spec for spec in specs if spec.version == version]
    if not own:
        if immediate:
            return Drop(version, f"v{version} is challenger no more: the spec's strategy is immediate")
        return Propose(version, manifest.champion, f"v{version} is challenger, and its run ended before its rollout")
    last, state = own[-1], states.get(own[-1].number)
    if state is None or not state.phase.ended:
        return None
    # Beside this champion once is enough: a rollout by the same run, version and champion is not proposed again.
    new_pair = all(spec.champion != manifest.champion for spec in own)
    overtaken = state.phase is Phase.SUPERSEDED and new_pair
    if overtaken and not carried(state) and version > manifest.champion and not immediate:
        # It waited behind the one that became champion, and was trained later: now it is judged beside that one.
        return Propose(version, manifest.champion, f"v{manifest.champion} became champion while v{version} waited")
    return Drop(version, f"v{version} is challenger no more: rollout {last.name} {state.phase}: {state.reason}")


def way_back(
    manifests: Sequence[Manifest], specs: Sequence[RolloutSpec], states: Mapping[int, RolloutState | None]
) -> RolloutSpec | None:
    """
    The rollout whose challenger was promoted, is proven worse on probation, and still is champion.

    Who was made champion again since, by a person, stays.
    """
    champion = manifests[-1].champion if manifests else None
    for spec in reversed(specs):
        state = states.get(spec.number)
        if spec.version != champion or state is None or state.phase is not Phase.ROLLED_BACK or state.ended is None:
            continue
        since = champion_since(manifests)
        return spec if since is not None and since < state.ended else None
    return None


def champion_since(manifests: Sequence[Manifest]) -> datetime | None:
    """When the champion of now became it, on the wall clock."""
    since = None
    for manifest in reversed(manifests):
        if manifest.champion is None or manifest.champion != manifests[-1].champion:
            break
        since = manifest.recorded_at
    return since
