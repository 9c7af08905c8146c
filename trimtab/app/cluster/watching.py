"""
kopf as the watcher: it lists, watches, follows cut connections, and hands on what it sees.

Only `on.event`: no finalizers, no progress in annotations, nothing that kopf would write.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from trimtab.adapters.kubernetes.api import Object
from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT, Kind

SERVER_SECONDS = 240  # of one watch, after which the server ends it and another begins
SILENT_SECONDS = 300.0  # on which kopf takes a connection for dead
Seen = Callable[[Kind, str, Object], None]


def watch(namespaces: Sequence[str], seen: Seen, stopping: threading.Event) -> None:
    """
    Watch ContinuousModels and ModelRollouts until `stopping`.

    Args:
        namespaces: Empty: all.
        seen: Is called with the kind, ADDED | MODIFIED | DELETED, empty for what was listed, and the object.
    """
    import kopf

    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of each event at INFO
    registry = kopf.OperatorRegistry()
    for kind in (MODEL, ROLLOUT):
        _subscribe(registry, kind, seen)

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.server_timeout = SERVER_SECONDS
        settings.watching.inactivity_timeout = SILENT_SECONDS
        settings.peering.standalone = True

    @kopf.on.login(registry=registry)
    def login(**known: Any) -> kopf.ConnectionInfo | None:
        # As `Api.connect` finds it; kopf asks again when a token is not taken any more.
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    async def operate() -> None:
        try:
            await kopf.operator(
                registry=registry,
                standalone=True,
                clusterwide=not namespaces,
                namespaces=tuple(namespaces),
                stop_flag=stopping,
            )
        finally:
            stopping.set()  # a thread waits for it, and would keep the process where kopf gave up

    asyncio.run(operate())


def _subscribe(registry: Any, kind: Kind, seen: Seen) -> None:
    import kopf

    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)
    async def told(event: Any, **_: Any) -> None:
        resource = {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]}
        seen(kind, event["type"] or "", resource)
