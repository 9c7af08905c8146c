"""
The wishes in a rollout's custom resource beside those that the command line keeps in the state: pure.

Both are written by people. What the resource says counts where it differs from what it said when it was last taken in,
so that neither undoes the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState, Said

NOBODY = "somebody"


@dataclass(frozen=True, slots=True)
class Taken:
    """
    What the state is to hold.

    Attributes:
        news: What is asked now and was not before, in sentences.
        ignored: What is asked and leads to nothing, in sentences.
    """

    asked: Asked
    news: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def taken(spec: RolloutSpec, state: RolloutState | None, asked: Asked, said: Said, by: Mapping[str, str]) -> Taken:
    """
    What is asked of a rollout once its custom resource has been read.

    Args:
        spec: The rollout.
        state: How far it is; None before the controller took it up.
        asked: What was asked of it so far.
        said: What the resource says now.
        by: Who wrote each field of `said`.

    An approval counts once, for the pause step that waits:

    >>> from datetime import UTC, datetime
    >>> now = datetime(2024, 1, 1, tzinfo=UTC)
    >>> steps = {"strategy": "canary", "steps": [{"pause": {}}]}
    >>> spec = RolloutSpec(number=1, name="a", model="m", version=2, champion=1, rollout=steps, recorded_at=now)
    >>> waits = RolloutState(number=1, epoch=1, phase=Phase.PAUSED, started=now)
    >>> once = taken(spec, waits, Asked(number=1), Said(approved=True), {"approved": "anna"})
    >>> once.asked.approved, once.asked.approved_by, once.news
    ((0,), 'anna', ('approve by anna',))
    >>> taken(spec, waits, once.asked, Said(approved=True), {}).news
    ()
    """
    before, after = asked.said, asked
    news: list[str] = []
    ignored: list[str] = []

    def change(news_of: str, field: str, **update: object) -> None:
        nonlocal after
        sentence = f"{news_of} by {by.get(field) or NOBODY}"
        news.append(sentence)
        after = after.model_copy(update={**update, "reason": sentence})

    if said.paused != before.paused and said.paused != asked.paused:
        change("pause" if said.paused else "resume", "paused", paused=said.paused)
    if said.approved and not before.approved:
        step = _waiting(spec, state)
        if step is None or step in asked.approved:
            ignored.append(f"approved by {by.get('approved') or NOBODY}, and no step of {spec.name} waits for approval")
        else:
            change("approve", "approved", approved=(*after.approved, step), approved_by=by.get("approved") or NOBODY)
    if said.promoted != before.promoted and said.promoted != asked.promoted:
        # Who promotes wants it to move.
        more = {"paused": False} if said.promoted else {}
        change("promote" if said.promoted else "no promotion any more", "promoted", promoted=said.promoted, **more)
    if said.aborted and not asked.aborted:
        change("abort", "aborted", aborted=True)
    if before.aborted and not said.aborted:
        ignored.append(f"aborted was taken back by {by.get('aborted') or NOBODY}; an abort is for good")
    return Taken(after.model_copy(update={"said": said}), tuple(news), tuple(ignored))


def _waiting(spec: RolloutSpec, state: RolloutState | None) -> int | None:
    """The pause step that waits for approval; it goes on waiting while something fails."""
    steps = spec.policy.steps
    if state is None or state.phase not in (Phase.PAUSED, Phase.ERROR) or state.step >= len(steps):
        return None
    return state.step if steps[state.step].pause is not None else None
