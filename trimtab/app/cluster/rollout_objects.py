"""
The ModelRollouts of one model: made of what its runs proposed, read for what people ask, and their status written.

Deleting one ends the rollout. So that one that was deleted is told from one that was not made yet, the state keeps who
was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from trimtab.adapters import crash
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.events import Events
from trimtab.adapters.kubernetes.kinds import MODEL_LABEL, ROLLOUT
from trimtab.adapters.state import State
from trimtab.app.cluster.asking import Asking
from trimtab.app.cluster.resources import PREFIX, owner_reference
from trimtab.app.cluster.rollout_statuses import Statuses
from trimtab.app.rollout.look import over
from trimtab.core.errors import Conflict
from trimtab.core.records import Record
from trimtab.core.rollout.values import RolloutSpec, RolloutState

NUMBER = f"{PREFIX}rollout"  # annotation: its number in the state
KEPT = 10  # ended ModelRollouts of a model; the state keeps all
States = Mapping[int, RolloutState | None]


class Made(Record):
    """That a rollout's custom resource was made, for which owner."""

    owner: str  # uid
    uid: str


class RolloutObjects:
    """Used by one worker at a time."""

    def __init__(self, api: Api, events: Events, state: State, owner: Object, wall: Callable[[], datetime]) -> None:
        self._api = api
        self._events = events
        self._state = state
        self._owner = owner
        self._wall = wall
        self._asking = Asking(api, state, self._tell, wall)
        self._made: set[int] = set()
        self._objects: dict[int, Object] | None = None  # by number, as last read; None: not listed yet
        self._statuses = Statuses(api, state, wall)

    def read(self, specs: list[RolloutSpec], states: States) -> None:
        """
        Make what is missing, and take in what people ask of those that go on.

        Raises:
            Unavailable, Conflict: Nothing is lost: call again.
        """
        objects = self._listed()
        for spec in specs:
            if over(states.get(spec.number)):
                continue
            resource = self._standing(spec)
            if resource is None:
                objects.pop(spec.number, None)
            else:
                objects[spec.number] = resource
                self._asking.take_in(spec, states.get(spec.number), resource)

    def write(self, specs: list[RolloutSpec], states: States, refused: str = "") -> None:
        """
        Write what is new of each; those that ended long ago are deleted.

        Args:
            refused: Why those that go on cannot, for good.
        """
        objects = self._listed()
        for spec in specs:
            resource = objects.get(spec.number)
            at = states.get(spec.number)
            why = "" if over(at) else refused
            if resource is not None and not self._statuses.write(spec, at, resource, why):
                del objects[spec.number]
        ended = sorted(number for number in objects if over(states.get(number)))
        for number in ended[:-KEPT]:
            resource = objects.pop(number)
            self._api.delete(ROLLOUT, resource["metadata"]["namespace"], resource["metadata"]["name"])

    def told(self, id: str, kind: str, summary: str) -> None:
        """A Kubernetes Event for each entry of the journal about a rollout."""
        parts = id.split("/")
        number = int(parts[1]) if len(parts) > 1 and parts[0] == "rollout" and parts[1].isdecimal() else None
        regarding = self._owner if number is None else self._listed().get(number)
        if regarding is None and number is not None:
            spec = self._state.rollouts.find(number)
            regarding = self._standing(spec) if spec is not None and len(parts) == 2 else None
            if regarding is not None:
                self._listed()[number] = regarding
        self._tell(regarding or self._owner, id, event_reason(id, kind), summary)

    def _tell(self, regarding: Object, id: str, reason: str, note: str) -> None:
        self._events.tell(regarding, id, reason, note, event_type(reason))

    def _listed(self) -> dict[int, Object]:
        if self._objects is None:
            meta = self._owner["metadata"]
            found, _ = self._api.list(ROLLOUT, meta["namespace"], labels=f"{MODEL_LABEL}={meta['name']}")
            self._objects = {number_of(each): each for each in found if self._is_ours(each) and number_of(each)}
        return self._objects

    def _standing(self, spec: RolloutSpec) -> Object | None:
        """The rollout's custom resource, made where it was never made; None once it was deleted."""
        namespace = self._owner["metadata"]["namespace"]
        resource = self._api.find(ROLLOUT, namespace, spec.name)
        if resource is None and not self._was_made(spec.number):
            try:
                resource = self._api.create(ROLLOUT, resource_of(spec, self._owner), namespace)
            except Conflict:
                resource = self._api.find(ROLLOUT, namespace, spec.name)
            crash.point("after-object")
        if resource is None:
            self._asking.deleted(spec)
            return None
        if not self._is_ours(resource) or number_of(resource) != spec.number:
            note = f"rollout {spec.name} has no ModelRollout: another one has its name; `trimtab` commands steer it"
            self._tell(self._owner, f"name/{spec.name}", "NameTaken", note)
            return None
        self._note_made(spec.number, resource)
        if resource["metadata"].get("deletionTimestamp"):
            self._asking.deleted(spec)
        return resource

    def _is_ours(self, resource: Object) -> bool:
        owners = resource["metadata"].get("ownerReferences") or ()
        return any(each.get("uid") == self._owner["metadata"]["uid"] for each in owners)

    def _mark(self, number: int) -> str:
        return self._state.layout.current(f"resource-{number}")

    def _was_made(self, number: int) -> bool:
        """For this owner: one that was deleted and made again has lost its rollouts with it, and gets them again."""
        if number not in self._made:
            found = self._state.bucket.find(self._mark(number))
            if found is None or Made.from_json(found.body).owner != self._owner["metadata"]["uid"]:
                return False
            self._made.add(number)
        return True

    def _note_made(self, number: int, resource: Object) -> None:
        if not self._was_made(number):
            made = Made(owner=self._owner["metadata"]["uid"], uid=resource["metadata"]["uid"])
            self._state.bucket.put(self._mark(number), made.to_json())
            self._made.add(number)


