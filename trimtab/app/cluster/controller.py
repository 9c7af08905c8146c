"""
The controller: `python -m trimtab.app.cluster.controller`.

One process leads, by a Lease. kopf watches; what it sees goes into queues, and a few threads look at each model and
each rollout: the event only says that there is something to look at.
"""

from __future__ import annotations

import logging
import os
import sys

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import MODEL, Kind
from trimtab.app.cluster.election import Election
from trimtab.app.cluster.launching import launching
from trimtab.app.cluster.models import Models
from trimtab.app.cluster.process import Process, run
from trimtab.app.cluster.resources import Key, key_of
from trimtab.app.cluster.rollouts import ModelRollouts
from trimtab.app.cluster.watching import watch
from trimtab.app.cluster.working import Work, Workers
from trimtab.core.ports import Buckets

LEASE_NAME = "trimtab-controller"
ORPHANS = Work("orphans", ("", ""))
ORPHANS_SECONDS = 300.0  # between looks for what was deleted while nobody looked
log = logging.getLogger("trimtab.controller")


class Cluster:
    """Everything that the leader looks at, from the first event to the end of the process."""

    def __init__(self, api: Api, settings: ClusterSettings, buckets: Buckets, rollouts: ModelRollouts) -> None:
        self.workers = Workers(self._look)
        self._rollouts = rollouts
        self._free: dict[Key, Object] = {}  # rollouts without a model
        self._ended: dict[str, Object] = {}  # those that were deleted and still hold something, by uid
        self.models = Models(
            api,
            settings,
            buckets,
            launching(settings, buckets, api),
            rollouts,
            lambda key: self.workers.add(Work("model", key)),
            lambda key: self.workers.add(Work("serving", key)),
        )

    def start(self) -> None:
        self.workers.start()
        self.models.alerts.start()
        self.workers.add(ORPHANS)

    def stop(self) -> None:
        """End after the looks that go on."""
        self.workers.stop()
        self.models.alerts.stop()

    def seen(self, kind: Kind, event: str, resource: Object) -> None:
        """An event of the watch, or an object of its listing. Asks nobody: the watch waits for it."""
        meta, deleted = resource["metadata"], event == "DELETED"
        key = (meta["namespace"], meta["name"])
        model = (resource.get("spec") or {}).get("model")
        if kind is MODEL and deleted:
            self.models.deleted(key)
            self.workers.add(Work("serving", key))
        elif kind is MODEL:
            if self.models.seen(resource):
                self.workers.add(Work("model", key))
                self.workers.add(Work("serving", key))
        elif model and meta.get("ownerReferences"):  # a person's own says why it is none
            self.workers.add(Work("serving", (key[0], model)))
        else:
            self._seen_free(key, resource, deleted)

    def _seen_free(self, key: Key, resource: Object, deleted: bool) -> None:
        before, uid = self._free.get(key), resource["metadata"]["uid"]
        if deleted:
            if before is None or before["metadata"]["uid"] == uid:
                self._free.pop(key, None)
            self._add_ended(resource)
            return
        if before is not None and before["metadata"]["uid"] != uid:  # its deletion was missed
            self._add_ended(before)
        self._free[key] = resource
        self.workers.add(Work("rollout", key))

    def _add_ended(self, rollout: Object) -> None:
        uid = rollout["metadata"]["uid"]
        self._ended[uid] = rollout
        self.workers.add(Work("ended", key_of(rollout), uid))

    def _look(self, work: Work) -> float | None:
        match work.kind:
            case "model":
                return self.models.look(work.key)
            case "serving":
                return self.models.lead(work.key)
            case "rollout":
                return self._lead_free(work.key)
            case "ended":
                return self._end(work.uid)
            case "orphans":
                for rollout in self._rollouts.orphans():
                    self._add_ended(rollout)
                for key in self.models.left_behind():
                    self.workers.add(Work("serving", key))
                return ORPHANS_SECONDS

    def _lead_free(self, key: Key) -> float | None:
        rollout = self._free.get(key)
        pause = self._rollouts.lead_free(rollout) if rollout is not None else 0.0
        return pause or None  # 0: it was deleted, and the watch missed that

    def _end(self, uid: str) -> float | None:
        """A rollout without a model was deleted: what it holds is given back, in as many looks as that takes."""
        rollout = self._ended.get(uid)
        pause = self._rollouts.gone_free(rollout) if rollout is not None else 0.0
        if pause > 0:
            return pause
        self._ended.pop(uid, None)
        return None


def lead(process: Process) -> None:
    """Stand by until this process leads, and lead until it is to end."""
    settings, stopping = process.settings, process.stopping
    election = Election(process.api, settings.pod_namespace or "default", LEASE_NAME, process.owner, _lost)
    if not election.win(stopping):
        return
    log.info("%s leads", process.owner)
    rollouts = ModelRollouts(process.api, settings, process.buckets)
    cluster = Cluster(process.api, settings, process.buckets, rollouts)
    cluster.start()
    try:
        watch(settings.watch_namespaces, cluster.seen, stopping)
    finally:
        cluster.stop()
        election.end()


def _lost(why: str) -> None:
    """Another may act by now: nothing more is done, not even a clean end."""
    log.error("%s", why)
    logging.shutdown()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(run(lead))
