"""What runs and intake produce: partitions, datasets, profiles, specs, cards, and what each step concluded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.objects import Objects
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.records import DatasetVersion, Partition, canonical, digest


class DataStore:
    """Objects named for what is in them, and the steps' conclusions, named for their run."""

    def __init__(self, objects: Objects, layout: Layout) -> None:
        self._objects = objects
        self._layout = layout

    # Rows

    def put_partition(self, partition: str, path: Path) -> None:
        """Keep the valid rows of one object; the id already says what they are, so a stored one stays."""
        self._objects.put_file(self._layout.partition(partition), path)

    def partition(self, partition: str) -> Path:
        """A local parquet file with the valid rows. Raises NotFound when there are none by this id."""
        return self._objects.file(self._layout.partition(partition))

    def put_quarantined(self, partition: str, path: Path) -> None:
        """Keep the rows that were set aside, with their reasons."""
        self._objects.put_file(self._layout.quarantined_rows(partition), path)

    def quarantined(self, partition: str) -> Path | None:
        """A local parquet file with the rows that were set aside, None when there were none."""
        try:
            return self._objects.file(self._layout.quarantined_rows(partition))
        except NotFound:
            if self._objects.bucket.head(self._layout.quarantined_rows(partition)) is None:
                return None
            raise

    def put_dataset(self, partitions: Iterable[Partition]) -> DatasetVersion:
        """The version that holds exactly these partitions, oldest arrival first."""
        ordered = tuple(partitions)
        version = DatasetVersion(digest=digest(*(partition.id for partition in ordered)), partitions=ordered)
        try:
            self._objects.create(self._layout.dataset(version.digest), version.to_json())
        except Conflict:
            return self.dataset(version.digest)
        return version

    def dataset(self, dataset: str) -> DatasetVersion:
        return DatasetVersion.from_json(self._objects.get(self._layout.dataset(dataset)), f"dataset {dataset}")

    # Values and texts by digest

    def put_profile(self, value: Mapping[str, Any]) -> str:
        body = canonical(value)
        name = sha256(body).hexdigest()
        self._objects.create(self._layout.profile(name), body)
        return name

    def profile(self, profile: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._text(self._layout.profile(profile), profile))
        return value

    def put_spec(self, text: str) -> str:
        name = sha256(text.encode()).hexdigest()
        self._objects.create(self._layout.spec(name), text.encode())
        return name

    def spec(self, spec: str) -> str:
        return self._text(self._layout.spec(spec), spec)

    def put_card(self, html: str) -> str:
        name = sha256(html.encode()).hexdigest()
        self._objects.create(self._layout.card(name), html.encode())
        return name

    def card(self, card: str) -> str:
        return self._text(self._layout.card(card), card)

    def _text(self, key: str, expected: str) -> str:
        body = self._objects.get(key)
        found = sha256(body).hexdigest()
        if found != expected:
            raise Invalid(f"{key} in {self._objects.bucket} was damaged or exchanged: its SHA-256 is {found}")
        return body.decode()

    # Runs

    def put_step(self, run_key: str, step: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """What a step concluded; where it concluded before, that counts and is returned."""
        key = self._layout.step(run_key, step)
        with contextlib.suppress(Conflict):
            self._objects.create(key, canonical(value))
        first: dict[str, Any] = json.loads(self._objects.get(key))
        return first

    def step(self, run_key: str, step: str) -> dict[str, Any] | None:
        body = self._objects.find(self._layout.step(run_key, step))
        return None if body is None else json.loads(body)

    def put_log(self, run_id: str, text: str) -> None:
        """A run's whole log, once it has ended; the first one counts."""
        with contextlib.suppress(Conflict):
            self._objects.create(self._layout.log(run_id), text.encode())

    def log(self, run_id: str) -> str | None:
        body = self._objects.find(self._layout.log(run_id))
        return None if body is None else body.decode(errors="replace")
