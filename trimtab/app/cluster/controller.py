"""
The controller: `python -m trimtab.app.cluster.controller`.

One process leads, by a Lease. kopf watches; what it sees goes into queues, and a few threads look at each model and
each rollout: the event only says that there is something to look at.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import replace

from trimtab.adapters import environment, s3
from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import MODEL, Kind
from trimtab.app.cluster.election import Election
from trimtab.app.cluster.launching import launching
from trimtab.app.cluster.models import Models
from trimtab.app.cluster.resources import Key
from trimtab.app.cluster.watching import watch
from trimtab.app.cluster.working import Work, Workers
from trimtab.core.errors import TrimtabError
from trimtab.core.ports import Buckets

LEASE_NAME = "trimtab-controller"
log = logging.getLogger("trimtab.controller")


class Cluster:
    """Everything that the leader runs, from the first event to the end of the process."""

    def __init__(self, api: Api, settings: ClusterSettings, buckets: Buckets) -> None:
        from trimtab.app.cluster.rollouts import ModelRollouts

        self.workers = Workers(self._look)
        self._rollouts = ModelRollouts(api, settings, buckets)
        self.models = Models(
            api,
            settings,
            buckets,
            launching(settings, buckets, api),
            self._rollouts,
            lambda key: self.workers.add(Work("model", key)),
            lambda key: self.workers.add(Work("serving", key)),
        )
        self._free: dict[Key, Object] = {}  # rollouts without a model

    def seen(self, kind: Kind, event: str, resource: Object) -> None:
        """An event of the watch, or an object of its listing."""
        meta = resource["metadata"]
        key = (meta["namespace"], meta["name"])
        if kind is MODEL:
            if event == "DELETED":
                self.workers.forget(Work("model", key))
                self.models.gone(key)
                self.workers.add(Work("serving", key))
            elif self.models.seen(resource):
                self.workers.add(Work("model", key))
                self.workers.add(Work("serving", key))
            return
        model = (resource.get("spec") or {}).get("model")
        if model:
            self.workers.add(Work("serving", (key[0], model)))
        else:
            if event == "DELETED":
                resource["metadata"].setdefault("deletionTimestamp", meta.get("creationTimestamp"))
            self._free[key] = resource
            self.workers.add(Work("rollout", key))

    def _look(self, work: Work) -> float | None:
        if work.kind == "model":
            return self.models.look(work.key)
        if work.kind == "serving":
            return self.models.lead(work.key)
        rollout = self._free.get(work.key)
        if rollout is None:
            return None
        pause: float = self._rollouts.lead_free(rollout)
        if rollout["metadata"].get("deletionTimestamp") and self._free.get(work.key) is rollout and pause <= 0:
            del self._free[work.key]
            return None
        return pause


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("kopf", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = environment.cluster_settings()
        settings = replace(settings, pod_name=settings.pod_name or f"{socket.gethostname()}-{os.getpid()}")
        api, buckets = Api.connect(), s3.connect()
    except TrimtabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    identity = f"{settings.pod_name}-{os.getpid()}"
    election = Election(api, settings.pod_namespace or "default", LEASE_NAME, identity, _lost)
    if not election.win(stopping):
        return 0
    log.info("%s leads", identity)
    cluster = Cluster(api, settings, buckets)
    cluster.workers.start()
    watch(settings.watch_namespaces, cluster.seen, stopping)
    cluster.workers.stop()
    election.end()
    return 0


def _lost(why: str) -> None:
    """Another may act by now: nothing more is done, not even a clean end."""
    log.error("%s", why)
    logging.shutdown()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
