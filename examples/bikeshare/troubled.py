"""
Three models that a team could well have shipped: each learns as well as the good one, passes its evaluation on the
holdout and the check in the serving environment, and goes wrong only later, where neither looks.

`trimtab demo` puts each under traffic. None of them pretends: what goes wrong is in the few lines below, and the
platform is told nothing of it. Columns come encoded, in the order of their names, categories as codes of their values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

HOUR, SEASON, TEMPERATURE = 2, 4, 5  # places among the features' names
Rows = NDArray[np.float64]


class RemembersAnswers(HistGradientBoostingRegressor):
    """
    Becomes slow: it keeps its answers to single rows, and once that memory is full, making room costs far more than
    the prediction that it saves.

    The check before serving asks for a hundred rows again and again, which fit. Real hours do not come twice.
    """

    ROOM = 128  # answers

    def predict(self, X: Rows) -> Rows:  # noqa: N803 - scikit-learn's name
        if len(X) > 1:
            return super().predict(X)
        memory: dict[tuple[float, ...], float] = self.__dict__.setdefault("_memory", {})
        row = tuple(np.nan_to_num(X[0], nan=-1.0).tolist())
        if row not in memory:
            if len(memory) >= self.ROOM:
                # What is most like everything else goes, so that what stays is varied: each is compared with each.
                del memory[min(memory, key=lambda one: sum(_apart(one, other) for other in memory))]
            memory[row] = float(super().predict(X)[0])
        return np.array([memory[row]])

    def __getstate__(self) -> dict[str, Any]:
        """The memory is the process's own, and never a part of the model."""
        return {name: value for name, value in super().__getstate__().items() if name != "_memory"}


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


class LiftsByHourAndHeat(HistGradientBoostingRegressor):
    """
    Fails: it adds what the trees leave over, by the hour of the day and five degrees of temperature. Many rows are
    looked up with a default; the quick way for a single row forgot it.

    Evaluation asks for many rows at once, and every hour that it holds back has been learned by the time the model is
    refitted and checked. The first afternoons of summer, hotter than any before, raise KeyError: one request in twenty.
    """

    BAND = 5.0  # degrees Celsius

    def fit(self, X: Rows, y: Rows, sample_weight: Rows | None = None) -> LiftsByHourAndHeat:  # noqa: N803
        super().fit(X, y, sample_weight)
        left = np.asarray(y, dtype=np.float64) - super().predict(X)
        self.cells_, places = np.unique(self._cells(X), axis=0, return_inverse=True)
        places = places.reshape(-1)
        # 20 rows of nothing in each: a cell with few rows lifts little.
        self.lifts_ = np.bincount(places, left) / (np.bincount(places) + 20)
        return self

    def predict(self, X: Rows) -> Rows:  # noqa: N803
        lifts = dict(zip(map(tuple, self.cells_.tolist()), self.lifts_.tolist(), strict=True))
        cells = [tuple(cell) for cell in self._cells(X).tolist()]
        if len(X) == 1:
            return np.array([super().predict(X)[0] + lifts[cells[0]]])
        return np.array(super().predict(X) + [lifts.get(cell, 0.0) for cell in cells])

    def _cells(self, X: Rows) -> Rows:  # noqa: N803
        X = np.asarray(X)  # noqa: N806
        return np.column_stack([X[:, HOUR], np.floor(X[:, TEMPERATURE] / self.BAND)])


class ModelForEachSeason(HistGradientBoostingRegressor):
    """
    Becomes worse: beside the model of everything it fits one for each season in its window, and answers with the mean
    of the two. Of a season that it has never seen, the second knows only how much is rented in general.

    Half a year holds two or three seasons, and the holdout lies in one of them, where the two are as good as any. It is
    refitted on the last day of summer.
    """

    def fit(self, X: Rows, y: Rows, sample_weight: Rows | None = None) -> ModelForEachSeason:  # noqa: N803
        super().fit(X, y, sample_weight)
        X, y = np.asarray(X), np.asarray(y, dtype=np.float64)  # noqa: N806
        self.mean_ = float(y.mean())
        self.seasons_ = np.unique(X[:, SEASON])
        self.models_ = [
            HistGradientBoostingRegressor(**self.get_params()).fit(X[X[:, SEASON] == season], y[X[:, SEASON] == season])
            for season in self.seasons_
        ]
        return self

    def predict(self, X: Rows) -> Rows:  # noqa: N803
        X = np.asarray(X)  # noqa: N806
        own = np.full(len(X), self.mean_)
        for season, model in zip(self.seasons_, self.models_, strict=True):
            there = X[:, SEASON] == season
            if there.any():
                own[there] = model.predict(X[there])
        return np.array((super().predict(X) + own) / 2)
