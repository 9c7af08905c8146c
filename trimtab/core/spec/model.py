"""The ContinuousModel: one pydantic model from which the CRD, the editor's JSON Schema and the reference are made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.core.spec.data import Column, Data, Labels, Quality
from trimtab.core.spec.fields import Section
from trimtab.core.spec.policy import (
    Budget,
    DriftTrigger,
    PerformanceTrigger,
    ScheduleTrigger,
    Triggers,
    UploadTrigger,
    Window,
)
from trimtab.core.spec.rollout import Alert, Analysis, Rollout, Step
from trimtab.core.spec.training import Evaluation, Training

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"  # of a Kubernetes label
# Of a SeldonDeployment, whose name begins those of its Services: unlike other names, these begin with a letter.
SERVED_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH = 53  # of a Kubernetes label's 63 it leaves ten for `-v1234567`

__all__ = [
    "Alert",
    "Analysis",
    "Budget",
    "Column",
    "ContinuousModel",
    "Data",
    "DriftTrigger",
    "Evaluation",
    "Labels",
    "Metadata",
    "ModelSpec",
    "PerformanceTrigger",
    "Quality",
    "Rollout",
    "ScheduleTrigger",
    "Section",
    "Step",
    "Training",
    "Triggers",
    "UploadTrigger",
    "Window",
]


class ModelSpec(Section):
    """What is learned, from what, when, and how it goes live."""

    suspend: bool = Field(default=False, description="true: nothing is triggered; serving and a running rollout go on.")
    data: Data = Field(description="Where rows come from and what they look like.")
    triggers: Triggers = Field(default=Triggers(), description="What starts a training run.")
    window: Window = Field(default=Window(), description="The rows a candidate learns from.")
    training: Training = Field(description="The recipe of a model.")
    evaluation: Evaluation = Field(description="How a candidate is judged before it is registered.")
    rollout: Rollout = Field(default=Rollout(), description="How a challenger becomes champion.")
    alerts: tuple[Alert, ...] = Field(default=(), strict=False, description="Who is told of what.")


class Metadata(Section):
    """The model's name, and what a cluster adds to it."""

    name: str = Field(
        pattern=SERVED_PATTERN,
        max_length=NAME_LENGTH,
        description="Name of the model: a letter of a-z, then a-z, 0-9 and inner hyphens, at most 53 characters.",
    )
    namespace: str | None = Field(
        default=None,
        pattern=NAME_PATTERN,
        max_length=63,
        description="In a cluster: the namespace it is applied to. A laptop takes TRIMTAB_NAMESPACE.",
    )
    labels: dict[str, str] = Field(default={}, description="In a cluster: labels, as on any object.")
    annotations: dict[str, str] = Field(default={}, description="In a cluster: annotations, as on any object.")


class ContinuousModel(Section):
    """One model kept on course: the same file on a laptop and in a cluster."""

    api_version: Literal["trimtab.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["ContinuousModel"] = Field(description="Kind of this document.")
    metadata: Metadata = Field(description="The model's name.")
    spec: ModelSpec = Field(description="What is learned, from what, when, and how it goes live.")

    @property
    def name(self) -> str:
        return self.metadata.name