def resource_of(spec: RolloutSpec, owner: Object) -> Object:
    """The custom resource of a rollout that a model's run proposed."""
    meta = owner["metadata"]
    said = {"model": meta["name"], "version": spec.version, "champion": spec.champion}
    return {
        "apiVersion": ROLLOUT.api_version,
        "kind": ROLLOUT.name,
        "metadata": {
            "name": spec.name,
            "namespace": meta["namespace"],
            "labels": {MODEL_LABEL: meta["name"]},
            "annotations": {NUMBER: str(spec.number)},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {**_without_nulls(spec.rollout), **said, "target": {"seldonDeployment": meta["name"]}},
    }


def number_of(resource: Object) -> int:
    """Its number in the state; 0 where it has none."""
    written = (resource["metadata"].get("annotations") or {}).get(NUMBER, "")
    return int(written) if written.isdecimal() else 0


def event_reason(id: str, kind: str) -> str:
    """
    One word for an entry of the journal.

    >>> event_reason("rollout/3", "rollout"), event_reason("rollout/3/split/0", "rollout")
    ('Proposed', 'TrafficSplit')
    >>> event_reason("rollout/3/Paused/1/2", "rollout"), event_reason("alert/rollout/v3", "alert")
    ('Paused', 'Alert')
    """
    parts = id.split("/")
    if parts[0] != "rollout":
        return kind[:1].upper() + kind[1:]
    if len(parts) == 2:
        return "Proposed"
    return {"split": "TrafficSplit", "raised": "Raised", "asked": "Asked"}.get(parts[2], parts[2])


def event_type(reason: str) -> Literal["Normal", "Warning"]:
    """Warning where people should look."""
    return "Warning" if reason in ("RolledBack", "Error", "Held", "Alert", "Ignored", "NameTaken") else "Normal"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list | tuple) else value
