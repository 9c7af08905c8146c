"""
From named columns to what an estimator takes, by the schema alone: the first step of every artifact.

Nothing is learned from the data but which columns were empty, so a model is served exactly as it was trained.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from trimtab.core.errors import Invalid
from trimtab.serving.columns import Coded, Columns

Floats = NDArray[np.float64]
NUMERIC = ("float", "int", "boolean")


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """
    Columns in the order of their names, as a float64 matrix or as a pandas frame.

    As a matrix: numbers as they are, booleans as 0 and 1, categories as the codes of the schema's values; missing,
    infinite and unseen are NaN; strings and timestamps are left out. As a frame: numbers and booleans as in the
    matrix, categories as `category` with the schema's values, strings as objects, timestamps as `datetime64[us, UTC]`.

    A column without a single value when fitted holds no information and would break estimators that bin or average
    it: it becomes a constant, then and when predicting.

    Args:
        columns: (name, type of the schema, values of a category) by column, in the order of their names.
        output: "matrix" or "frame".
    """

    def __init__(self, columns: tuple[tuple[str, str, tuple[str, ...]], ...] = (), output: str = "matrix") -> None:
        self.columns = columns
        self.output = output

    @property
    def used(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """The columns that reach the estimator, in order."""
        return [column for column in self.columns if self.output == "frame" or column[1] in (*NUMERIC, "category")]

    @property
    def categorical(self) -> list[bool]:
        """For each used column, whether it is a category."""
        return [kind == "category" for _, kind, _ in self.used]

    def fit(self, X: Columns, y: object = None) -> Self:  # noqa: N803 - scikit-learn's own name
        """Learn which columns are empty. Raises Invalid for a missing column or a value of another type."""
        self.empty_ = [
            name
            for name, kind, values in self.used
            if kind in (*NUMERIC, "category") and np.isnan(_numbers(X, name, kind, values)).all()
        ]
        self.n_features_in_ = len(self.used)
        return self

    def transform(self, X: Columns) -> Any:  # noqa: N803
        """The matrix or the frame. Raises Invalid for a missing column or a value of another type."""
        if self.output == "frame":
            return self._frame(X)
        encoded = [self._numbers(X, *column) for column in self.used]
        return np.stack(encoded, axis=1) if encoded else np.empty((0, 0))

    def _numbers(self, columns: Columns, name: str, kind: str, values: tuple[str, ...]) -> Floats:
        numbers = _numbers(columns, name, kind, values)
        return np.zeros_like(numbers) if name in self.empty_ else numbers

    def _frame(self, columns: Columns) -> Any:
        import pandas as pd

        series: dict[str, Any] = {}
        for name, kind, values in self.used:
            if kind == "category":
                codes = np.nan_to_num(self._numbers(columns, name, kind, values), nan=-1).astype(np.int64)
                series[name] = pd.Categorical.from_codes(
                    codes.tolist(), categories=pd.Index(list(values), dtype=object)
                )
            elif kind in NUMERIC:
                series[name] = self._numbers(columns, name, kind, values)
            elif kind == "timestamp":
                series[name] = _instants(pd, _column(columns, name), name)
            else:
                words = [None if _missing(value) else str(value) for value in _column(columns, name)]
                series[name] = pd.Series(words, dtype=object)
        return pd.DataFrame(series)


def _instants(pd: Any, column: Any, name: str) -> Any:
    try:
        # As text with or without fractions of a second, side by side: JSON leaves them out where they are 0.
        stamps = pd.to_datetime(pd.Series(column), utc=True, format="ISO8601")
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"column {name}: {str(error).splitlines()[0]}; the schema says timestamp",
            "write instants as ISO 8601, such as 2024-05-01T12:00:00Z, with null where one is missing",
        ) from error
    return stamps.astype("datetime64[us, UTC]").reset_index(drop=True)


def _column(columns: Columns, name: str) -> Any:
    try:
        return columns[name]
    except KeyError as error:
        raise Invalid(
            f"found no column {name!r}; the model needs it",
            "pass every feature of the spec's schema, with None where a value is missing",
        ) from error
    except Exception as error:
        # polars has an error of its own for a column that is not there.
        if type(error).__name__ != "ColumnNotFoundError":
            raise
        raise Invalid(f"found no column {name!r}; the model needs it", "pass every feature of the schema") from error


def _numbers(columns: Columns, name: str, kind: str, values: tuple[str, ...]) -> Floats:
    """One column as float64, NaN where it is missing, infinite or unseen."""
    column = _column(columns, name)
    numbers = _codes(column, values) if kind == "category" else _floats(column, name, kind)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _floats(column: Any, name: str, kind: str) -> Floats:
    # Nullable columns of pandas say themselves what stands for a missing value.
    try:
        if hasattr(column, "to_numpy") and hasattr(column, "array"):
            return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"column {name}: {error}; the schema says {kind}",
            "convert the column to numbers, with None where a value is missing",
        ) from error


def _codes(column: Any, values: tuple[str, ...]) -> Floats:
    """Positions in `values` as floats."""
    coded = column if isinstance(column, Coded) else _as_coded(column)
    position = {value: float(code) for code, value in enumerate(values)}
    if coded is None:
        return np.array([position.get(_word(value), np.nan) for value in column], dtype=np.float64)
    # One look-up a distinct value; the last place stands for a missing one.
    table = np.array([position.get(value, np.nan) for value in coded.values] + [np.nan])
    return table[np.where(coded.codes < 0, len(coded.values), coded.codes)]


def _as_coded(column: Any) -> Coded | None:
    """A categorical series of pandas, which holds codes already."""
    accessor: Any = getattr(column, "cat", None)
    if not hasattr(accessor, "codes"):
        return None
    return Coded(np.asarray(accessor.codes), tuple(_word(value) for value in accessor.categories))


def _missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")


def _word(value: Any) -> str:
    """
    A category's value as the schema writes it: whole numbers without a point, booleans in lower case.

    >>> _word(3.0), _word("AA"), _word(True)
    ('3', 'AA', 'true')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
