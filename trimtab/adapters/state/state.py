"""The door to one model's state: everything behind it shares one bucket, one cache and one clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trimtab.adapters import environment
from trimtab.adapters.state.data import DataStore
from trimtab.adapters.state.decisions import Decisions
from trimtab.adapters.state.journal import Journal
from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.lease import Lease
from trimtab.adapters.state.ledger import Ledger
from trimtab.adapters.state.logs import LabelLog, PredictionLog
from trimtab.adapters.state.objects import Objects
from trimtab.adapters.state.registry import Registry
from trimtab.adapters.state.rollouts import Rollouts
from trimtab.adapters.state.served import ServedState
from trimtab.core.errors import Invalid
from trimtab.core.ports import Bucket, Buckets

ADDRESS = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<namespace>[^/]+(?:/[^/]+)*)/?")


def wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class State:
    """Use one a process: it remembers what it has read of what never changes. Safe in many threads."""

    bucket: Bucket
    layout: Layout
    ledger: Ledger
    data: DataStore
    decisions: Decisions
    registry: Registry
    rollouts: Rollouts
    served: ServedState
    journal: Journal
    lease: Lease
    predictions: PredictionLog
    labels: LabelLog
    objects: Objects

    @classmethod
    def open(
        cls,
        buckets: Buckets,
        address: str,
        model: str,
        cache: Path | None = None,
        now: Callable[[], datetime] = wall_clock,
        known: Mapping[str, bytes] | None = None,
    ) -> State:
        """
        The state of `model` at `address`, `s3://BUCKET/NAMESPACE`; nothing is asked of the store yet.

        Args:
            cache: The folder for copies of what never changes; without it `environment.cache_folder()`.
            now: The wall clock, for `recorded_at` and the lease.
            known: What `objects.known()` of an earlier one gave, of the same model: it is not read again.

        Raises:
            Invalid: If the address has another form.
        """
        found = ADDRESS.fullmatch(address)
        if found is None:
            raise Invalid(f"found the state address {address!r}; it must read s3://BUCKET/NAMESPACE")
        bucket = buckets.bucket(found["bucket"])
        layout = Layout(found["namespace"], model)
        folder = environment.cache_folder() if cache is None else cache
        objects = Objects(bucket, folder, known)
        return cls(
            bucket=bucket,
            layout=layout,
            ledger=Ledger(objects, layout),
            data=DataStore(objects, layout),
            decisions=Decisions(objects, layout),
            registry=Registry(objects, layout),
            rollouts=Rollouts(objects, layout, now),
            served=ServedState(bucket, layout),
            journal=Journal(objects, layout, now),
            lease=Lease(bucket, layout.lease, now),
            predictions=PredictionLog(bucket, layout),
            labels=LabelLog(bucket, layout),
            objects=objects,
        )

    @property
    def namespace(self) -> str:
        return self.layout.namespace

    @property
    def model(self) -> str:
        return self.layout.model

    @property
    def address(self) -> str:
        """`s3://BUCKET/NAMESPACE`, as `open` takes it."""
        return f"s3://{self.bucket.name}/{self.namespace}"

    def uri(self, key: str) -> str:
        """The s3:// address of a key that the layout gives."""
        return f"s3://{self.bucket.name}/{key}"
