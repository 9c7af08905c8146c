"""Which cluster, namespace and rollout a command means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.conditions import find
from trimtab.adapters.kubernetes.kinds import MODEL, MODEL_LABEL, ROLLOUT
from trimtab.adapters.kubernetes.namespace import current_namespace
from trimtab.app.cluster.rollout_objects import number_of
from trimtab.core.errors import Invalid, NotFound


@dataclass(frozen=True)
class Place:
    """A namespace of a cluster."""

    api: Api
    namespace: str


def connect(context: str) -> Api:
    return Api.connect(context)


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where; read them with `place`."""
    namespace = click.option("-n", "--namespace", default="", help="Default: the namespace of kubectl's context.")
    context = click.option("--context", default="", help="Of the kubeconfig; default: its current one.")
    return namespace(context(command))


def place(namespace: str, context: str) -> Place:
    """
    Raises:
        Invalid: If there is no cluster.
    """
    return Place(connect(context), namespace or current_namespace(context))


def rollout_of(at: Place, name: str) -> Object:
    """
    The rollout that is meant: of the model by this name the one that goes on, else the ModelRollout itself.

    Raises:
        NotFound: If there is none; says which there are.
    """
    rollouts = of_model(at, name)
    going_on = [each for each in rollouts if goes_on(each)]
    if going_on:
        return going_on[0]  # the oldest: those behind it wait
    found = at.api.find(ROLLOUT, at.namespace, name)
    if found is not None:
        return found
    if at.api.find(MODEL, at.namespace, name) is None:
        raise NotFound(f"found no ContinuousModel and no ModelRollout {name} in namespace {at.namespace}", _others(at))
    last = f"; the last one, {rollouts[-1]['metadata']['name']}, ended as {phase_of(rollouts[-1])}" if rollouts else ""
    raise NotFound(
        f"no rollout of {name} goes on{last}",
        f"an older version serves again by: kubectl trimtab rollback {name} -n {at.namespace}",
    )


def of_model(at: Place, name: str) -> list[Object]:
    """Of a model, oldest first."""
    found, _ = at.api.list(ROLLOUT, at.namespace, labels=f"{MODEL_LABEL}={name}")
    return sorted(found, key=number_of)


def goes_on(rollout: Object) -> bool:
    """Whether it has not ended."""
    complete = find((rollout.get("status") or {}).get("conditions") or (), "Complete")
    return complete is None or complete["status"] != "True"


def phase_of(rollout: Object) -> str:
    """In one word."""
    return str((rollout.get("status") or {}).get("phase") or "Pending")


def going_on_only(rollout: Object) -> None:
    """
    Raises:
        Invalid: If it has ended.
    """
    if not goes_on(rollout):
        status, meta = rollout["status"], rollout["metadata"]
        raise Invalid(f"rollout {meta['name']} has ended: {status.get('phase')}: {status.get('reason')}")


def _others(at: Place) -> str:
    names = [each["metadata"]["name"] for each in at.api.list(MODEL, at.namespace)[0]]
    names += [each["metadata"]["name"] for each in at.api.list(ROLLOUT, at.namespace)[0]]
    return f"there are {', '.join(sorted(set(names))[:20])}" if names else "there is none: kubectl apply -f model.yaml"
