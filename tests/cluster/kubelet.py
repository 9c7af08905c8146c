"""Plays the kubelet: says of pods that nothing runs what a kubelet would, and what a test wants to have happened."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.kubernetes.api import Api, Gone, Object
from trimtab.adapters.kubernetes.kinds import POD
from trimtab.core.errors import NotFound, TrimtabError

START_SECONDS = 0.3
Predictor = tuple[str, str]  # namespace, predictor


class Kubelet:
    """
    Pods become ready some 0.3 s after they appear, but for those of Jobs, which end when `finish` says how.

    Pods are those of a SeldonDeployment's predictor, by its name; a predictor of that name in any SeldonDeployment of
    the namespace is meant.

    Args:
        namespaces: Only those whose names begin so; empty: all.
    """

    def __init__(self, api: Api, namespaces: str = "") -> None:
        self._api = api
        self._namespaces = namespaces
        self._pods: dict[str, Object] = {}  # by uid
        self._seen: dict[str, float] = {}
        self._told: dict[str, str] = {}  # by uid: what was said of it last
        self._never: set[Predictor] = set()
        self._known: dict[Predictor, set[str]] = {}  # pod templates that work, where later ones crash
        self._lost: set[str] = set()  # uids
        self._finished: dict[tuple[str, str], tuple[int, str]] = {}
        self._numbers = itertools.count(1)  # of addresses given
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"kubelet-{target.__name__}", daemon=True)
            for target in (self._watch, self._work)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._threads[1].join(timeout=10)

    # What a test says

    def never_ready(self, namespace: str, predictor: str) -> None:
        """No pod of it that is not ready yet becomes ready."""
        with self._lock:
            self._never.add((namespace, predictor))

    def crash_after_update(self, namespace: str, predictor: str) -> None:
        """Pods as they are now stay well; those of a later pod template crash, again and again."""
        with self._lock:
            self._known[namespace, predictor] = {_template(pod) for pod in self.of(namespace, predictor)}

    def lose_one(self, namespace: str, predictor: str) -> str:
        """One ready pod of it is unready from now on; its name."""
        deadline = time.monotonic() + 60
        while True:
            with self._lock:
                ready = [pod for pod in self.of(namespace, predictor) if self._told.get(_uid(pod)) == "ready"]
                if ready:
                    self._lost.add(_uid(ready[0]))
                    return str(ready[0]["metadata"]["name"])
            assert time.monotonic() < deadline, f"no pod of {predictor} in {namespace} is ready, to be lost"
            time.sleep(0.05)

    def ready(self, namespace: str, predictor: str) -> None:
        """All is well again with it."""
        with self._lock:
            self._never.discard((namespace, predictor))
            self._known.pop((namespace, predictor), None)
            self._lost -= {_uid(pod) for pod in self.of(namespace, predictor)}

    def finish(self, namespace: str, job: str, exit_code: int = 0, message: str = "") -> None:
        """The pods of this Job end so, with this as their termination message."""
        with self._lock:
            self._finished[namespace, job] = (exit_code, message)

    def of(self, namespace: str, predictor: str) -> list[Object]:
        """The pods there are of it."""
        with self._lock:
            return [
                pod
                for pod in self._pods.values()
                if (pod["metadata"]["namespace"], _predictor(pod)) == (namespace, predictor)
                and "deletionTimestamp" not in pod["metadata"]
            ]

    # What it does

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                found, version = self._api.list(POD)
                with self._lock:
                    self._pods = {}
                for pod in found:
                    self._see("ADDED", pod)
                while not self._stopped.is_set():
                    for event, pod in self._api.watch(POD, resource_version=version, seconds=120):
                        version = pod["metadata"]["resourceVersion"]
                        self._see(event, pod)
            except Gone:
                continue
            except TrimtabError:
                self._stopped.wait(0.2)

    def _see(self, event: str, pod: Object) -> None:
        if not pod["metadata"]["namespace"].startswith(self._namespaces):
            return
        with self._lock:
            if event == "DELETED":
                self._pods.pop(_uid(pod), None)
            else:
                self._pods[_uid(pod)] = pod
                self._seen.setdefault(_uid(pod), time.monotonic())

    def _work(self) -> None:
        while not self._stopped.wait(0.05):
            with self._lock:
                due = [pod for pod in self._pods.values() if self._wanted(pod) != self._told.get(_uid(pod), "pending")]
            for pod in due:
                self._tell(pod)

    def _tell(self, pod: Object) -> None:
        with self._lock:
            wanted = self._wanted(pod)
        meta = pod["metadata"]
        try:
            self._api.merge(POD, meta["namespace"], meta["name"], {"status": self._status(pod, wanted)}, "status")
        except NotFound:
            with self._lock:
                self._pods.pop(_uid(pod), None)
            return
        except TrimtabError:
            return  # said again in a moment
        with self._lock:
            self._told[_uid(pod)] = wanted

    def _wanted(self, pod: Object) -> str:
        """pending, ready, unready, crashing, or ended."""
        uid, told = _uid(pod), self._told.get(_uid(pod), "pending")
        if "deletionTimestamp" in pod["metadata"] or told == "ended":
            return told
        job = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name")
        if job:
            return "ended" if (pod["metadata"]["namespace"], job) in self._finished else "pending"
        predictor = (pod["metadata"]["namespace"], _predictor(pod))
        if predictor in self._known and _template(pod) not in self._known[predictor]:
            return "crashing"
        if uid in self._lost:
            return "unready"
        if predictor in self._never and told != "ready":
            return told
        return "ready" if time.monotonic() - self._seen[uid] >= START_SECONDS else told

    def _status(self, pod: Object, wanted: str) -> dict[str, Any]:
        if wanted == "ended":
            return self._ended(pod)
        ready = "True" if wanted == "ready" else "False"
        now = _now()
        crashing = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        address = (pod.get("status") or {}).get("podIP") or _address(next(self._numbers))
        return {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": (pod.get("status") or {}).get("startTime") or now,
            "conditions": [
                {"type": kind, "status": status, "lastTransitionTime": now}
                for kind, status in (
                    ("PodScheduled", "True"),
                    ("Initialized", "True"),
                    ("ContainersReady", ready),
                    ("Ready", ready),
                )
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container.get("image", ""),
                    "imageID": "",
                    "ready": wanted == "ready",
                    "started": wanted != "crashing",
                    "restartCount": 5 if wanted == "crashing" else 0,
                    "state": crashing if wanted == "crashing" else {"running": {"startedAt": now}},
                }
                for container in pod["spec"]["containers"]
            ],
        }

    def _ended(self, pod: Object) -> dict[str, Any]:
        job = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        code, message = self._finished[pod["metadata"]["namespace"], job]
        now = _now()
        ended = {"exitCode": code, "message": message, "startedAt": now, "finishedAt": now}
        return {
            "phase": "Failed" if code else "Succeeded",
            "startTime": now,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container.get("image", ""),
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": {**ended, "reason": "Error" if code else "Completed"}},
                }
                for container in pod["spec"]["containers"]
            ],
        }


def _address(number: int) -> str:
    return f"10.100.{number >> 8 & 255}.{number & 255}"


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _template(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get("pod-template-hash", ""))


def _predictor(pod: Object) -> str:
    """Seldon tells every model's container which predictor it is in."""
    for container in pod["spec"]["containers"]:
        for each in container.get("env") or []:
            if each["name"] == "PREDICTOR_ID":
                return str(each.get("value", ""))
    return ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
