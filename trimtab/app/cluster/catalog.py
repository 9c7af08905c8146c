"""
The ContinuousModels of the cluster as models, for the processes that work for all of them: listener and monitor.

A thread lists and watches them. What a model was when it was last accepted is remembered while the object stands, so
that a spec which is being checked, or was refused, takes nothing away from what goes on with the last good one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Gone, Object
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.adapters.specs import Connect
from trimtab.app.cluster.resources import Key, accepted, annotations_of, key_of, resolved
from trimtab.core.errors import TrimtabError, Unavailable
from trimtab.core.spec.model import ContinuousModel

WATCH_SECONDS = 300  # then everything is listed again, whatever a watch may have missed
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0)  # while the API server does not answer; the last one repeats
STOP_SECONDS = 5.0
NOTED = "trimtab.dev/noted"  # annotation: a listener that does not take in wrote an upload down
log = logging.getLogger("trimtab.catalog")


@dataclass(frozen=True)
class Listed:
    """
    A model of the cluster.

    Attributes:
        model: As it was last accepted, its schema in place.
        text: Of that spec.
        current: Whether that is what stands in the cluster now; otherwise nothing new is begun for it.
        noted: The value of the annotation NOTED.
        resource: The object, for owner references.
    """

    key: Key
    model: ContinuousModel
    text: str
    current: bool
    noted: str
    resource: Object

    @property
    def image(self) -> str:
        """The image that holds the user's own code; empty where the platform's own has all that the model needs."""
        return self.model.spec.training.image or ""


class Catalog:
    """
    Args:
        settings: Where to look, and what models may read.
        connect: Opens the store, for schemas that stand there.
        changed: Is called after each change, by the thread that watches.
    """

    def __init__(
        self,
        api: Api,
        settings: ClusterSettings,
        connect: Connect,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._namespaces = settings.watch_namespaces or ("",)
        self._connect = connect
        self.changed = changed
        self._known: dict[Key, Listed] = {}
        self._refused: dict[Key, str] = {}  # why there is no model of an object
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listed: set[str] = set()  # namespaces that were listed once
        self._problems: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(each,), name=f"trimtab-catalog-{each or 'all'}", daemon=True)
            for each in self._namespaces
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """The threads end with their watches, at the latest; nothing is waited for but the next answer."""
        self._stopping.set()

    def models(self) -> dict[Key, Listed]:
        """All models that were accepted once."""
        with self._lock:
            return dict(self._known)

    def why_not(self, key: Key) -> str:
        """Why there is no model by this name, in a sentence; empty where nothing by it stands in the cluster."""
        with self._lock:
            return self._refused.get(key, "")

    @property
    def problem(self) -> str:
        """Why it does not know the models; empty once they were listed."""
        missing = [each for each in self._namespaces if each not in self._listed]
        if not missing:
            return ""
        return self._problems.get(missing[0]) or "the ContinuousModels were not listed yet"

    # Looking

    def look(self, namespace: str = "") -> str:
        """List everything once; returns the version to watch from. Raises Unavailable, Invalid."""
        found, version = self._api.list(MODEL, namespace)
        for resource in found:
            self._take(resource)
        standing = {key_of(each) for each in found}
        with self._lock:
            known = {*self._known, *self._refused}
        for key in known:
            if (not namespace or key[0] == namespace) and key not in standing:
                self._drop(key)
        self._listed.add(namespace)
        self.changed()
        return version

    def _work(self, namespace: str) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._follow(namespace, self.look(namespace))
                failures = 0
                self._problems.pop(namespace, None)
            except Gone:
                continue
            except Exception as error:
                if not isinstance(error, TrimtabError):
                    log.error("unexpected", exc_info=error)
                said = error.message if isinstance(error, TrimtabError) else f"{type(error).__name__}: {error}"
                if self._problems.get(namespace) != said:
                    log.warning("the ContinuousModels cannot be listed or watched: %s; trying again", said)
                self._problems[namespace] = said
                self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1

    def _follow(self, namespace: str, version: str) -> None:
        """Watch for so long; a watch that the server ends early is begun again where it ended."""
        until = time.monotonic() + WATCH_SECONDS
        while not self._stopping.is_set() and time.monotonic() < until:
            began = time.monotonic()
            for kind, resource in self._api.watch(MODEL, namespace, version, WATCH_SECONDS):
                version = resource["metadata"]["resourceVersion"]
                if self._stopping.is_set():
                    return
                if kind == "DELETED":
                    self._drop(key_of(resource))
                else:
                    self._take(resource)
                self.changed()
            if time.monotonic() - began < 1.0:
                self._stopping.wait(1.0)

    # Keeping

    def _take(self, resource: Object) -> None:
        key, meta = key_of(resource), resource["metadata"]
        known = self._known.get(key)
        if known is not None and known.resource["metadata"]["uid"] != meta["uid"]:
            self._drop(key)
            known = None
        noted = annotations_of(resource).get(NOTED, "")
        if not accepted(resource):
            self._wait(key, resource, known, noted)
            return
        if known is not None and known.current and known.resource["metadata"]["generation"] == meta["generation"]:
            listed = replace(known, noted=noted, resource=_slim(resource))
        else:
            try:
                text, model = resolved(resource, self._connect, self._settings)
            except Unavailable:
                raise  # the store does not answer: everything is listed again soon
            except TrimtabError as error:
                self._wait(key, resource, known, noted, error.message)
                return
            listed = Listed(key, model, text, True, noted, _slim(resource))
        with self._lock:
            self._known[key] = listed
            self._refused.pop(key, None)

    def _wait(self, key: Key, resource: Object, known: Listed | None, noted: str, why: str = "") -> None:
        """The spec as it stands is not accepted, or not yet."""
        message = why or _message(resource) or "the controller has not accepted its spec yet"
        with self._lock:
            self._refused[key] = message
            if known is not None:
                self._known[key] = replace(known, current=False, noted=noted)

    def _drop(self, key: Key) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._refused.pop(key, None)


def _slim(resource: Object) -> Object:
    """What is needed of an object later: two hundred of them are remembered."""
    meta: dict[str, Any] = resource["metadata"]
    kept = ("name", "namespace", "uid", "generation", "labels")
    return {
        "apiVersion": resource.get("apiVersion") or MODEL.api_version,
        "kind": resource.get("kind") or MODEL.name,
        "metadata": {name: meta[name] for name in kept if name in meta},
    }


def _message(resource: Object) -> str:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    found: dict[str, Any] = next((each for each in conditions if each.get("type") == "Accepted"), {})
    return str(found.get("message") or "") if found.get("status") == "False" else ""
