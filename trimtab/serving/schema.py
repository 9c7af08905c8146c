"""
A request's columns, read by the spec that the version was trained by: the same rules that set rows aside before
training.

Written for one row at a time: a column of numbers costs one comparison a value, and no arrays are made before every
value has passed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from trimtab.core.spec.data import Column, Data
from trimtab.serving.columns import Coded
from trimtab.serving.predict import Classes
from trimtab.serving.refusal import Refused, shown
from trimtab.serving.table import ABSENT, Table

Reader = Callable[[list[Any]], tuple[Any, list[Any]]]
LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Checked:
    """
    Rows that passed.

    `encoded` holds by column what the estimator's matrix takes (numbers, codes of categories, None where missing; of
    strings and timestamps arrays for a frame); `logged` what came, `passed` the key and the timestamp.
    """

    encoded: dict[str, Any]
    logged: dict[str, list[Any]]
    passed: dict[str, list[Any]]
    rows: int
    unknown: int


class Schema:
    """
    The columns of one model version.

    Args:
        data: The spec's data section.
        columns: Name, type and values by column, as the version's own encoder has them.
    """

    def __init__(self, data: Data, columns: tuple[tuple[str, str, tuple[str, ...]], ...]) -> None:
        described = data.described
        self.columns = columns
        self.features = tuple(name for name, _, _ in columns)
        self.target = data.target
        self.target_type = described[data.target].type
        self.classes: Classes = _classes(described[data.target])
        self.passed = tuple(name for name in dict.fromkeys((*data.key, data.timestamp)) if name not in self.features)
        self._read = {name: reader(name, described[name], kind, values) for name, kind, values in columns}
        self._kinds = {name: kind for name, kind, _ in columns}
        # Known and of no use: a client may send the row as the warehouse has it.
        self.known = frozenset((*self.features, *self.passed, *data.exclude, data.target, *described))
        self._label = reader(data.target, described[data.target], self.target_type, described[data.target].values)

    def check(self, table: Table) -> Checked:
        """
        Every feature's values, checked.

        Raises:
            Refused: For the first column that is missing or holds a value that the schema refuses.
        """
        given = table.columns
        encoded: dict[str, Any] = {}
        logged: dict[str, list[Any]] = {}
        for name, read in self._read.items():
            values = given.get(name)
            if values is None:
                raise Refused(name, f"the column is missing; the model needs {', '.join(self.features)}")
            encoded[name], logged[name] = read(values)
        passed = {name: _scalars(name, given[name]) for name in self.passed if name in given}
        unknown = table.unknown + sum(name not in self.known for name in given)
        return Checked(encoded, logged, passed, table.rows, unknown)

    def arrays(self, encoded: dict[str, Any]) -> dict[str, Any]:
        """What the version's own encoder takes, of `Checked.encoded`."""
        made: dict[str, Any] = {}
        for name, kind, values in self.columns:
            column = encoded[name]
            if kind == "category":
                made[name] = Coded(np.array([-1 if code is None else int(code) for code in column]), values)
            else:
                made[name] = column
        return made

    def label(self, value: Any, field: str) -> Any:
        """
        A true value of the target, as the log holds it.

        Raises:
            Refused: If it is none of the target's.
        """
        if value is None:
            raise Refused(field, "found null; a label is a value of the target")
        try:
            return self._label([value])[1][0]
        except Refused as refused:
            raise Refused(field, str(refused)) from None


def _classes(target: Column) -> Classes:
    if target.type == "boolean":
        return (False, True)
    return target.values if target.type == "category" else ()


def reader(name: str, column: Column, kind: str, values: tuple[str, ...]) -> Reader:
    """Reads one column: what the estimator takes, and what the log keeps. It raises Refused."""
    if kind in ("float", "int"):
        return _numbers(name, column, kind)
    if kind == "boolean":
        return _booleans(name, column)
    if kind == "category":
        return _categories(name, column, values)
    return _strings(name, column) if kind == "string" else _timestamps(name, column)


def _numbers(name: str, column: Column, kind: str) -> Reader:
    low = -LARGEST if column.min is None else column.min
    high = LARGEST if column.max is None else column.max
    whole = kind == "int"

    def read(values: list[Any]) -> tuple[list[Any], list[Any]]:
        for row, value in enumerate(values):
            form = type(value)
            # NaN and infinity fail the comparison too.
            if (form is float or form is int) and low <= value <= high:
                if whole and form is float and not value.is_integer():
                    raise Refused(name, f"row {row} holds {shown(value)}; it is a whole number")
                continue
            if value is None and column.nullable:
                continue
            raise _bad_number(name, row, value, column, kind)
        return values, values

    return read


