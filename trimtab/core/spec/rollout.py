"""How a new model takes traffic, and who is told: the rollout and alerts sections."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from trimtab.core.spec.fields import Duration, PositiveDuration, Section


class ShadowGate(Section):
    """A challenger answers a copy of the traffic; nobody sees its answers."""

    min_requests: int | None = Field(
        default=None, ge=1, description="Requests it answers in this step; null: rollout.minRequests."
    )


class Pause(Section):
    """Waits for `trimtab approve`; it has no fields."""


class Step(Section):
    """One step: exactly one of shadow, setWeight and pause."""

    shadow: ShadowGate | None = Field(default=None, description="Copy traffic to the challenger.")
    set_weight: int | None = Field(
        default=None, ge=1, le=99, description="Share of the traffic the challenger answers, in per cent, 1 to 99."
    )
    pause: Pause | None = Field(default=None, description="`{}`: wait for approval.")
    min_requests: int | None = Field(
        default=None, ge=1, description="Requests it answers at this weight; null: rollout.minRequests."
    )
    min_duration: Duration | None = Field(default=None, description="Shortest wall time at this weight.")


class Analysis(Section):
    """How much harm is harm."""

    alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="Chance of rolling back a harmless model, over a whole rollout."
    )
    max_error_ratio_increase: float = Field(
        default=0.01, ge=0, le=1, description="Rise in the share of failed requests that is accepted, 0 to 1."
    )
    max_latency_exceedance_increase: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Rise in the share of requests beyond evaluation.maxLatencyP99Milliseconds that is accepted.",
    )
    max_loss_increase: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Rise in the loss that is accepted: 0/1 error of classes; of numbers the absolute error over the "
        "99th percentile of the absolute target.",
    )


class Rollout(Section):
    """How a challenger becomes champion."""

    strategy: Literal["immediate", "canary", "shadow", "abTest"] = Field(
        default="immediate",
        description="immediate: the evaluation decides. canary: rising shares of traffic. shadow: copied traffic only. "
        "abTest: sticky users at one weight.",
    )
    steps: tuple[Step, ...] = Field(
        default=(), strict=False, max_length=50, description="What a challenger passes through, in order."
    )
    min_requests: int = Field(
        default=200, ge=1, description="Requests served by the challenger in a step that names no gate of its own."
    )
    analysis: Analysis = Field(default=Analysis(), description="How much harm is harm.")
    on_no_evidence: Literal["hold", "promote", "rollBack"] = Field(
        default="hold", description="What happens at maxDuration without proof either way."
    )
    max_duration: PositiveDuration = Field(
        default=timedelta(hours=24), description="Wall time after which onNoEvidence applies."
    )
    sticky_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$",
        description="HTTP header that names the user, so that each keeps one variant; abTest requires it.",
    )
    superseding: Literal["replace", "queue"] = Field(
        default="replace", description="A newer challenger replaces this one before its first weight, or queues."
    )
    keep_previous: Duration = Field(
        default=timedelta(hours=1), description="Wall time the former champion keeps running, for an instant way back."
    )
    probation: Duration = Field(
        default=timedelta(0), description="Wall time after promotion in which late labels may still roll back."
    )


class UrlFrom(Section):
    """Where the address stands: never in the spec, for it holds a token."""

    env: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=200,
        description="Name of the environment variable that holds it.",
    )


class Alert(Section):
    """Who is told of what."""

    url_from: UrlFrom = Field(description="Where the address to tell stands.")
    events: tuple[Literal["drift", "rollback", "quarantine", "budget", "failed", "approval"], ...] = Field(
        default=("drift", "rollback", "quarantine", "budget", "failed", "approval"),
        strict=False,
        min_length=1,
        description="Events that are told; all by default.",
    )
