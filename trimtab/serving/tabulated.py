"""
Preparation of single rows without scikit-learn's cost per call.

A ColumnTransformer takes about a millisecond to see that a row is a row, ten times what the trees behind it take. What
it does to a column of codes or numbers is fixed once it is fitted, so it is written down here as tables. A table takes
its place only if it gives the very same matrix on rows that hold every code of every category, missing values and
numbers of all sizes; else the transformer stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PROBES = 64  # rows at least, of random numbers, beside every code once


class Tabulated:
    """
    What a fitted ColumnTransformer does, as tables.

    Args:
        transformer: With parts that code, one-hot encode, fill or pass on columns.
        categories: For each column of the input the number of its codes, 0 for numbers.

    Raises:
        TypeError: If a part is of another kind.
    """

    def __init__(self, transformer: Any, categories: list[int]) -> None:
        self._codes: list[tuple[int, int, Floats]] = []  # from column, to column, value by code; the last one is NaN's
        self._hot: list[tuple[int, NDArray[np.intp]]] = []  # from column, to column by code; -1 for none
        self._kept: list[tuple[int, int]] = []
        self._filled: list[tuple[int, int, float]] = []
        self._categories = categories
        self.width = 0
        places = np.arange(len(categories))
        for name, part, chosen in transformer.transformers_:
            if name == "remainder" and isinstance(part, str) and part == "drop":
                continue
            self._add(part, places[chosen].tolist())
        self._from = np.array([source for source, _ in self._kept], dtype=np.intp)
        self._to = np.array([target for _, target in self._kept], dtype=np.intp)

    def transform(self, X: Floats) -> Floats:  # noqa: N803 - scikit-learn's own name
        made = np.zeros((len(X), self.width))
        made[:, self._to] = X[:, self._from]
        for source, target, value in self._filled:
            column = X[:, source]
            made[:, target] = np.where(np.isnan(column), value, column)
        for source, target, table in self._codes:
            made[:, target] = table[self._index(X[:, source], source)]
        for source, targets in self._hot:
            columns = targets[self._index(X[:, source], source)]
            seen = columns >= 0
            made[np.arange(len(X))[seen], columns[seen]] = 1.0
        return made

    def _index(self, codes: Floats, source: int) -> NDArray[np.intp]:
        return np.where(np.isnan(codes), self._categories[source], codes).astype(np.intp)

    def _add(self, part: Any, sources: list[int]) -> None:
        kind = type(part).__name__
        if kind == "OrdinalEncoder":
            for source, known in zip(sources, part.categories_, strict=True):
                table = np.full(self._categories[source] + 1, np.nan)
                for place, code in enumerate(known):
                    if not np.isnan(code):
                        table[int(code)] = place
                self._codes.append((source, self._next(), table))
        elif kind == "OneHotEncoder":
            for source, known in zip(sources, part.categories_, strict=True):
                targets = np.full(self._categories[source] + 1, -1, dtype=np.intp)
                for code in known:
                    targets[self._categories[source] if np.isnan(code) else int(code)] = self._next()
                self._hot.append((source, targets))
        elif kind == "SimpleImputer":
            for source, value in zip(sources, part.statistics_, strict=True):
                self._filled.append((source, self._next(), float(value)))
        elif kind == "FunctionTransformer" or (isinstance(part, str) and part == "passthrough"):
            self._kept.extend((source, self._next()) for source in sources)
        else:
            raise TypeError(f"{kind} is not tabulated")

    def _next(self) -> int:
        self.width += 1
        return self.width - 1


def tabulate(transformer: Any, categories: list[int]) -> Any:
    """
    The transformer's tables, where they do exactly the same; else the transformer itself.

    Args:
        transformer: A fitted ColumnTransformer.
        categories: As for `Tabulated`.
    """
    probes = _probes(categories)
    try:
        expected = transformer.transform(probes)
        tables = Tabulated(transformer, categories)
        made = tables.transform(probes)
        same = type(expected) is np.ndarray and expected.dtype == made.dtype
        return tables if same and np.array_equal(made, expected, equal_nan=True) else transformer
    except Exception:
        # A part that refuses the probes is left to say so of the rows that come.
        return transformer


def _probes(categories: list[int]) -> Floats:
    random = np.random.default_rng(0)
    rows = max(PROBES, 2 * max(categories, default=0) + 2)
    columns = []
    for count in categories:
        if count:
            column = np.resize(np.append(np.arange(count, dtype=np.float64), np.nan), rows)
        else:
            column = random.normal(size=rows) * 10.0 ** random.integers(-3, 7, rows)
            column[random.random(rows) < 0.2] = np.nan
        columns.append(column)
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))
