"""
What stands in the state bucket, as values: each record is one immutable JSON object.

Names here are the names in the JSON (camelCase there). Times are UTC; `decided_at` is on the policy clock,
`recorded_at` on the wall clock. Digests are lowercase hex SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from trimtab.core.errors import Invalid


def canonical(value: object) -> bytes:
    """
    JSON with sorted keys and no spaces: equal values give equal bytes.

    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(*parts: object) -> str:
    """
    SHA-256 over the canonical JSON of the parts, as hex.

    >>> digest("a", 1) == digest("a", 1) != digest("a", "1")
    True
    """
    return hashlib.sha256(canonical(list(parts))).hexdigest()


class Record(BaseModel):
    """Base: immutable, camelCase in JSON, unknown fields ignored so that newer writers can be read."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore", ser_json_inf_nan="null"
    )

    def to_json(self) -> bytes:
        """Canonical bytes."""
        return canonical(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def from_json(cls, body: bytes, where: str = "") -> Self:
        """
        The record of canonical bytes, or of any JSON with its fields.

        Raises:
            Invalid: If the bytes are no such record; the message says what of them, and `where` they stand.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(map(str, first["loc"])) or "the document"
            raise Invalid(
                f"{where or 'the record'} is no {cls.__name__}: {path}: {first['msg']} ({len(body)} bytes)",
                "it was damaged or exchanged in the store: put its copy back; nothing was changed",
            ) from error


class LedgerEntry(Record):
    """One version of one uploaded object, seen once. `id` = digest(namespace, model, bucket, key, etag)."""

    id: str
    bucket: str
    key: str
    etag: str
    size: int  # bytes
    modified: datetime
    via: Literal["webhook", "listing", "sdk"]
    recorded_at: datetime

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def entry_id(namespace: str, model: str, bucket: str, key: str, etag: str) -> str:
    """The ledger id of an object version: the same from a webhook and from the listing."""
    return digest(namespace, model, bucket, key, etag)


class Partition(Record):
    """
    The valid rows of one object, as parquet under `partitions/{id}.parquet`.

    `id` = digest(sha256 of the object's bytes, digest of the spec's data section).
    """

    id: str
    rows: int  # valid rows
    labelled: int  # valid rows with a target
    quarantined: int  # rows set aside, under quarantine/{id}.parquet with their reasons
    first: datetime | None  # event time of the oldest valid row
    last: datetime | None


class Judgement(Record):
    """What a new batch says of the live champion: its loss on the batch's labelled rows, before they are learned."""

    version: int
    rows: int
    metrics: dict[str, float]  # by metric name, the spec's evaluation.metrics
    numerator: float  # of the primary metric where it is a ratio of sums (see core.metrics), else the mean
    denominator: float


class IntakeOutcome(Record):
    """
    How intake ended for one ledger entry: `ledger/{id}.outcome.json`, create-only.

    A release of a quarantined file adds `ledger/{id}.released.json` of the same form.
    """

    entry: str
    state: Literal["ingested", "quarantined", "duplicate"]
    reason: str = ""  # why it was quarantined, or what it repeats
    hint: str = ""  # the next move, when it was quarantined
    kind: str = ""  # class of the finding: ok | renamed_column | unit_change | unreadable | wrong_type | ...
    duplicate_of: str = ""  # ledger id
    sha256: str = ""  # of the object's bytes; empty when they could not be read
    profile: str = ""  # digest of profiles/{digest}.json: what the batch looked like before rows were set aside
    partition: Partition | None = None  # of a quarantined file only its id and what was set aside
    validation: dict[str, Any] = {}  # the ValidationReport
    drift: dict[str, Any] = {}  # the DriftReport; its `verdict` is retrain | wait | fixData
    judgement: Judgement | None = None
    decided_at: datetime
    recorded_at: datetime


