"""
A rollout's journal, kept level: what its state says and was not told yet is told once, with the numbers of that moment.

Told before the router is asked, so that after a restart the weights equal the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters.state.journal import Journal
from trimtab.app.rollout.measuring import evidence_of
from trimtab.core.rollout.proof import harm, numbers
from trimtab.core.rollout.serving import WHOLE
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

ROLLOUT, ROLLED_BACK = "rollout", "rolledBack"  # kinds of entries
WAITING = (Phase.PAUSED, Phase.HELD, Phase.ERROR)


class Telling:
    """
    Tells one model's rollouts.

    Args:
        policy_now: The policy clock.
        also: Is told first, with the entry's id, kind and summary: once, or again where this process is killed between.
    """

    def __init__(
        self, journal: Journal, policy_now: Callable[[], datetime], also: Callable[[str, str, str], None] | None = None
    ) -> None:
        self._journal = journal
        self._now = policy_now
        self._also = also
        self._told: set[str] | None = None

    def forget(self) -> None:
        """Another process may have told meanwhile."""
        self._told = None

    def tell(self, spec: RolloutSpec, state: RolloutState | None) -> None:
        """Tell whatever is new of this rollout."""
        name = f"rollout/{spec.number}"
        steps = len(spec.policy.steps)
        began = f"{spec.name}: v{spec.version} beside v{spec.champion}, {spec.policy.strategy} in {steps} steps"
        self._tell(name, ROLLOUT, began, {"rollout": spec.name, "cause": spec.cause})
        if state is None:
            return
        for index, epoch in enumerate(state.epochs):
            last = index == len(state.epochs) - 1
            summary = f"{spec.name}: {_split(spec, epoch.weight_percent, epoch.shadow)}"
            split = {"weightPercent": epoch.weight_percent, "shadow": epoch.shadow, "step": state.step}
            reason = f": {state.reason}" if last and state.reason else ""
            self._tell(f"{name}/split/{index}", ROLLOUT, summary + reason, lambda s=split: self._said(spec, state, s))  # type: ignore[misc]
        if state.phase in WAITING:
            said = f"{spec.name}: {state.phase}: {state.reason.splitlines()[0]}"
            key = f"{name}/{state.phase}/{state.step}/{len(state.epochs)}"
            self._tell(key, ROLLOUT, said, lambda: self._said(spec, state, {}))
        if state.phase.ended:
            kind = ROLLED_BACK if state.phase is Phase.ROLLED_BACK else ROLLOUT
            said = f"{spec.name}: {state.phase}: {state.reason}"
            self._tell(f"{name}/{state.phase}", kind, said, lambda: self._said(spec, state, {}))

    def explain(self, spec: RolloutSpec, raised: Counter[str]) -> None:
        """What the challenger's model raised, the most frequent first."""
        if raised:
            said = "; ".join(f"{error} ({count:,}x)" for error, count in raised.most_common(3))
        else:
            said = "nothing: its process ended, or did not answer in time"
        self._tell(self._explanation(spec), ROLLOUT, f"{spec.name}: v{spec.version} raised {said}", {"raised": raised})

    def explained(self, spec: RolloutSpec) -> bool:
        return self._explanation(spec) in self._known()

    @staticmethod
    def _explanation(spec: RolloutSpec) -> str:
        return f"rollout/{spec.number}/raised"

    def alert(self, name: str, summary: str) -> None:
        """Something that a person should look at; told once a name."""
        self._tell(f"alert/{name}", "alert", summary, {})

    def _said(self, spec: RolloutSpec, state: RolloutState, more: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers beneath: of each test, and of the requests by split."""
        evidence = evidence_of(state)
        counts = [each.model_dump(mode="json", by_alias=True) for each in evidence.counts]
        return {
            "rollout": spec.name,
            "version": spec.version,
            "champion": spec.champion,
            "phase": state.phase.value,
            "weightPercent": state.weight_percent,
            **more,
            "requests": counts,
            "mirrored": evidence.mirrored.requests,
            **numbers(evidence, spec),
        }

    def _tell(
        self, id: str, kind: str, summary: str, evidence: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    ) -> None:
        if id in self._known():
            return
        if self._also is not None:
            self._also(id, kind, summary)
        self._journal.tell(id, kind, summary, evidence() if callable(evidence) else evidence, self._now())
        self._known().add(id)

    def _known(self) -> set[str]:
        """Ids of what was told."""
        if self._told is None:
            self._told = {entry.id for entry in self._journal.entries()}
        return self._told


def failed(spec: RolloutSpec, state: RolloutState) -> bool:
    """Whether the challenger is proven to fail more often."""
    return any(each.metric == "errors" and each.proven for each in harm(evidence_of(state), spec))


def _split(spec: RolloutSpec, weight_percent: int, shadow: bool) -> str:
    if shadow:
        return f"v{spec.version} answers a copy of the traffic"
    if weight_percent == WHOLE:
        return f"v{spec.version} answers everything"
    if weight_percent == 0:
        return f"v{spec.version} answers nobody any more"
    return f"v{spec.version} answers {weight_percent} %"
