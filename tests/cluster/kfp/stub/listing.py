"""Filters, orders and pages of a list, with their quirks."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from messages import Json, shown
from refusals import Refused

OPERATIONS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
KEYS: dict[str, dict[str, str]] = {
    "Run": {
        "run_id": "run_id",
        "id": "run_id",
        "display_name": "display_name",
        "name": "display_name",
        **{key: key for key in ("created_at", "finished_at", "scheduled_at", "description", "storage_state")},
        **{key: key for key in ("status", "state", "state_history", "namespace", "experiment_id")},
        "recurring_run_id": "recurring_run_id",
    },
    "Job": {
        "recurring_run_id": "recurring_run_id",
        "id": "recurring_run_id",
        "name": "display_name",
        **{key: key for key in ("display_name", "created_at", "updated_at", "description")},
    },
    "Experiment": {
        "experiment_id": "experiment_id",
        "id": "experiment_id",
        "name": "display_name",
        **{key: key for key in ("display_name", "created_at", "last_run_created_at", "description", "namespace")},
        "storage_state": "storage_state",
    },
    "Pipeline": {
        "pipeline_id": "pipeline_id",
        "id": "pipeline_id",
        **{key: key for key in ("name", "display_name", "created_at", "description", "namespace")},
    },
    "PipelineVersion": {
        "pipeline_version_id": "pipeline_version_id",
        "id": "pipeline_version_id",
        **{key: key for key in ("name", "display_name", "created_at", "status", "description", "pipeline_spec")},
    },
}
IDS = {
    "Run": "run_id",
    "Job": "recurring_run_id",
    "Experiment": "experiment_id",
    "Pipeline": "pipeline_id",
    "PipelineVersion": "pipeline_version_id",
}
DEFAULT_PAGE, MOST = 20, 200


def page(kind: str, list_key: str, items: Sequence[Json], query: dict[str, str], ordered_only: bool = False) -> Json:
    """
    One page of the items, as the server answers it.

    Args:
        ordered_only: Whether comparisons are refused, as where pipelines stand in Kubernetes.
    """
    size = int(query.get("page_size") or 0)
    if size < 0:
        raise Refused(3, f"The page size should be greater than 0. Got {size}")
    size = min(size or DEFAULT_PAGE, MOST)
    filtered = _decoded(query.get("filter", ""))
    field, descending = _order(kind, query.get("sort_by", ""))
    token = query.get("page_token", "")
    if token:
        held = _token(token)
        if query.get("sort_by") and (held["SortByFieldName"], held["IsDesc"]) != (field, descending):
            raise Refused(3, "page token does not match the supplied sort by and/or filtering criteria")
        if filtered and held["Filter"] != filtered:
            raise Refused(3, "page token does not match the supplied sort by and/or filtering criteria")
        field, descending, filtered = held["SortByFieldName"], held["IsDesc"], held["Filter"]
    found = [each for each in items if _matches(kind, each, filtered, ordered_only)]
    id_field = IDS[kind]
    found.sort(key=lambda each: (str(each.get(field) or ""), each[id_field]), reverse=descending)
    start = 0
    if token:
        ids = [each[id_field] for each in found]
        start = ids.index(held["KeyFieldValue"]) if held["KeyFieldValue"] in ids else len(ids)
    shown_page, rest = found[start : start + size], found[start + size :]
    answer: Json = {list_key: [shown(each) for each in shown_page]} if shown_page else {}
    if found:
        answer["total_size"] = len(found)
    if rest:
        answer["next_page_token"] = _token_of(rest[0], field, descending, filtered, id_field)
    return answer


def _decoded(filtered: str) -> str:
    """The query's value is decoded once more: the real server does."""
    if not filtered:
        return ""
    if re.search(r"%(?![0-9A-Fa-f]{2})", filtered):
        raise Refused(3, f'failed to parse valid filter from "{filtered}": invalid URL escape')
    return unquote(filtered.replace("+", " "))


