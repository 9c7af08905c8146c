"""What a spec may ask of a laptop, and a cluster cannot do: said before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.errors import Invalid
from trimtab.core.spec.model import ContinuousModel

NO_USERS = "the weights of a SeldonDeployment draw for each request, and know no users"
NO_USERS_HINT = "in a cluster leave stickyHeader out, and write strategy: canary"


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
    if pipeline_version:
        refuse_resources(model.spec.training.resources, pipeline_version)


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
