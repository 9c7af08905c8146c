"""Saying how a model stands: its status, written where it says something else than the object does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.app.cluster.alerts import Alerts
from trimtab.app.cluster.commands import SYSTEM, Commands
from trimtab.app.cluster.led import Led
from trimtab.app.cluster.resources import MANAGER, Key, key_of
from trimtab.app.cluster.summary import changed, patch, summary, unreachable
from trimtab.app.rollout.standing import Standing
from trimtab.core.errors import Conflict, NotFound
from trimtab.core.spec.model import ContinuousModel


class Leads(Protocol):
    """`app.cluster.rollouts.ModelRollouts`, as it is called from here."""

    def lead(self, namespace: str, model: ContinuousModel, owner: Object, epoch: int) -> float:
        """One look at a model's rollouts; returns in how many seconds the next is due."""

    def gone(self, namespace: str, model: ContinuousModel, owner: Object, epoch: int) -> float:
        """One look at a model that was deleted; returns as `lead`, 0 once nothing is left to do."""

    def problems(self, key: Key) -> tuple[str, ...]:
        """What of its serving does not work just now."""

    def standing(self, key: Key) -> Standing | None:
        """How its rollout stood at the last look."""


class Saying:
    """
    Safe in many threads, for different models.

    Args:
        system: The namespace of trimtab's own processes.
    """

    def __init__(self, api: Api, rollouts: Leads | None, alerts: Alerts, system: str = SYSTEM) -> None:
        self._api = api
        self._system = system
        self._rollouts = rollouts
        self._alerts = alerts

    def say(self, led: Led) -> None:
        """
        Write the status.

        Raises:
            Unavailable: If the API server does not answer.
        """
        resource = led.resource
        key, meta, before = key_of(resource), resource["metadata"], resource.get("status") or {}
        status, found, now = led.status, led.found, datetime.now(UTC)
        serving = self._rollouts.problems(key) if self._rollouts is not None else ()
        beside = (*serving, *self._alerts.problems(key))
        problems = (*led.problems.values(), *beside, *(status.problems if status else ()))
        if found is None:
            after = unreachable(before, problems, now)
        else:
            words = Commands(key[0], self._system).told
            after = summary(before, found.condition, status, problems, meta.get("generation", 0), now, words)
        if not changed(before, after):
            return
        try:
            # With the uid, so that another object of the same name is not told what this one was.
            body = {"metadata": {"uid": meta["uid"]}, "status": patch(before, after)}
            written = self._api.merge(MODEL, *key, body, "status", MANAGER)
        except (NotFound, Conflict):
            return  # deleted meanwhile, perhaps made anew
        with led.lock:
            if led.resource is resource:  # else the watch has brought a newer one, whose news must not be lost
                led.resource = {**resource, "status": written.get("status") or {}}


def told(standing: Standing | None) -> tuple[object, ...]:
    """What a model's status says of its rollout."""
    return () if standing is None else (standing.name, standing.phase, standing.weight_percent, standing.shadow)
