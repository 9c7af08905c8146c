"""What a spec may ask of a laptop, and a cluster cannot do: said before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.core.errors import Invalid
from trimtab.core.sources import Allowed, refuse_unreadable
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.units import split_s3

NO_USERS = "the weights of a SeldonDeployment draw for each request, and know no users"
NO_USERS_HINT = "in a cluster leave stickyHeader out, and write strategy: canary"
ALERTS = "TRIMTAB_ALERT_"  # how variables begin that hold addresses: the others hold keys and tokens


def refuse_in_cluster(model: ContinuousModel, pipeline_version: str = "") -> None:
    """
    Refuse a spec that is sound and asks for what nobody in a cluster would do.

    Args:
        pipeline_version: That KFP has and runs are made from; empty where each run carries its pipeline.

    Raises:
        Invalid: With the field, and what works.
    """
    header = model.spec.rollout.sticky_header
    if header is not None:
        raise Invalid(f"spec.rollout.stickyHeader: found {header}; {NO_USERS}", NO_USERS_HINT)
    for number, alert in enumerate(model.spec.alerts):
        if not alert.url_from.env.startswith(ALERTS):
            raise Invalid(
                f"spec.alerts[{number}].urlFrom.env: found {alert.url_from.env}; in a cluster its name begins with "
                f"{ALERTS}, because the controller's other variables are not for models",
                f"have the address put into the Secret trimtab-alerts as {ALERTS}NAME, and name that",
            )
    if pipeline_version:
        refuse_resources(model.spec.training.resources, pipeline_version)


def refuse_sources(model: ContinuousModel, namespace: str, state_bucket: str, allowed: Iterable[Allowed]) -> None:
    """
    Refuse a spec that names what models of its namespace may not read; nothing of it is read before.

    Raises:
        Invalid: With the field, and where they may.
    """
    data = model.spec.data
    named = {"source": data.source, "labels.source": data.labels.source, "schemaRef": data.schema_ref}
    every = tuple(allowed)
    for field, address in named.items():
        if address is not None:
            refuse_unreadable(f"spec.data.{field}", *split_s3(address), namespace, state_bucket, every)


def refuse_resources(resources: Mapping[str, Any], pipeline_version: str) -> None:
    """
    Raises:
        Invalid: If there are any: runs of a PipelineVersion have its own.
    """
    if resources:
        raise Invalid(
            f"spec.training.resources: the PipelineVersion {pipeline_version} has its own, which no run can change",
            "take them out, or unset TRIMTAB_KFP_PIPELINE_VERSION so that runs carry their pipeline",
        )
