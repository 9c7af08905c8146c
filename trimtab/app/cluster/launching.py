"""Who executes a model's runs in the cluster: the KFP API, once it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api
from trimtab.core.errors import Unavailable
from trimtab.core.ports import Buckets, RunLauncher, RunRequest, RunStatus
from trimtab.core.spec.model import ContinuousModel

if TYPE_CHECKING:
    from trimtab.adapters.kfp_api import Kfp

Launching = Callable[[str, ContinuousModel], RunLauncher]  # of a model in a namespace
NOBODY = (
    "found no TRIMTAB_KFP_URL: there is nobody to execute runs; set the address of KFP's API server for the controller"
)


class NoLauncher:
    """Where no KFP API is set: models are served and watched all the same."""

    def look_up(self, run_id: str) -> RunStatus | None:
        raise Unavailable(NOBODY)

    def launch(self, request: RunRequest) -> RunStatus:
        raise Unavailable(NOBODY)

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        raise Unavailable(NOBODY)

    def stop(self, run_id: str) -> None:
        raise Unavailable(NOBODY)


def launching(settings: ClusterSettings, buckets: Buckets, api: Api) -> Launching:
    """Makes the launcher of a model's runs; KFP's client is made with the first."""
    made: list[Kfp] = []
    lock = threading.Lock()

    def launcher(namespace: str, model: ContinuousModel) -> RunLauncher:
        from trimtab.adapters.kfp_api import connect

        if not settings.kfp_url:
            return NoLauncher()
        with lock:
            if not made:
                made.append(connect(settings, buckets, api))
        return made[0].launcher(namespace, model)

    return launcher
