"""
What the listener took in, as the controller reads it: the ledger and the source's listing, and nothing is written.

A controller holds hundreds of models. What an upload's intake found is read once, cut to what decisions are made from,
and kept compressed between looks.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from trimtab.adapters.arrivals import list_source
from trimtab.adapters.state import State
from trimtab.adapters.state.ledger import OUTCOME, RELEASED, SEEN
from trimtab.core.errors import NotFound
from trimtab.core.ports import Bucket, Buckets
from trimtab.core.records import IntakeOutcome, LedgerEntry
from trimtab.core.spec.model import ContinuousModel

THREADS = 8
DRIFT_FIELDS = ("verdict", "reason", "referenceBatches")  # of a report, beside its columns' figures
COLUMN_FIELDS = ("column", "effect", "adjusted")


class Arrivals:
    """One look at what has arrived: `app.controller.Taken`."""

    def __init__(
        self, entries: dict[str, LedgerEntry], outcomes: dict[str, IntakeOutcome], standing: Mapping[str, str]
    ) -> None:
        self._entries = entries
        self._outcomes = outcomes
        self._standing = standing  # etags by key, of the source

    @property
    def outcomes(self) -> Mapping[str, IntakeOutcome]:
        return self._outcomes

    def entries(self) -> Mapping[str, LedgerEntry]:
        return self._entries

    def current(self) -> list[LedgerEntry]:
        return [entry for entry in self._entries.values() if self._standing.get(entry.key) == entry.etag]

    def entry(self, entry: str) -> LedgerEntry:
        """By its ledger id. Raises NotFound when nothing by it was ever seen."""
        if entry not in self._entries:
            raise NotFound(f"found no ledger entry {entry}")
        return self._entries[entry]


class ArrivalsSoFar:
    """One model's ledger as it was read so far, small."""

    def __init__(self) -> None:
        self._packed = b""

    def read(self, state: State, buckets: Buckets, model: ContinuousModel) -> Arrivals:
        """
        What has arrived by now.

        Raises:
            Unavailable: If the store does not answer.
            NotFound: If there is no such bucket.
        """
        standing = {info.key: info.etag for info in list_source(buckets, model)}
        prefix = state.layout.ledger()
        names = {info.key.removeprefix(prefix) for info in state.bucket.list(prefix)}
        bodies: dict[str, Any] = json.loads(zlib.decompress(self._packed)) if self._packed else {}
        fresh = sorted(
            name for name in names if name not in bodies and name.partition(".")[2] in (SEEN, OUTCOME, RELEASED)
        )
        if fresh:
            bodies |= _read(state.bucket, prefix, fresh)
            self._packed = zlib.compress(json.dumps(bodies, separators=(",", ":")).encode(), 6)
        return _arrivals(bodies, standing)


def _read(bucket: Bucket, prefix: str, names: list[str]) -> dict[str, Any]:
    def read(name: str) -> Any:
        body = bucket.get(prefix + name).body
        if name.endswith(f".{SEEN}"):
            return LedgerEntry.from_json(body, prefix + name).model_dump(mode="json", by_alias=True)
        outcome = slim(IntakeOutcome.from_json(body, prefix + name))
        return outcome.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    if len(names) == 1:
        return {names[0]: read(names[0])}
    with ThreadPoolExecutor(min(THREADS, len(names))) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))


def _arrivals(bodies: Mapping[str, Any], standing: Mapping[str, str]) -> Arrivals:
    """By id: the entry, and its outcome; a release counts over the outcome."""
    entries, outcomes = {}, {}
    for name in sorted(bodies):
        id, _, kind = name.partition(".")
        if kind == SEEN:
            entries[id] = LedgerEntry.model_validate(bodies[name])
        elif kind == RELEASED or f"{id}.{RELEASED}" not in bodies:
            outcomes[id] = IntakeOutcome.model_validate(bodies[name])
    return Arrivals(entries, outcomes, standing)


def slim(outcome: IntakeOutcome) -> IntakeOutcome:
    """
    What decisions and the journal read of an outcome.

    >>> from datetime import UTC, datetime
    >>> day = datetime(2012, 1, 1, tzinfo=UTC)
    >>> columns = [{"column": "heat", "effect": 0.2, "adjusted": 0.01, "cells": [1, 2, 3]}]
    >>> report = {"verdict": "wait", "columns": columns, "kind": "covariate"}
    >>> slim(IntakeOutcome(entry="e", state="ingested", drift=report, decided_at=day, recorded_at=day)).drift
    {'verdict': 'wait', 'columns': [{'column': 'heat', 'effect': 0.2, 'adjusted': 0.01}]}
    """
    drift = {name: outcome.drift[name] for name in DRIFT_FIELDS if name in outcome.drift}
    if columns := outcome.drift.get("columns"):
        drift["columns"] = [{name: each[name] for name in COLUMN_FIELDS} for each in columns]
    return outcome.model_copy(update={"validation": {}, "drift": drift})
