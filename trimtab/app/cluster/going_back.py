"""An older version made champion again, asked for by an annotation of the ContinuousModel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.events import Events
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.adapters.state import State
from trimtab.app.cluster.asking import ASKED_BY
from trimtab.app.cluster.resources import MANAGER, ROLLBACK_TO, annotations_of
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.references import parse_reference
from trimtab.core.rollout.wishes import going_on, rolled_back

PREVIOUS = "previous"  # the champion before this one
PATH = "/metadata/annotations/" + ROLLBACK_TO.replace("/", "~1")


def go_back(api: Api, state: State, owner: Object, events: Events, wall: Callable[[], datetime]) -> bool:
    """
    Do what the annotation asks for, and take it away; whether there was one.

    `previous` is written out as a version first: a process that is killed half way does not go back twice.

    Raises:
        Unavailable, Conflict: Nothing is lost: call again.
    """
    wanted = annotations_of(owner).get(ROLLBACK_TO, "").strip()
    if not wanted:
        return False
    if wanted == PREVIOUS:
        manifest = state.registry.manifest()
        previous = manifest.previous if manifest else None
        if previous is None:
            return _refuse(api, owner, events, wanted, f"{state.model} has no champion before the one of now")
        target = f"v{previous}"
        if not _replace(api, owner, wanted, target):
            return False
        wanted = target
    try:
        _publish(state, wanted, asked_by(owner), wall)
    except Invalid as error:
        return _refuse(api, owner, events, wanted, error.message)
    _replace(api, owner, wanted, "")
    return True


def asked_by(owner: Object) -> str:
    """Who wrote the annotation: the plugin's user, else the field manager's name."""
    user = annotations_of(owner).get(ASKED_BY, "")
    if user:
        return user
    for entry in owner["metadata"].get("managedFields") or ():
        fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {}
        if f"f:{ROLLBACK_TO}" in fields and entry.get("manager") != MANAGER:
            return str(entry.get("manager"))
    return "somebody"


def _publish(state: State, wanted: str, by: str, wall: Callable[[], datetime]) -> None:
    """The registry first, then the end of the rollout that goes on; both may stand already."""
    number = parse_reference(f"{state.model}/v{wanted.removeprefix('v')}").number
    assert number is not None
    version = state.registry.version(number)
    goes_on = going_on(state.rollouts.all(), state.rollouts.states())
    manifest = state.registry.manifest()
    if manifest is None or manifest.champion != number:
        ended = goes_on.version if goes_on else None
        manifest = state.registry.publish(
            lambda now: (
                None
                if now is not None and now.champion == number
                else rolled_back(state.model, version, now, wall(), by, "", ended)
            )
        )
        told = manifest.model_dump(mode="json", by_alias=True, include={"champion", "challenger", "previous"})
        state.journal.tell(f"manifest/{manifest.number}", "promoted", manifest.cause, told, wall())
    if goes_on is not None:
        change = {"aborted": True, "reason": manifest.cause}
        state.rollouts.ask(goes_on.number, lambda now: now if now.aborted else now.model_copy(update=change))


def _refuse(api: Api, owner: Object, events: Events, wanted: str, why: str) -> bool:
    meta = owner["metadata"]
    note = f"going back to {wanted} was asked for: {why}; nothing was changed"
    events.tell(owner, f"rollback/{meta['resourceVersion']}", "RollbackRefused", note, "Warning")
    _replace(api, owner, wanted, "")
    return True


def _replace(api: Api, owner: Object, before: str, after: str) -> bool:
    """Change or take away the annotation, if it is what it was; the object in hand with it."""
    meta = owner["metadata"]
    last = {"op": "replace", "path": PATH, "value": after} if after else {"op": "remove", "path": PATH}
    change = [{"op": "test", "path": PATH, "value": before}, last]
    try:
        api.patch(MODEL, meta["namespace"], meta["name"], change, manager=MANAGER)
    except (Conflict, NotFound):
        return False  # people wrote meanwhile: the next look tells
    annotations = dict(annotations_of(owner))
    annotations.pop(ROLLBACK_TO, None)
    meta["annotations"] = annotations | ({ROLLBACK_TO: after} if after else {})
    return True
