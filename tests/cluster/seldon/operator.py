"""The running stand-in: what it watches, its single worker, its Events, what a test may switch."""

from __future__ import annotations

import heapq
import logging
import threading
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from seldon.deployments import Engine
from seldon.reconcile import AGAIN_SECONDS, MANAGER, Reconciler
from trimtab.adapters.kubernetes.api import Api, Gone, Object
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, SELDON_DEPLOYMENT, SERVICE, VIRTUAL_SERVICE, Kind
from trimtab.core.errors import TrimtabError

WATCHED = (SELDON_DEPLOYMENT, DEPLOYMENT, SERVICE, VIRTUAL_SERVICE)  # DestinationRules are not
SETTLE_SECONDS = 0.015  # between a change and what the operator makes of it
EVENTS, EVENT_SECONDS = 25, 300.0  # burst, then one in so long: client-go's budget for one object
LONGEST_BACK_OFF = 60.0
OLD_EVENT = Kind("", "v1", "Event", "events")
log = logging.getLogger("seldon")
Key = tuple[str, str]


class Operator:
    """
    Runs in threads of its own from `start` on.

    Args:
        namespaces: Only those whose names begin so; empty: all.
    """

    def __init__(self, api: Api, engine: Engine, namespaces: str = "") -> None:
        self._api = api
        self._namespaces = namespaces
        self._reconcile = Reconciler(api, engine, self._believed, self._tell)
        self._known: dict[Key, Object] = {}
        self._history: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)  # by uid: statuses as seen
        self._due: list[tuple[float, Key]] = []
        self._tries: dict[Key, int] = defaultdict(int)
        self._budget: dict[str, tuple[float, float]] = {}
        self._changed = threading.Condition()
        self._listed = {kind: threading.Event() for kind in WATCHED}
        self.delay_seconds = 0.0
        self._delayed = 0.0  # since when

    def start(self) -> None:
        for kind in WATCHED:
            threading.Thread(target=self._watch, args=(kind,), name=f"watch-{kind.plural}", daemon=True).start()
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    @property
    def synced(self) -> bool:
        return all(each.is_set() for each in self._listed.values())

    def delay_status(self, seconds: float) -> None:
        """From now on believe of Deployments what was the case so long ago, or just now while that was not so long."""
        with self._changed:
            self.delay_seconds, self._delayed = seconds, time.monotonic()
            for key in self._known:
                self._push(key, 0.0)

    # Watching

    def _watch(self, kind: Kind) -> None:
        while True:
            try:
                found, version = self._api.list(kind)
                for each in found:
                    self._see(kind, each)
                if kind is SELDON_DEPLOYMENT:
                    self._forget_but({_key(each) for each in found})
                self._listed[kind].set()
                while True:
                    for event, each in self._api.watch(kind, resource_version=version, seconds=300):
                        version = each["metadata"]["resourceVersion"]
                        self._see(kind, each, gone=event == "DELETED")
            except Gone:
                continue
            except TrimtabError as error:
                log.info("watching %s: %s", kind.plural, error.message)
                time.sleep(0.2)

    def _see(self, kind: Kind, found: Object, gone: bool = False) -> None:
        if not found["metadata"]["namespace"].startswith(self._namespaces):
            return
        with self._changed:
            if kind is SELDON_DEPLOYMENT:
                key: Key | None = _key(found)
                if gone:
                    self._known.pop(_key(found), None)
                    return
                self._known[_key(found)] = found
            else:
                key = _owner(found)
            if kind is DEPLOYMENT:
                self._history[found["metadata"]["uid"]].append((time.monotonic(), found.get("status") or {}))
            if key:
                self._push(key, SETTLE_SECONDS)
                if kind is DEPLOYMENT and self.delay_seconds:
                    self._push(key, self.delay_seconds + SETTLE_SECONDS)

    def _forget_but(self, keys: set[Key]) -> None:
        with self._changed:
            for key in [key for key in self._known if key not in keys]:
                del self._known[key]

    def _believed(self, deployment: Object) -> dict[str, Any]:
        """Its status now, or so long ago as a test wants it: of one that is younger, none."""
        if not self.delay_seconds:
            return dict(deployment.get("status") or {})
        with self._changed:
            history = self._history[deployment["metadata"]["uid"]]
            before = max(time.monotonic() - self.delay_seconds, self._delayed)
            while len(history) > 1 and history[1][0] <= before:
                history.pop(0)
            return dict(history[0][1]) if history and history[0][0] <= before else {}

    # Working

    def _push(self, key: Key, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, key))
        self._changed.notify_all()

    def _work(self) -> None:
        """One worker: all SeldonDeployments wait for each other."""
        while True:
            sdep = self._next()
            if sdep is not None:
                self._pass(sdep)

    def _next(self) -> Object | None:
        with self._changed:
            while not (self.synced and self._due and self._due[0][0] <= time.monotonic()):
                self._changed.wait(max(0.0, self._due[0][0] - time.monotonic()) if self.synced and self._due else 0.1)
            now, (_, key) = time.monotonic(), heapq.heappop(self._due)
            # What is asked for several times by now is done once.
            later = [each for each in self._due if each[1] != key or each[0] > now]
            if len(later) < len(self._due):
                self._due = later
                heapq.heapify(self._due)
            return self._known.get(key)

    def _pass(self, sdep: Object) -> None:
        key = _key(sdep)
        if "deletionTimestamp" in sdep["metadata"]:
            return
        try:
            done = self._reconcile(sdep)
        except Exception:
            log.exception("a pass over %s/%s", *key)
            with self._changed:
                self._push(key, 0.5)
            return
        with self._changed:
            if done.failed:
                self._push(key, min(0.005 * 2 ** self._tries[key], LONGEST_BACK_OFF))
                self._tries[key] += 1
            else:
                self._tries.pop(key, None)
                if done.again:
                    self._push(key, AGAIN_SECONDS)

    # Events, which are lost when there are many

    def _tell(self, sdep: Object, kind: str, reason: str, message: str) -> None:
        meta, now = sdep["metadata"], time.monotonic()
        left, at = self._budget.get(meta["uid"], (float(EVENTS), now))
        left = min(float(EVENTS), left + (now - at) / EVENT_SECONDS)
        if left < 1:
            self._budget[meta["uid"]] = (left, now)
            return
        self._budget[meta["uid"]] = (left - 1, now)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": SELDON_DEPLOYMENT.api_version,
                "kind": SELDON_DEPLOYMENT.name,
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "source": {"component": "seldon-controller-manager"},
            "type": kind,
            "reason": reason,
            "message": (message or f"{reason} {meta['name']}")[:1024],
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        try:
            self._api.create(OLD_EVENT, body, meta["namespace"])
        except TrimtabError as error:
            log.info("event %s by %s: %s", reason, MANAGER, error.message)


def _key(found: Object) -> Key:
    return found["metadata"]["namespace"], found["metadata"]["name"]


def _owner(found: Object) -> Key | None:
    """
    The SeldonDeployment that it belongs to.

    A foreign VirtualService that was overwritten has no owner, so its edits go unseen until the next pass.
    """
    for each in found["metadata"].get("ownerReferences") or []:
        if each["kind"] == SELDON_DEPLOYMENT.name and each.get("controller"):
            return found["metadata"]["namespace"], each["name"]
    return None
