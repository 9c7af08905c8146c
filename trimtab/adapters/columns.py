"""Rows of a dataset as what the serving code takes: columns by name, the truth, the target's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.core.spec.model import Column, Data
from trimtab.serving.columns import Coded
from trimtab.serving.predict import Classes

SchemaColumns = tuple[tuple[str, str, tuple[str, ...]], ...]
Floats = NDArray[np.float64]


def schema_columns(data: Data) -> SchemaColumns:
    """(name, type, values) of every feature, in the order of their names: what the encoder is made of."""
    described = data.described
    return tuple((name, described[name].type, described[name].values) for name in data.features)


def classes(data: Data) -> Classes:
    """The target's classes in the order of their codes; empty for a regression."""
    target = data.described[data.target]
    if target.type == "boolean":
        return (False, True)
    return target.values if target.type == "category" else ()


def to_columns(rows: pl.DataFrame, columns: SchemaColumns) -> dict[str, Any]:
    """
    The rows' features for `Encoder`; a column that the rows lack is left out, and the encoder names it.

    Categories go by code, because a Python string a row costs more than the fit.
    """
    return {name: _array(rows[name], kind, values) for name, kind, values in columns if name in rows.columns}


def truth(rows: pl.DataFrame, data: Data) -> Floats:
    """The target by row: numbers, or codes of classes in the schema's order; NaN where unlabelled."""
    target = data.described[data.target]
    array = _array(rows[data.target], target.type, target.values)
    if isinstance(array, Coded):
        return np.where(array.codes < 0, np.nan, array.codes)
    return np.asarray(array, dtype=np.float64)


def labels(y: Floats, of: Classes) -> NDArray[Any]:
    """What the estimator is fitted on: numbers, booleans, or the classes' own words."""
    if not of:
        return y
    return y.astype(np.intp) == 1 if of == (False, True) else np.asarray(of, dtype=str)[y.astype(np.intp)]


def labelled(rows: pl.DataFrame, data: Data) -> pl.DataFrame:
    """The rows that have a target."""
    target = rows[data.target]
    missing = target.is_null() | target.is_nan() if target.dtype.is_float() else target.is_null()
    return rows.filter(~missing)


def slice_values(rows: pl.DataFrame, name: str, column: Column) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Codes and names of a category's or boolean's values, for metrics by slice; a code below 0 is missing."""
    values = ("false", "true") if column.type == "boolean" else column.values
    if column.type == "boolean":
        return np.nan_to_num(_array(rows[name], "boolean", ()), nan=-1).astype(np.intp), values
    coded = _array(rows[name], "category", values)
    return coded.codes.astype(np.intp), values


def _array(series: pl.Series, kind: str, values: tuple[str, ...]) -> Any:
    if kind == "category":
        codes = series.cast(pl.String).cast(pl.Enum(values), strict=False).to_physical()
        return Coded(codes.cast(pl.Int32).fill_null(-1).to_numpy(), values)
    if kind == "timestamp":
        return series.dt.replace_time_zone(None).to_numpy()
    if kind == "string":
        return np.array(series.to_list(), dtype=object)
    return series.cast(pl.Float64).to_numpy()
