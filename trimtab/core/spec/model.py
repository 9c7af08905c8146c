"""The ContinuousModel: one pydantic model from which the CRD, the editor's JSON Schema and the reference are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trimtab.core.spec.units import parse_duration

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Section(BaseModel):
    """Base of every section: camelCase in YAML, unknown keys refused."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True)


class Column(Section):
    """One column of the data."""

    type: Literal["float", "int", "boolean", "category", "string", "timestamp"]
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] = Field(default=(), strict=False)
    on_new: Literal["quarantine", "missing"] = "quarantine"
    nullable: bool = True


class Labels(Section):
    """Labels that come later."""

    source: str | None = None
    join_by: Literal["requestId", "key"] = "requestId"
    maturity: Duration = timedelta(0)
    depend_on_prediction: bool = False


class Quality(Section):
    max_invalid_row_ratio: float = Field(default=0.01, ge=0, le=1)


class Data(Section):
    """Where rows come from and what they look like."""

    source: str
    format: Literal["csv", "parquet", "jsonl"]
    timestamp: str
    key: tuple[str, ...] = Field(default=(), strict=False)
    target: str
    exclude: tuple[str, ...] = Field(default=(), strict=False)
    labels: Labels = Labels()
    columns: dict[str, Column] | None = Field(default=None, alias="schema")
    schema_ref: str | None = None
    quality: Quality = Quality()


class UploadTrigger(Section):
    min_new_rows: int = Field(default=1, ge=1)
    settle: Duration = timedelta(seconds=30)


class ScheduleTrigger(Section):
    cron: str
    time_zone: str = "Etc/UTC"


class DriftTrigger(Section):
    false_alarms_per_year: float = Field(default=2, gt=0)
    min_effect: float = Field(default=0.1, ge=0, le=1)


class PerformanceTrigger(Section):
    metric: str
    worse_than: float | None = None
    drop_from_baseline: float | None = None
    over_rows: int = Field(default=5000, ge=1)


class Budget(Section):
    runs_per_day: int | None = Field(default=None, ge=1)
    training_seconds_per_day: float | None = Field(default=None, gt=0)


class Triggers(Section):
    upload: UploadTrigger | None = None
    schedule: ScheduleTrigger | None = None
    drift: DriftTrigger | None = None
    performance: PerformanceTrigger | None = None
    cooldown: Duration = timedelta(0)
    budget: Budget = Budget()


class Window(Section):
    strategy: Literal["fixed", "all", "dynamic", "representative"] = "all"
    size: Duration | None = None
    candidates: tuple[Duration, ...] = Field(default=(), strict=False)
    min_rows: int = Field(default=1000, ge=1)
    min_class_ratio: float = Field(default=0.0, ge=0, le=0.5)


class Training(Section):
    estimator: str
    parameters: dict[str, Any] = {}
    mode: Literal["offline", "warmStart", "incremental", "transfer"] = "offline"
    input: Literal["matrix", "frame"] = "matrix"
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    threads: int = Field(default=1, ge=1)
    image: str | None = None
    resources: dict[str, Any] = {}


class Evaluation(Section):
    holdout: Duration | str = timedelta(weeks=2)  # or "5000 rows"; see `holdout_rows` in units
    refit: bool = True
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    primary: str
    floor: float | None = None
    margin: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    block: Duration = timedelta(days=1)
    slices: tuple[str, ...] = Field(default=(), strict=False)
    max_latency_p99_milliseconds: float | None = Field(default=None, gt=0)


class Rollout(Section):
    strategy: Literal["immediate", "canary", "shadow", "abTest"] = "immediate"
    steps: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    min_requests: int = Field(default=200, ge=1)
    analysis: dict[str, float] = {}
    on_no_evidence: Literal["hold", "promote", "rollBack"] = "hold"
    max_duration: Duration = timedelta(hours=24)
    sticky_header: str | None = None
    superseding: Literal["replace", "queue"] = "replace"
    keep_previous: Duration = timedelta(hours=1)
    probation: Duration = timedelta(0)


class Alert(Section):
    url_from: dict[str, str]
    events: tuple[str, ...] = Field(default=(), strict=False)


class ModelSpec(Section):
    suspend: bool = False
    data: Data
    triggers: Triggers = Triggers()
    window: Window = Window()
    training: Training
    evaluation: Evaluation
    rollout: Rollout = Rollout()
    alerts: tuple[Alert, ...] = Field(default=(), strict=False)


class Metadata(Section):
    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=53)


class ContinuousModel(Section):
    """The whole document."""

    api_version: Literal["trimtab.dev/v1alpha1"]
    kind: Literal["ContinuousModel"]
    metadata: Metadata
    spec: ModelSpec

    @property
    def name(self) -> str:
        return self.metadata.name
