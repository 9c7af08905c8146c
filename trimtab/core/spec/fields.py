"""Base and field types of every section: what is accepted, how it is written back, how an editor sees it."""

from __future__ import annotations

from datetime import timedelta
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from trimtab.core.metrics import METRICS
from trimtab.core.spec.units import (
    DURATION_PATTERN,
    HOLDOUT_PATTERN,
    POSITIVE_PATTERN,
    S3_PATTERN,
    Unfit,
    check_cron,
    check_prefix,
    check_time_zone,
    format_duration,
    format_holdout,
    parse_duration,
    parse_holdout,
    split_s3,
)


class Section(BaseModel):
    """Base of every section: camelCase in YAML, unknown keys refused, nothing converted silently."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise Unfit("it is longer than 0s", "write it as 30s, 10m, 6h, 1d or 2w")
    return value


def _address(value: str) -> str:
    split_s3(value)
    return value


def _metric(value: str) -> str:
    if value not in METRICS:
        close = get_close_matches(value.lower(), METRICS, n=1)
        hint = f"did you mean {close[0]}?" if close else "take one of these"
        raise Unfit(f"a metric is one of {', '.join(METRICS)}", hint)
    return value


def _finite(parameters: dict[str, Any]) -> dict[str, Any]:
    """JSON, which digests are made of, has no inf and no nan."""
    for name, value in parameters.items():
        inside = [value]
        while inside:
            item = inside.pop()
            if isinstance(item, float) and not isfinite(item):
                raise Unfit(f"{name} holds {item}; a parameter is a finite number", "write a number, or leave it out")
            inside += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return parameters


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": 13, "examples": ["30s", "6h", "2w"]}),
]
PositiveDuration = Annotated[
    Duration,
    AfterValidator(_positive),
    WithJsonSchema({"type": "string", "pattern": POSITIVE_PATTERN, "maxLength": 13, "examples": ["30s", "6h", "2w"]}),
]
Holdout = Annotated[
    timedelta | int,
    BeforeValidator(parse_holdout),
    PlainSerializer(format_holdout, return_type=str),
    WithJsonSchema({"type": "string", "pattern": HOLDOUT_PATTERN, "maxLength": 17, "examples": ["2w", "5000 rows"]}),
]
Prefix = Annotated[
    str, AfterValidator(check_prefix), WithJsonSchema({"type": "string", "pattern": r"^s3://[^/]{3,63}(/(.*/)?)?$"})
]
Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": S3_PATTERN})]
Cron = Annotated[str, AfterValidator(check_cron)]
TimeZone = Annotated[str, AfterValidator(check_time_zone)]
MetricName = Annotated[str, AfterValidator(_metric), WithJsonSchema({"type": "string", "enum": list(METRICS)})]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Parameters = Annotated[dict[str, Any], AfterValidator(_finite)]
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
