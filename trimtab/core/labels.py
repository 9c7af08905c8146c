"""
One label as somebody sends it: which prediction it belongs to, whether its value is one that the target can have, and
when it was true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.core.errors import Invalid
from trimtab.core.predictions import Label
from trimtab.core.records import canonical
from trimtab.core.spec.model import Column, Data
from trimtab.core.words import FALSE_WORDS, NULL_WORDS, TRUE_WORDS

REQUEST_ID, ROW, LABEL_TIME = "requestId", "row", "labelTime"
AHEAD = timedelta(days=1)  # by which a sender's clock may be fast; later times are mistakes, and would win for ever
MOST_ROWS = 2**31  # of a request, far beyond what one may have
LONGEST_ID = 1000  # characters; what the gateway makes has 36

Value = float | bool | str


def read_label(item: Mapping[str, Any], data: Data, received: datetime) -> Label:
    """
    One label by the names of its fields: `requestId` (and `row`), or the key's columns; the target; `labelTime`.

    Args:
        item: As JSON, csv or parquet give it; other fields are ignored.
        received: When it came.

    Raises:
        Invalid: Says which field, what was found and what was needed.
    """
    if item.get(data.target) is None:
        raise Invalid(f"{data.target}: a label needs the target's value; found {_names(item)}")
    value = read_value(item[data.target], data.described[data.target], data.target)
    at = _label_time(item.get(LABEL_TIME), received)
    if data.labels.join_by == "key":
        missing = [name for name in data.key if item.get(name) is None]
        if missing:
            raise Invalid(
                f"{missing[0]}: spec.data.labels.joinBy says key, {_listed(data.key)}; found {_names(item)}",
                "send the key's columns with the label",
            )
        key = [_plain(item[name]) for name in data.key]
        key_text(key, data)
        return Label(key=key, value=value, at=at, received=received.timestamp())
    name = item.get(REQUEST_ID)
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
        raise Invalid(
            f"{REQUEST_ID}: found {_shown(name)}; needed the id of the request that was answered, as text",
            "send the x-request-id (or Seldon-Puid) that came with the prediction",
        )
    row = _row_number(item.get(ROW))
    return Label(id=name, row=row, value=value, at=at, received=received.timestamp())


def read_value(value: Any, column: Column, name: str) -> Value:
    """
    A target's value, as JSON or a file's text gives it.

    Raises:
        Invalid: If the target cannot have it by the schema.

    >>> read_value("yes", Column(type="boolean"), "delayed")
    True
    >>> read_value("2.50", Column(type="float", min=0), "count")
    2.5
    """
    if isinstance(value, str):
        value = value.strip()
        if value in NULL_WORDS and value not in column.values:
            raise Invalid(f"{name}: found {value!r}; a label needs a value", "leave the label out until it is known")
    if column.type == "boolean":
        return _boolean(value, name)
    if column.type == "category":
        return _category(value, column, name)
    return _number(value, column, name)


def _boolean(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, (str, int, float)) else ""
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise Invalid(f"{name}: found {_shown(value)}; needed true or false")


def _category(value: Any, column: Column, name: str) -> str:
    text = "" if isinstance(value, (list, dict)) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    elif text not in column.values and isinstance(value, float):
        text = text.removesuffix(".0")  # codes with gaps come out of pandas as 1.0
    if text not in column.values:
        raise Invalid(f"{name}: found {_shown(value)}; needed one of {_listed(column.values)}")
    return text


def _number(value: Any, column: Column, name: str) -> float:
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Invalid(f"{name}: found {_shown(value)}; needed a finite number")
    if column.type == "int" and number != round(number):
        raise Invalid(f"{name}: found {_shown(value)}; needed a whole number")
    if column.min is not None and number < column.min:
        raise Invalid(f"{name}: found {number:g}; the schema's min is {column.min:g}")
    if column.max is not None and number > column.max:
        raise Invalid(f"{name}: found {number:g}; the schema's max is {column.max:g}")
    return number


def _row_number(value: Any) -> int:
    if value is None or value == "":
        return 0
    try:
        number = int(value) if isinstance(value, (str, int)) or value == round(value) else -1
    except (TypeError, ValueError, OverflowError):
        number = -1
    if isinstance(value, bool) or not 0 <= number < MOST_ROWS:
        raise Invalid(f"{ROW}: found {_shown(value)}; needed the row's number in its request, from 0")
    return number


def _label_time(value: Any, received: datetime) -> float:
    if value is None or value == "":
        return received.timestamp()
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (AttributeError, ValueError):
        raise Invalid(f"{LABEL_TIME}: found {_shown(value)}; needed ISO 8601, such as 2026-03-01T12:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if moment > received + AHEAD:
        raise Invalid(
            f"{LABEL_TIME}: found {moment.isoformat()}, which lies ahead of now ({received.isoformat()})",
            "send when the value was true; without it, it counts as true when it comes",
        )
    return moment.timestamp()


# Keys


def key_text(key: Sequence[Any], data: Data) -> str:
    """
    A key's values as one text, the same however they were written: 5, 5.0 and "5" are one number.

    Raises:
        Invalid: If a value cannot be of its column's type.
    """
    return canonical([_same(value, name, data) for value, name in zip(key, data.key, strict=True)]).decode()


def _same(value: Any, name: str, data: Data) -> Any:
    column = data.described.get(name)
    kind = "timestamp" if name == data.timestamp else column.type if column else "string"
    try:
        if kind == "timestamp":
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
        if kind in ("int", "float"):
            return _same_number(value, kind)
        if kind == "boolean":
            return _boolean(value, name)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"{name}: found {_shown(value)} in the key; it is no {kind}") from None
    return str(int(value)) if isinstance(value, float) and value == round(value) else str(value)


def _same_number(value: Any, kind: str) -> int | float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(number)
    if kind == "float":
        return number
    try:
        # Not by way of the float: it holds only 53 bits of an identifier.
        return int(value) if not isinstance(value, float) or number == round(number) else number
    except ValueError:
        return int(number) if number == round(number) else number  # "5.0", as codes with gaps come out of pandas


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


# Words


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:80]


def _names(item: Mapping[str, Any]) -> str:
    return _listed([name for name, value in item.items() if value is not None]) or "nothing"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