def _bad_number(name: str, row: int, value: Any, column: Column, kind: str) -> Refused:
    if isinstance(value, float) and not math.isfinite(value):
        return Refused(name, f"row {row} holds {value}, which is no number; null says that a value is missing")
    if type(value) in (float, int):
        least = "any" if column.min is None else f"{column.min:g}"
        most = "any" if column.max is None else f"{column.max:g}"
        return Refused(name, f"row {row} holds {shown(value)}; valid is {least} to {most}")
    return _bad(name, row, value, column, f"a number ({kind})")


def _bad(name: str, row: int, value: Any, column: Column, needed: str) -> Refused:
    if value is ABSENT:
        return Refused(name, f"row {row} lacks it; every row must name every feature, with null where it is missing")
    if value is None and not column.nullable:
        return Refused(name, f"row {row} holds null; the schema says nullable: false")
    return Refused(name, f"row {row} holds {shown(value)}; it is {needed}")


def _booleans(name: str, column: Column) -> Reader:
    def read(values: list[Any]) -> tuple[list[Any], list[Any]]:
        encoded: list[float | None] = []
        logged: list[bool | None] = []
        for row, value in enumerate(values):
            if value is None and column.nullable:
                encoded.append(None)
                logged.append(None)
            # A tensor has no booleans: 0 and 1 stand for them.
            elif type(value) is bool or (type(value) in (int, float) and value in (0, 1)):
                encoded.append(float(value))
                logged.append(bool(value))
            else:
                raise _bad(name, row, value, column, "a boolean")
        return encoded, logged

    return read


def _categories(name: str, column: Column, values: tuple[str, ...]) -> Reader:
    codes = {value: float(code) for code, value in enumerate(values)}
    unseen_is_missing = column.on_new == "missing"

    def read(given: list[Any]) -> tuple[list[Any], list[Any]]:
        encoded: list[float | None] = []
        logged: list[str | None] = []
        for row, value in enumerate(given):
            if value is None and column.nullable:
                encoded.append(None)
                logged.append(None)
                continue
            word = value if type(value) is str else _as_word(value)
            if word is None:
                raise _bad(name, row, value, column, "a category, as a string")
            code = codes.get(word)
            if code is None and not unseen_is_missing:
                raise Refused(name, f"row {row} holds {shown(value)}; the schema lists {', '.join(values[:20])}")
            encoded.append(code)
            logged.append(word)
        return encoded, logged

    return read


def _as_word(value: Any) -> str | None:
    """A number or boolean as the schema writes it as a category: whole numbers without a point."""
    if type(value) is bool:
        return str(value).lower()
    if type(value) is float and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value) if type(value) is int else None


def _strings(name: str, column: Column) -> Reader:
    def read(values: list[Any]) -> tuple[Any, list[Any]]:
        for row, value in enumerate(values):
            if type(value) is not str and not (value is None and column.nullable):
                raise _bad(name, row, value, column, "a string")
        return np.array(values, dtype=object), values

    return read


def _timestamps(name: str, column: Column) -> Reader:
    def read(values: list[Any]) -> tuple[Any, list[Any]]:
        times: list[Any] = []
        for row, value in enumerate(values):
            if value is None and column.nullable:
                times.append(np.datetime64("NaT", "us"))
                continue
            try:
                time = datetime.fromisoformat(value)
                times.append(np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "us"))
            except (TypeError, ValueError, OverflowError):
                raise _bad(name, row, value, column, "a time such as 2026-01-31T12:00:00Z") from None
        return np.array(times, dtype="datetime64[us]"), values

    return read


def _scalars(name: str, values: list[Any]) -> list[Any]:
    """A key's or timestamp's values: kept as they came, for joining labels and for the time of the row."""
    for row, value in enumerate(values):
        if type(value) in (str, int, bool) or value is None:
            continue
        if type(value) is float and math.isfinite(value):
            continue
        if value is ABSENT:
            raise Refused(name, f"row {row} lacks it, while others name it")
        raise Refused(name, f"row {row} holds {shown(value)}; a key or time is one value")
    return values
