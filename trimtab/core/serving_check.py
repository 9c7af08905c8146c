"""
Whether the serving environment gives the trainer's predictions: the comparison, and what is kept of it.

Training and serving run other versions of NumPy, in other processes, and rows come as JSON, one or a few at a time.
What differs because of it is found before anybody is served by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab.core.records import Record
from trimtab.core.scoring import Floats, Prediction

TOLERANCE = 1e-9  # relative, and absolute near 0: far above rounding, far below anything that matters
PERCENTILE = 99.0


class ServingCheck(Record):
    """
    What became of an artifact in the serving environment.

    `problem` says why it must not serve, empty when it may; `note` why the check was not made. Latencies are those of
    requests of one row, from the JSON text to the answer's.
    """

    made: bool
    problem: str = ""
    note: str = ""
    rows: int = 0
    largest_difference: float | None = None  # of any output from the trainer's, absolute
    requests: int = 0  # timed, of one row each
    p50_milliseconds: float | None = None
    p99_milliseconds: float | None = None
    limit_milliseconds: float | None = None
    too_slow: bool = False  # the problem is the limit, and nothing else
    packages: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it

    @property
    def passed(self) -> bool:
        return not self.problem

    def sentence(self) -> str:
        """How it went, in one line."""
        if not self.made:
            return f"not made: {self.note}"
        if self.problem:
            return self.problem
        timed = f"p99 {self.p99_milliseconds:.2g} ms over {self.requests} requests of one row"
        limit = f" (limit {self.limit_milliseconds:g} ms)" if self.limit_milliseconds is not None else ""
        return f"{self.rows} rows as the trainer predicts them; {timed}{limit}"


@dataclass(frozen=True, slots=True)
class Difference:
    """
    Where the served predictions are not the trainer's.

    Attributes:
        rows: How many rows differ.
        row: The one that differs most, by its place.
        output: Which of its outputs does: `prediction`, or `probability of CLASS`.
        ours: What the trainer says; `served` what the serving environment says.
    """

    rows: int
    row: int
    output: str
    ours: float
    served: float


def outputs(prediction: Prediction, classes: Sequence[object]) -> tuple[list[str], Floats]:
    """Names of a prediction's outputs, and their values, shape (rows, outputs)."""
    if prediction.scores is None:
        return ["prediction"], prediction.values[:, None]
    kind = "probability" if prediction.probability else "score"
    names = ["prediction", *(f"{kind} of {_word(value)}" for value in classes)]
    return names, np.column_stack([prediction.values, prediction.scores])


def compare(ours: Prediction, served: Prediction, classes: Sequence[object] = ()) -> tuple[Difference | None, float]:
    """
    The difference that counts, or None, and the largest one at all (absolute).

    Args:
        ours: The trainer's.
        served: The serving environment's, of the same rows in the same order.
        classes: The target's, in the order of their codes.

    >>> compare(Prediction(np.array([1.0, 2.0])), Prediction(np.array([1.0, 2.5])))[0]
    Difference(rows=1, row=1, output='prediction', ours=2.0, served=2.5)
    """
    names, a = outputs(ours, classes)
    other, b = outputs(served, classes)
    if names != other or a.shape != b.shape:
        raise ValueError(f"outputs {names} of {len(a)} rows beside {other} of {len(b)}")
    # A class that the model never learned scores minus infinity on both sides.
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        beyond = ~(apart <= TOLERANCE * np.maximum(1.0, np.abs(a)))
    largest = float(np.nan_to_num(apart, nan=math.inf).max(initial=0.0))
    if not beyond.any():
        return None, largest
    weight = np.where(beyond, np.nan_to_num(apart, nan=math.inf), -1.0)
    row, column = (int(place) for place in np.unravel_index(int(weight.argmax()), weight.shape))
    found = Difference(int(beyond.any(axis=1).sum()), row, names[column], float(a[row, column]), float(b[row, column]))
    return found, largest


def differing_inputs(ours: Mapping[str, Any], served: Mapping[str, Any]) -> list[str]:
    """
    Columns that the estimator was given otherwise, each with both values, the trainer's first.

    >>> differing_inputs({"a": 1.0, "b": None}, {"a": 1.5, "b": None})
    ['a is 1.0 here and 1.5 there']
    """
    lines = [f"{name} is {ours[name]!r} here and missing there" for name in ours if name not in served]
    for name, value in ours.items():
        if name in served and value != served[name]:
            lines.append(f"{name} is {value!r} here and {served[name]!r} there")
    return lines


def percentile_milliseconds(seconds: Sequence[float], percentile: float = PERCENTILE) -> float:
    """
    The smallest latency that at least this share of the requests did not exceed, milliseconds.

    >>> percentile_milliseconds([0.001] * 99 + [0.1])
    1.0
    """
    ordered = sorted(seconds)
    return 1000 * ordered[max(0, math.ceil(percentile / 100 * len(ordered)) - 1)]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
