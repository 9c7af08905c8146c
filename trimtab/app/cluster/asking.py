"""What people write into a ModelRollout's spec, taken into the state: each wish once, whoever is killed in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters import crash
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import ROLLOUT
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import MANAGER, PREFIX, annotations_of
from trimtab.core.errors import Conflict, NotFound
from trimtab.core.rollout.said import taken
from trimtab.core.rollout.values import Asked, RolloutSpec, RolloutState, Said

ASKED_BY = f"{PREFIX}asked-by"  # annotation: who used the plugin, as the API server knows them
PLUGIN = "kubectl-trimtab"  # field manager of what the plugin writes
DELETED = "its ModelRollout was deleted"
Tell = Callable[[Object, str, str, str], None]  # an event: of an object, by id, reason and note


class Asking:
    """Takes in what is asked of one model's rollouts."""

    def __init__(self, api: Api, state: State, tell: Tell, wall: Callable[[], datetime]) -> None:
        self._api = api
        self._state = state
        self._tell = tell
        self._wall = wall

    def take_in(self, spec: RolloutSpec, at: RolloutState | None, resource: Object) -> None:
        """
        Raises:
            Unavailable, Conflict: Nothing is lost: call again.
        """
        said, by = said_of(resource), writers(resource)
        asked = self._state.rollouts.asked(spec.number)
        found = taken(spec, at, asked, said, by)
        if found.asked != asked:
            change = lambda now: taken(spec, at, now, said, by).asked  # noqa: E731  (made anew where another wrote first)
            asked = self._state.rollouts.ask(spec.number, change)
            for sentence in found.news:
                self._journal(spec, asked, sentence)
                self._tell(resource, f"asked/{asked.nonce}/{sentence}", "Asked", sentence)
            for sentence in found.ignored:
                self._tell(resource, f"ignored/{asked.nonce}", "Ignored", f"{sentence}; nothing was changed")
        self._write_back(spec, asked, resource)

    def deleted(self, spec: RolloutSpec) -> None:
        """Whoever deletes a rollout that goes on wants it to end."""
        if self._state.rollouts.asked(spec.number).aborted:
            return
        change = {"aborted": True, "reason": DELETED}
        asked = self._state.rollouts.ask(spec.number, lambda now: now.model_copy(update=change))
        self._journal(spec, asked, DELETED)

    def _write_back(self, spec: RolloutSpec, asked: Asked, resource: Object) -> None:
        """An approval counts once; a pause by the command line is to be seen, and ended, with kubectl too."""
        written = resource["spec"]
        patch: list[dict[str, Any]] = []
        if written.get("approved"):
            patch += _changed("/spec/approved", True, False)
            if written.get("approvedBy") is not None:
                patch += [{"op": "test", "path": "/spec/approvedBy", "value": written["approvedBy"]}]
                patch += [{"op": "remove", "path": "/spec/approvedBy"}]
        if bool(written.get("paused")) != asked.paused:
            patch += _changed("/spec/paused", written.get("paused"), asked.paused)
        if not patch:
            return
        crash.point("before-write-back")
        meta = resource["metadata"]
        try:
            self._api.patch(ROLLOUT, meta["namespace"], meta["name"], patch, manager=MANAGER)
        except (Conflict, NotFound):
            return  # people wrote meanwhile: the next look tells
        back = {"approved": False, "paused": asked.paused}
        self._state.rollouts.ask(
            spec.number, lambda now: now.model_copy(update={"said": now.said.model_copy(update=back)})
        )

    def _journal(self, spec: RolloutSpec, asked: Asked, sentence: str) -> None:
        said = {"rollout": spec.name, "version": spec.version, "champion": spec.champion, "asked": sentence}
        id = f"rollout/{spec.number}/asked/{asked.nonce}/{sentence}"
        self._state.journal.tell(id, "asked", f"{spec.name}: {sentence}", said, self._wall())


def said_of(resource: Object) -> Said:
    """What people want, by the resource's spec."""
    spec = resource.get("spec") or {}
    return Said(**{field: bool(spec.get(field)) for field in Said.model_fields})


def writers(resource: Object) -> Mapping[str, str]:
    """
    Who wrote each wish: the plugin's user, else the field manager's name.

    >>> spec = {"f:spec": {"f:paused": {}}}
    >>> writers({"spec": {}, "metadata": {"managedFields": [{"manager": "kubectl-edit", "fieldsV1": spec}]}})
    {'paused': 'kubectl-edit'}
    """
    found: dict[str, str] = {}
    user = annotations_of(resource).get(ASKED_BY, "")
    entries = resource["metadata"].get("managedFields") or ()
    for entry in sorted(entries, key=lambda each: str(each.get("time") or "")):
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        manager = entry.get("manager") or ""
        for field in Said.model_fields:
            if f"f:{field}" in fields:
                found[field] = user if manager == PLUGIN and user else manager
    approved_by = (resource.get("spec") or {}).get("approvedBy")
    return found | ({"approved": str(approved_by)} if approved_by else {})


def _changed(path: str, before: Any, after: bool) -> list[dict[str, Any]]:
    """A guarded change; a field that is not there cannot be tested, and is added."""
    if before is None:
        return [{"op": "add", "path": path, "value": after}]
    return [{"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": after}]