def _matches(kind: str, item: Json, filtered: str, ordered_only: bool) -> bool:
    if not filtered:
        return True
    try:
        predicates = json.loads(filtered).get("predicates", [])
    except (ValueError, AttributeError):
        raise Refused(3, f'failed to parse valid filter from "{filtered}"') from None
    return all(_holds(kind, item, each, ordered_only) for each in predicates)


def _holds(kind: str, item: Json, predicate: Json, ordered_only: bool) -> bool:
    operation = predicate.get("operation", 0)
    operation = OPERATIONS.get(operation, str(operation))
    key = KEYS[kind].get(str(predicate.get("key")))
    if key is None:
        raise Refused(3, f'no support for filtering on unrecognized field "{predicate.get("key")}"')
    value = item.get(key) or ""
    wanted, listed = _value(predicate)
    if operation == "IN" and not listed:
        raise Refused(3, "cannot use IN operator with scalar type string")
    if ordered_only and operation.startswith(("GREATER", "LESS")):
        word = "gt" if operation.startswith("GREATER") else "lt"
        raise Refused(3, f"Filter {word} is not implemented for Kubernetes pipeline store")
    if operation == "IN":
        return _folded(value) in {_folded(each) for each in wanted}
    if operation == "IS_SUBSTRING":
        pattern = re.escape(_folded(wanted)).replace("_", ".").replace("%", ".*")
        return re.search(pattern, _folded(value)) is not None
    comparisons: dict[str, Any] = {
        "EQUALS": lambda: _folded(value) == _folded(wanted),
        "NOT_EQUALS": lambda: _folded(value) != _folded(wanted),
        "GREATER_THAN": lambda: str(value) > str(wanted),
        "GREATER_THAN_EQUALS": lambda: str(value) >= str(wanted),
        "LESS_THAN": lambda: str(value) < str(wanted),
        "LESS_THAN_EQUALS": lambda: str(value) <= str(wanted),
    }
    if operation not in comparisons:
        raise Refused(3, f'failed to parse valid filter from "{json.dumps(predicate)}"')
    return bool(comparisons[operation]())


def _value(predicate: Json) -> tuple[Any, bool]:
    for name in ("string_values", "stringValues"):
        if name in predicate:
            return predicate[name].get("values", []), True
    names = ("string_value", "stringValue", "int_value", "intValue", "long_value", "longValue")
    for name in (*names, "timestamp_value", "timestampValue"):
        if name in predicate:
            return predicate[name], False
    return "", False


def _folded(value: Any) -> str:
    """How the database compares text: without case and trailing spaces."""
    return str(value).rstrip(" ").lower()


def _order(kind: str, sort_by: str) -> tuple[str, bool]:
    if not sort_by:
        return "created_at", False
    words = sort_by.split()
    if len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
        raise Refused(
            3, f'Received invalid sort by format "{sort_by}". Supported format: "field_name", "field_name desc"'
        )
    if words[0] not in KEYS[kind]:
        raise Refused(3, f'Invalid sorting field: "{words[0]}" on listable type {kind}')
    return KEYS[kind][words[0]], words[1:] == ["desc"]


def _token_of(item: Json, field: str, descending: bool, filtered: str, id_field: str) -> str:
    body = {
        "SortByFieldName": field,
        "SortBySQLColumn": field,
        "SortByFieldValue": item.get(field) or "",
        "KeyFieldName": "UUID",
        "KeyFieldValue": item[id_field],
        "IsDesc": descending,
        "Filter": filtered,
    }
    return base64.b64encode(json.dumps(body).encode()).decode()


def _token(token: str) -> Json:
    try:
        held: Json = json.loads(base64.b64decode(token, validate=True))
        held["KeyFieldValue"], held["SortByFieldName"], held["IsDesc"], held["Filter"]
    except (ValueError, KeyError, TypeError):
        raise Refused(3, "Invalid page token") from None
    return held
