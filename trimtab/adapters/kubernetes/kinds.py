"""The kinds of objects that trimtab reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

MODEL_LABEL = "trimtab.dev/model"  # on everything that belongs to a model


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object as the API server names it; `group` is empty for the core group."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """
        As it stands in manifests.

        >>> Kind("apps", "v1", "Deployment", "deployments").api_version
        'apps/v1'
        """
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """
        Where it stands on the API server; without a name the collection, without a namespace that of all.

        >>> Kind("apps", "v1", "Deployment", "deployments").path("shop", "web", "status")
        '/apis/apps/v1/namespaces/shop/deployments/web/status'
        """
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


MODEL = Kind("trimtab.dev", "v1alpha1", "ContinuousModel", "continuousmodels")
ROLLOUT = Kind("trimtab.dev", "v1alpha1", "ModelRollout", "modelrollouts")
SELDON_DEPLOYMENT = Kind("machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1beta1", "VirtualService", "virtualservices")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
SECRET = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
EVENT = Kind("events.k8s.io", "v1", "Event", "events")
JOB = Kind("batch", "v1", "Job", "jobs")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