class DatasetVersion(Record):
    """
    An ordered set of partitions, oldest arrival first (where a key repeats, the last arrival wins).

    `digest` = digest(the ids in order); stored as `datasets/{digest}.json`.
    """

    digest: str
    partitions: tuple[Partition, ...]


class Decision(Record):
    """
    A decision to train: `decisions/{number:020d}.json`, create-only; it takes the entries it lists.

    `run_key` = digest(namespace, model, sorted entry ids, training digest, reason, number).
    """

    number: int
    reason: str  # upload | schedule | drift | performance | onDemand | trainingDigest | sdk
    entries: tuple[str, ...]
    dataset: str  # digest of the DatasetVersion
    training_digest: str
    spec: str  # digest of the spec: specs/{digest}.yaml
    run_key: str
    evidence: dict[str, Any] = {}
    decided_at: datetime
    recorded_at: datetime


def run_key(namespace: str, model: str, entries: Iterable[str], training_digest: str, reason: str, number: int) -> str:
    """A decision's own key: the same whoever computes it, in whichever order the entries come."""
    return digest(namespace, model, sorted(entries), training_digest, reason, number)


class Claim(Record):
    """
    Who executes a decision: `claims/{number:020d}.json`, compare-and-swapped.

    `epoch` rises with each change of owner, `attempt` with each execution (at most 3); `nonce` makes bodies differ.
    """

    number: int
    owner: str
    epoch: int
    attempt: int
    state: Literal["claimed", "submitted"]
    run_id: str  # uuid5(run key, attempt)
    lease_until: datetime  # wall clock
    retry_after: datetime | None = None  # wall clock: back-off after a transient failure
    nonce: str


class Outcome(Record):
    """How a decision ended: `outcomes/{number:020d}.json`, create-only; the first writer wins."""

    number: int
    run_key: str
    state: Literal["champion", "challenger", "awaitingApproval", "rejected", "superseded", "fixData", "failed"]
    reason: str
    version: int | None = None
    training_seconds: float = 0.0  # wall seconds of all fits
    fits: int = 0
    log: tuple[str, ...] = ()  # of a failure: the last 20 lines
    decided_at: datetime
    recorded_at: datetime


class ModelVersion(Record):
    """`versions/{number:020d}.json`, create-only, immutable; shown `NAME/v7`."""

    number: int
    run_key: str
    artifact: str  # digest of artifacts/{digest}.skops: the refitted model, which serves
    evaluated_artifact: str  # digest of the candidate that was judged; the same without a refit
    dataset: str
    training_digest: str
    spec: str
    trained_from: datetime
    trained_until: datetime  # event time of the newest row learned
    rows: int
    estimator: str
    seed: int
    metrics: dict[str, float]
    evaluation: dict[str, Any]  # the Evaluation: outcome, intervals, slices
    reference: str  # digest of profiles/{digest}.json: what its training data looked like
    lineage: dict[str, Any]  # code and package versions, partition digests, run id
    training_seconds: float
    fits: int
    card: str = ""  # digest of cards/{digest}.html
    recorded_at: datetime


class Manifest(Record):
    """
    The registry's state after one change: `manifests/{number:020d}.json`, create-only; the newest one counts.

    Both aliases stand in every manifest, so that a promotion is one PUT.
    """

    number: int
    champion: int | None
    challenger: int | None
    previous: int | None  # the champion before this one
    cause: str  # one sentence
    run_key: str = ""
    recorded_at: datetime


class JournalEntry(Record):
    """
    One line of history: `journal/{number:020d}.json`, create-only.

    `id` names what it tells of (`ledger/…`, `decision/5`, `outcome/5`, `wait/…`), so that it is told once.
    """

    number: int
    id: str
    # ingested | quarantined | duplicate | released | decided | waiting | ignored | finished | promoted | rollout |
    # rolledBack | alert
    kind: str
    summary: str  # one sentence a person reads
    evidence: dict[str, Any] = {}
    decided_at: datetime
    recorded_at: datetime
