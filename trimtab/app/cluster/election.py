"""
One leader among the controllers: whoever holds the Lease leads, and who loses it ends his process.

A paused leader may wake up late: what it then writes is fenced by the epochs in the state. The Lease only keeps two
from doing the same work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import LEASE
from trimtab.core.errors import Conflict, TrimtabError

LEASE_SECONDS = 15  # a killed leader is followed after at most so long
RENEW_SECONDS = 5.0
LOOK_SECONDS = 2.0  # between looks at a Lease that another holds
log = logging.getLogger("trimtab.election")


class Election:
    """
    Args:
        name: Of the Lease.
        identity: Unique among living processes.
        lost: Is called when another leads, or this process could not renew for the Lease's time.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        lost: Callable[[str], None],
        lease_seconds: int = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lost = lost
        self._seconds = lease_seconds
        self._clock = clock
        self._ending = threading.Event()
        self._seen: tuple[str, float] | None = None  # the Lease's version, and since when it stands
        self._renewed = 0.0
        # Two: a request may hang for longer than the Lease lasts, and the end must not wait for it.
        self._threads = [
            threading.Thread(target=work, name="trimtab-election", daemon=True) for work in (self._keep, self._guard)
        ]

    def win(self, stopping: threading.Event) -> bool:
        """Wait until this process leads, and keep it so; False when it is to stop before."""
        told = ""
        while not stopping.is_set():
            try:
                holder = self._try()
            except TrimtabError as error:
                holder = f"nobody known: {error.message}"
            if not holder:
                for thread in self._threads:
                    thread.start()
                return True
            if holder != told:
                log.info("standing by: %s leads", holder)
                told = holder
            stopping.wait(min(LOOK_SECONDS, self._seconds / 3))
        return False

    def end(self) -> None:
        """Give it back, so that the next one need not wait."""
        self._ending.set()
        if not all(thread.is_alive() for thread in self._threads):
            return
        for thread in self._threads:
            thread.join()
        try:
            lease = self._api.get(LEASE, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._api.replace(LEASE, lease)
        except TrimtabError as error:
            log.info("the Lease was not given back: %s", error.message)

    def _try(self) -> str:
        """Who else leads; empty when this process does now."""
        began = self._clock()
        lease = self._api.find(LEASE, self._namespace, self._name)
        try:
            if lease is None:
                self._api.create(LEASE, self._body({}, 0), self._namespace)
            else:
                holder = lease["spec"].get("holderIdentity") or ""
                if holder not in ("", self._identity) and not self._over(lease):
                    return str(holder)
                changes = int(lease["spec"].get("leaseTransitions") or 0) + (holder != self._identity)
                self._api.replace(LEASE, lease | {"spec": self._body(lease["spec"], changes)["spec"]})
        except Conflict:
            return "another one, that was quicker,"
        self._renewed = began
        return ""

    def _over(self, lease: Object) -> bool:
        """
        Whether its holder let it run out: the same version has stood here for its time.

        By this process's own clock, as clocks of machines differ.
        """
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._clock())
        held = float(lease["spec"].get("leaseDurationSeconds") or self._seconds)
        return self._clock() - self._seen[1] > held

    def _keep(self) -> None:
        while not self._ending.wait(min(RENEW_SECONDS, self._seconds / 3)):
            try:
                holder = self._try()
            except Exception as error:  # whatever it is: the guard tells of it, and only if it lasts
                log.info("the Lease could not be renewed: %s", getattr(error, "message", repr(error)))
                continue
            if holder:
                self._end_with(f"{holder} leads")

    def _guard(self) -> None:
        """Tell it in time: at two thirds of the Lease, that it has ended before another may begin."""
        while not self._ending.wait(max(self._renewed + self._seconds * 2 / 3 - self._clock(), 0.001)):
            silent = self._clock() - self._renewed
            if silent >= self._seconds * 2 / 3:
                self._end_with(f"the API server did not answer for {silent:.0f} s, and another may lead")

    def _end_with(self, why: str) -> None:
        self._ending.set()
        self._lost(f"this process leads no longer: {why}")

    def _body(self, before: dict[str, Any], transitions: int) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        kept = before.get("holderIdentity") == self._identity and before.get("acquireTime")
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._seconds,
                "acquireTime": kept or now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
