"""The ModelRollout: one rollout as a custom resource, which kubectl can read and steer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from trimtab.core.spec.fields import Section
from trimtab.core.spec.model import NAME_LENGTH, NAME_PATTERN, SERVED_PATTERN, Metadata
from trimtab.core.spec.rollout import Rollout

SELDON_NAME_LENGTH = 63


class Predictor(Section):
    """A predictor as it would stand in the SeldonDeployment, whose operator knows its other fields."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=SELDON_NAME_LENGTH,
        description="Name of the predictor: a-z, 0-9 and inner hyphens, at most 63 characters.",
    )
    graph: dict[str, Any] = Field(description="What answers: a model server, or several.")


class Challenger(Section):
    """A challenger that no registry knows."""

    predictor: Predictor = Field(
        description="A predictor as it would stand in the SeldonDeployment: name, graph and componentSpecs."
    )


class Target(Section):
    """What carries the traffic."""

    seldon_deployment: str = Field(
        pattern=SERVED_PATTERN,
        max_length=SELDON_NAME_LENGTH,
        description="Name of the SeldonDeployment, in the same namespace: a letter of a-z, then a-z, 0-9 and inner "
        "hyphens.",
    )
    champion: str | None = Field(
        default=None, max_length=SELDON_NAME_LENGTH, description="Without a model: the predictor that serves now."
    )
    challenger: Challenger | None = Field(
        default=None, description="Without a model: the predictor that is to take over."
    )
    max_latency_milliseconds: float | None = Field(
        default=None,
        gt=0,
        description="Without a model: slower requests count as exceedances; null: latency does not decide.",
    )


class RolloutRequest(Rollout):
    """
    One rollout: of a registered version of a model, or of a predictor on any SeldonDeployment.

    The policy's fields stand here as they stood in the model when the rollout was made.
    """

    strategy: Literal["immediate", "canary", "shadow", "abTest"] = Field(
        default="canary",
        description="canary: rising shares of traffic. shadow: copied traffic only. abTest: sticky users at one "
        "weight.",
    )
    model: str | None = Field(
        default=None, pattern=SERVED_PATTERN, max_length=NAME_LENGTH, description="The ContinuousModel, or null."
    )
    version: int | None = Field(default=None, ge=1, description="With a model: its version that is to take over.")
    champion: int | None = Field(default=None, ge=1, description="With a model: its version that serves now.")
    target: Target = Field(description="What carries the traffic.")
    paused: bool = Field(default=False, description="true: the traffic stays as it is; harm still rolls back.")
    approved: bool = Field(
        default=False, description="true: the pause step that waits is approved; trimtab puts it back to false."
    )
    approved_by: str | None = Field(
        default=None, max_length=253, description="Who approved; null: the field manager's name is journalled."
    )
    promoted: bool = Field(default=False, description="true: skip what is left and promote.")
    aborted: bool = Field(default=False, description="true: all traffic to the champion, for good.")


class RolloutMetadata(Metadata):
    """The rollout's name, and what a cluster adds to it."""

    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=SELDON_NAME_LENGTH,
        description="Name of the rollout: a-z, 0-9 and inner hyphens, at most 63 characters. A model's: NAME-vN.",
    )


class ModelRollout(Section):
    """One rollout on the cluster."""

    api_version: Literal["trimtab.dev/v1alpha1"] = Field(description="Version of this format.")
    kind: Literal["ModelRollout"] = Field(description="Kind of this document.")
    metadata: RolloutMetadata = Field(description="The rollout's name.")
    spec: RolloutRequest = Field(description="What it is to do, and what people ask of it.")

    @property
    def name(self) -> str:
        return self.metadata.name
