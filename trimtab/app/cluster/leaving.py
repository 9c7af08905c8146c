"""
Leaving a model that was deleted: what outlives it, because the model had adopted it, ends with its champion alone; or
with its owner's predictors, where they still answer and the champion cannot.

Each look takes the next step by what is there, so that it does not matter who began, or where he was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, MODEL_LABEL, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from trimtab.adapters.kubernetes.predictor import VERSION
from trimtab.adapters.kubernetes.seldon_deployment import found_of, short
from trimtab.adapters.kubernetes.seldon_marks import is_marked, unmarked
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import MANAGER, Key, key_of
from trimtab.app.rollout.leader import Leader
from trimtab.app.rollout.look import over
from trimtab.app.rollout.measuring import Measuring
from trimtab.app.rollout.telling import Telling
from trimtab.core.errors import NotFound
from trimtab.core.ports import TrafficSplit
from trimtab.core.rollout.predictor_writes import hand_back
from trimtab.core.spec.model import ContinuousModel

ABORTED = {"aborted": True, "reason": "its ContinuousModel was deleted"}


def leave(
    api: Api,
    state: State,
    model: ContinuousModel,
    traffic: TrafficSplit,
    key: Key,
    epoch: int,
    wall: Callable[[], datetime],
) -> bool:
    """
    One look; returns whether nothing is left to do.

    Args:
        model: The last spec that was accepted.
        epoch: Of the model's lease.

    Raises:
        Invalid: If there is no traffic to steer: most often its SeldonDeployment went with it.
        Unavailable, Conflict, Fenced: As `Leader.look`; call again.
    """
    for spec in state.rollouts.all():
        if not over(state.rollouts.state(spec.number)):
            state.rollouts.ask(spec.number, lambda now: now.model_copy(update=ABORTED))
    served = state.served.read()
    if served is not None and served.kept is not None:  # there is no way back any more
        state.served.save(served.model_copy(update={"kept": None, "kept_until": None, "epoch": epoch}))
    if _handed_back(api, state, key):
        return True
    leader = Leader(
        state, model.spec.rollout, traffic, Measuring(state, traffic, None), Telling(state.journal, wall), wall, None
    )
    leader.forget(epoch)
    if leader.look() or leader.unsettled:
        return False
    return _take_marks_off(api, key)


def _handed_back(api: Api, state: State, key: Key) -> bool:
    """Whether its owner has it again: his predictors, in the same write without the model's and without its marks."""
    resource = api.find(SELDON_DEPLOYMENT, *key)
    if resource is None or resource["metadata"].get("deletionTimestamp") or not is_marked(resource):
        return False
    deployments, _ = api.list(DEPLOYMENT, key[0], labels=f"seldon-deployment-id={key[1]}")
    found = found_of(resource, deployments, api.find(VIRTUAL_SERVICE, key[0], short(key[1])))
    manifest = state.registry.manifest()
    champion = f"v{manifest.champion}" if manifest else ""
    operations = hand_back(found, {name for name in found.names if VERSION.fullmatch(name)}, champion)
    if operations is None:
        return False
    api.patch(SELDON_DEPLOYMENT, *key, [*unmarked(resource), *operations], manager=MANAGER)
    return True


def _take_marks_off(api: Api, key: Key) -> bool:
    """Whether it says no more that it is a model's, now that the champion is there alone."""
    found = api.find(SELDON_DEPLOYMENT, *key)
    if found is None or found["metadata"].get("deletionTimestamp") or not is_marked(found):
        return True
    if len(found["spec"].get("predictors") or ()) > 1:
        return False
    api.patch(SELDON_DEPLOYMENT, *key, unmarked(found), manager=MANAGER)
    return True


def gone(api: Api, namespaces: Iterable[str], known: Iterable[Key]) -> set[Key]:
    """
    Models that are not there any more: of those that are known, and of those that left a SeldonDeployment behind.

    Args:
        namespaces: Where to look; without any everywhere.
    """
    places = list(namespaces) or [""]
    # In this order: of a model that is made meanwhile the mark is not seen, and it itself is.
    left = [key for namespace in places for key in _left_in(api, namespace)]
    there = {key_of(each) for namespace in places for each in api.list(MODEL, namespace)[0]}
    return {*known, *left} - there


def _left_in(api: Api, namespace: str) -> list[Key]:
    """By what they marked as their own, and what does not go with them."""
    try:
        deployments, _ = api.list(SELDON_DEPLOYMENT, namespace, labels=MODEL_LABEL)
    except NotFound:
        return []  # there is no such kind here
    return [key_of(each) for each in deployments if is_marked(each) and not _goes_with_its_owner(each)]


def trace_of(key: Key) -> Object:
    """A ContinuousModel that is gone, as far as it is known."""
    namespace, name = key
    meta = {"namespace": namespace, "name": name, "uid": ""}
    return {"apiVersion": MODEL.api_version, "kind": MODEL.name, "metadata": meta}


def _goes_with_its_owner(deployment: Object) -> bool:
    meta = deployment["metadata"]
    owners = {each.get("kind") for each in meta.get("ownerReferences") or ()}
    return MODEL.name in owners or bool(meta.get("deletionTimestamp"))
