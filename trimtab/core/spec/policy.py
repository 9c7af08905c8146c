"""When to train, and on which rows: the triggers and window sections."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from trimtab.core.spec.fields import Cron, Duration, MetricName, PositiveDuration, Section, TimeZone


class UploadTrigger(Section):
    """Train when enough new rows have come."""

    min_new_rows: int = Field(
        default=1, ge=1, description="Valid, labelled, mature rows that no training run was offered yet."
    )
    settle: Duration = Field(
        default=timedelta(seconds=30),
        description="A batch closes when no object has arrived for this long (wall time), at most 10 times this after "
        "its first.",
    )


class ScheduleTrigger(Section):
    """Train at set times."""

    cron: Cron = Field(description="Five fields, as in a CronJob: minute hour day month weekday. Missed slots are one.")
    time_zone: TimeZone = Field(default="Etc/UTC", description="IANA name of the zone the cron line is read in.")


class DriftTrigger(Section):
    """Train when the data differs from what the champion learned."""

    false_alarms_per_year: float = Field(
        default=2, gt=0, description="How many alarms a year you accept where nothing has changed."
    )
    min_effect: float = Field(
        default=0.1, ge=0, le=1, description="Smallest Jensen-Shannon distance that matters, 0 to 1."
    )


class PerformanceTrigger(Section):
    """Train when the champion has become worse, proven on mature rows."""

    metric: MetricName = Field(description="Metric that is watched.")
    worse_than: float | None = Field(
        default=None, description="Fires beyond this value, in the metric's unit and direction."
    )
    drop_from_baseline: float | None = Field(
        default=None,
        gt=0,
        description="Or: fires when it is this much worse than in the champion's own evaluation, in the metric's unit.",
    )
    over_rows: int = Field(default=5000, ge=1, description="Newest mature rows it is measured on.")


class Budget(Section):
    """Limits over the last 24 hours; failed runs count. Beyond one, the next run waits."""

    runs_per_day: int | None = Field(default=None, ge=1, description="Training runs in 24 hours; null: no limit.")
    training_seconds_per_day: float | None = Field(
        default=None, gt=0, description="Wall seconds of all fits in 24 hours; null: no limit."
    )


class Triggers(Section):
    """What starts a training run; without any, only `trimtab run` and a changed recipe do."""

    upload: UploadTrigger | None = Field(default=None, description="New rows; null: uploads start nothing.")
    schedule: ScheduleTrigger | None = Field(default=None, description="Set times; null: none.")
    drift: DriftTrigger | None = Field(default=None, description="Changed data; null: drift is evidence only.")
    performance: PerformanceTrigger | None = Field(default=None, description="A worse champion; null: not watched.")
    cooldown: Duration = Field(
        default=timedelta(0),
        description="Shortest time from the end of a run, of any outcome, to the next; on-demand runs are exempt.",
    )
    budget: Budget = Field(default=Budget(), description="Limits over the last 24 hours.")


class Window(Section):
    """The rows a candidate learns from."""

    strategy: Literal["fixed", "all", "dynamic", "representative"] = Field(
        default="all",
        description="all: everything. fixed: the newest `size`. dynamic: the best of `candidates`. representative: "
        "rows that look like the newest.",
    )
    size: PositiveDuration | None = Field(default=None, description="Length of a fixed window, in event time.")
    candidates: tuple[PositiveDuration, ...] = Field(
        default=(), strict=False, max_length=20, description="Lengths that dynamic chooses among."
    )
    min_rows: int = Field(default=1000, ge=1, description="Fewer labelled rows than this fail the run.")
    min_class_ratio: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Smallest share of the rarest class, 0 to 0.5; a window below it fails the run.",
    )
