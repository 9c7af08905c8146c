"""
The prediction log and its labels, as values: one JSON line each.

A segment of the log holds lines of three kinds: `prediction`, `failure` (the model raised) and `label` (Seldon's
feedback). Labels that come through the API or in files stand in segments of their own, in the same form.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from trimtab.core.records import Record

# A position in the log: by writer, how many of its segments have been read. Late segments of a writer come next in it.
Position = dict[str, int]


class PredictionLine(Record):
    """One request that a variant answered (or failed on). Values stand by column, one a row, in the request's order."""

    kind: Literal["prediction", "failure"] = "prediction"
    id: str  # Seldon-Puid, else x-request-id
    at: float  # wall seconds since 1970 at which the request came
    version: int
    shadow: bool = False
    seconds: float  # from the request's arrival to its answer, in the model server
    rows: int
    features: dict[str, list[Any]] = Field(default_factory=dict)
    # Key columns and the timestamp, where the request named them.
    passed: dict[str, list[Any]] = Field(default_factory=dict)
    predictions: list[Any] = Field(default_factory=list)  # numbers, or classes
    scores: list[list[float]] | None = None  # probabilities by class, in the schema's order
    unknown: int = 0  # columns that the schema does not know, left out
    error: str = ""  # of a failure


class Label(Record):
    """
    The truth of one row: named by request and row in it, or by the values of the key columns in the spec's order.

    The last one by `at` counts; at the same time, the one that arrived last.
    """

    kind: Literal["label"] = "label"
    id: str = ""  # of the request
    row: int = 0  # in the request
    key: list[Any] = Field(default_factory=list)
    value: Any
    at: float  # wall seconds since 1970: when the label was true; by default when it came
    received: float = 0.0  # when it came
