"""Writing the status of ModelRollouts, of models and of others: seldom enough for the API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.conditions import Condition
from trimtab.adapters.kubernetes.kinds import ROLLOUT
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import MANAGER
from trimtab.app.cluster.rollout_status import ACCEPTED, news, refused, status_of
from trimtab.app.cluster.summary import changed, patch
from trimtab.core.errors import NotFound
from trimtab.core.rollout.values import RolloutSpec, RolloutState
from trimtab.core.spec.rollout import Rollout

COUNTING_SECONDS = 5.0  # between writes of a status in which only counts have changed


class Statuses:
    """
    Writes the status of ModelRollouts: news at once, counts every few seconds.

    Args:
        names: Of the versions, where they are not `v1`, `v2`, ….
        also: Conditions that hold whatever happens.
    """

    def __init__(
        self,
        api: Api,
        state: State,
        wall: Callable[[], datetime],
        names: Mapping[int, str] | None = None,
        also: Sequence[Condition] = (),
    ) -> None:
        self._api = api
        self._state = state
        self._wall = wall
        self._names = names
        self._also = also
        self._written: dict[int, tuple[dict[str, Any], float]] = {}  # by number: the status, and when

    def write(self, spec: RolloutSpec, at: RolloutState | None, resource: Object, refused: str = "") -> bool:
        """Whether there still is such an object."""
        meta = resource["metadata"]
        before, written = self._written.get(spec.number, (resource.get("status") or {}, float("-inf")))
        evidence = self._state.uri(self._state.layout.rollout(spec.number, "state"))
        accepted = ACCEPTED if as_begun(spec, resource) else EDITED
        if refused:
            accepted = Condition("Accepted", "False", "Refused", refused)
        after = status_of(
            spec, at, before, meta.get("generation", 0), evidence, self._wall(), self._names, accepted, self._also
        )
        due = time.monotonic() - written >= COUNTING_SECONDS
        if after == before or (news(after) == news(before) and not due):
            return True
        try:
            body = {"status": patch(before, after)}
            self._api.merge(ROLLOUT, meta["namespace"], meta["name"], body, "status", MANAGER)
        except NotFound:
            return False
        self._written[spec.number] = (after, time.monotonic())
        return True


def write_refused(api: Api, resource: Object, condition: Condition, now: datetime, waits: bool = False) -> bool | None:
    """Write the status of one that is not led, for good or until its turn comes; whether that is news, None: gone."""
    meta = resource["metadata"]
    before: dict[str, Any] = resource.get("status") or {}
    after = refused(before, meta.get("generation", 0), condition, now, waits)
    if not changed(before, after):
        return False
    try:
        body = {"status": patch(before, after)}
        api.merge(ROLLOUT, meta["namespace"], meta["name"], body, "status", MANAGER)
    except NotFound:
        return None
    return True


EDITED = Condition(
    "Accepted",
    "True",
    "EditIgnored",
    "the spec was changed after the rollout began: it goes on as it began; to start over, abort it and make another",
)


def as_begun(spec: RolloutSpec, resource: Object) -> bool:
    """Whether the resource still says the policy that the rollout began with."""
    wanted = {name: value for name, value in (resource.get("spec") or {}).items() if name in POLICY_FIELDS}
    try:
        return Rollout.model_validate({"strategy": spec.policy.strategy} | wanted) == spec.policy
    except ValueError:
        return False


POLICY_FIELDS = {field.alias or name for name, field in Rollout.model_fields.items()}
