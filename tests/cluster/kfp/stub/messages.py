"""The messages' fields: what is accepted in either spelling, and how they are written out."""

from __future__ import annotations

import re
import time
from typing import Any

from refusals import Plain

Json = dict[str, Any]

NEVER = "1970-01-01T00:00:00Z"
TIMES = ("created_at", "updated_at", "scheduled_at", "finished_at", "last_run_created_at", "update_time")
LONGS = ("max_concurrency", "interval_second")
STRUCTS = ("pipeline_spec", "parameters", "platform_spec")  # users' own keys, never touched
REFERENCE: Json = {"pipeline_id": {}, "pipeline_version_id": {}}
CONFIG: Json = {"parameters": None, "pipeline_root": {}}
TRIGGER: Json = {
    "cron_schedule": {"cron": {}, "start_time": {}, "end_time": {}},
    "periodic_schedule": {"interval_second": {}, "start_time": {}, "end_time": {}},
}
SOURCE: Json = {"pipeline_spec": None, "pipeline_version_reference": REFERENCE, "pipeline_version_id": {}}
COMMON: Json = {"display_name": {}, "description": {}, "created_at": {}, "namespace": {}, "error": None}
FIELDS: dict[str, Json] = {
    "run": {
        **COMMON,
        **SOURCE,
        **{name: {} for name in ("experiment_id", "run_id", "storage_state", "service_account", "recurring_run_id")},
        **{name: {} for name in ("scheduled_at", "finished_at", "state")},
        "runtime_config": CONFIG,
        "run_details": None,
        "state_history": None,
    },
    "experiment": {**COMMON, "experiment_id": {}, "storage_state": {}, "last_run_created_at": {}},
    "pipeline": {**COMMON, "pipeline_id": {}, "name": {}, "tags": None},
    "version": {
        **COMMON,
        "pipeline_id": {},
        "pipeline_version_id": {},
        "name": {},
        "tags": None,
        "pipeline_spec": None,
        "package_url": None,
        "code_source_url": {},
    },
    "recurring": {
        **COMMON,
        **SOURCE,
        **{name: {} for name in ("experiment_id", "recurring_run_id", "mode", "status", "max_concurrency")},
        **{name: {} for name in ("no_catchup", "updated_at", "service_account")},
        "runtime_config": CONFIG,
        "trigger": TRIGGER,
    },
}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def accepted(body: Any, fields: Json, text: str) -> Json:
    """The message in snake_case. Refuses a field that it does not have."""
    if not isinstance(body, dict):
        raise Plain(3, "proto: syntax error (line 1:1): unexpected token")
    found: Json = {}
    for name, value in body.items():
        known = snake(name)
        if known not in fields:
            raise Plain(3, f'proto: (line 1:{text.find(f"{chr(34)}{name}{chr(34)}") + 1}): unknown field "{name}"')
        inner = fields[known]
        found[known] = accepted(value, inner, text) if inner and isinstance(value, dict) else value
    return found


def shown(message: Json) -> Json:
    """As the server writes it: nothing that is empty but times; 64-bit numbers as text."""
    out: Json = {}
    for name, value in message.items():
        if name in STRUCTS:
            if value:
                out[name] = value
        elif name in TIMES:
            out[name] = value or NEVER
        elif isinstance(value, dict):
            if inner := shown(value):
                out[name] = inner
        elif isinstance(value, list):
            if value:
                out[name] = [shown(each) if isinstance(each, dict) else each for each in value]
        elif name in LONGS:
            if int(value or 0):
                out[name] = str(value)
        elif value not in (None, "", 0, False):
            out[name] = value
    return out


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
