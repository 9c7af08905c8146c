"""Who executes a model's runs in the cluster: the KFP API."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.core.errors import Unavailable
from trimtab.core.ports import RunLauncher
from trimtab.core.spec.model import ContinuousModel

Launching = Callable[[Object, ContinuousModel], RunLauncher]


def launching(settings: ClusterSettings, api: Api) -> Launching:
    """
    Makes the launcher of a model's runs.

    The launcher raises:
        Unavailable: If no KFP API is set: models are served and watched all the same, and no run starts.
    """

    def launcher(resource: Object, model: ContinuousModel) -> RunLauncher:
        if not settings.kfp_url:
            raise Unavailable(
                "found no TRIMTAB_KFP_URL: there is nobody to execute runs",
                "set the address of KFP's API server for the controller, such as "
                "http://ml-pipeline.kubeflow.svc.cluster.local:8888",
            )
        raise Unavailable("found no launcher for the KFP API")

    return launcher
