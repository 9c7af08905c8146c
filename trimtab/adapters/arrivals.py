"""What stands in the source now, as ledger entries, and as the dataset that a run learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from trimtab.core.observation import original
from trimtab.core.records import DatasetVersion, IntakeOutcome, LedgerEntry, Partition, entry_id
from trimtab.core.spec.digests import partition_id

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Buckets, ObjectInfo
    from trimtab.core.spec.model import ContinuousModel


def list_source(buckets: Buckets, model: ContinuousModel) -> Iterator[ObjectInfo]:
    """
    Every object under the spec's source, as the store lists them; folder markers and hidden files are left out.

    Raises:
        Unavailable: If the store cannot be reached.
        NotFound: If there is no such bucket.
    """
    data = model.spec.data
    for info in buckets.bucket(data.bucket).list(data.prefix):
        if is_upload(info.key, model):
            yield info


def is_upload(key: str, model: ContinuousModel) -> bool:
    """
    Whether a key in the source's bucket is an upload.

    Not: folder markers, parts of a multipart upload, and names that begin with a dot or an underscore, which
    writers of folders (Spark, Hive, rsync) keep for themselves, such as `_SUCCESS`.
    """
    prefix = model.spec.data.prefix
    if not key.startswith(prefix) or key.endswith("/"):
        return False
    return all(part and not part.startswith((".", "_")) for part in key.removeprefix(prefix).split("/"))


def entry_of(
    info: ObjectInfo,
    bucket: str,
    namespace: str,
    model: str,
    via: Literal["webhook", "listing", "sdk"],
    recorded_at: datetime,
) -> LedgerEntry:
    """The ledger entry of an object version; the same id from a webhook and from the listing."""
    return LedgerEntry(
        id=entry_id(namespace, model, bucket, info.key, info.etag),
        bucket=bucket,
        key=info.key,
        etag=info.etag,
        size=info.size,
        modified=info.modified,
        via=via,
        recorded_at=recorded_at,
    )


def in_order(listing: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Oldest arrival first; objects of the same second by key, so that every reader sees one order."""
    return sorted(listing, key=lambda info: (info.modified, info.key))


def assemble(
    state: State, listing: Iterable[ObjectInfo], model: ContinuousModel | None = None, buckets: Buckets | None = None
) -> DatasetVersion:
    """
    The dataset of all ingested objects that stand in the source now, oldest arrival first.

    A newer object under the same key has replaced the older one's rows, a deleted object's are left out, and the same
    bytes under several keys count once, at their first arrival.

    Args:
        listing: Of the source, as `list_source` gives it.
        model: The spec. With it and `buckets`, files that were taken in under another data section are read again.
        buckets: Where the objects are.

    Raises:
        Unavailable: If the store cannot be reached.
    """
    outcomes, entries = state.ledger.outcomes(), state.ledger.entries()
    by_version = {(entry.key, entry.etag): entry for entry in entries.values()}
    partitions: dict[str, Partition] = {}
    for info in in_order(listing):
        entry = by_version.get((info.key, info.etag))
        outcome = original(outcomes, outcomes.get(entry.id)) if entry else None
        if entry is None or outcome is None or outcome.partition is None:
            continue
        partition: Partition | None = outcome.partition
        if model and buckets:
            partition = _of_now(state, entry, outcome, model, buckets)
        if partition is not None and partition.rows:
            partitions.setdefault(partition.id, partition)
    return state.data.put_dataset(partitions.values())


def renewed(state: State, dataset: str, model: ContinuousModel, buckets: Buckets) -> DatasetVersion:
    """
    The dataset, with what was taken in under another data section read again; the same one where nothing was.

    A cluster's controller reads no files: a run of its does it here.

    Raises:
        Unavailable: If the store cannot be reached.
    """
    whole = state.data.dataset(dataset)
    entries = state.ledger.entries()
    origin = {
        outcome.partition.id: (entries[id], outcome)
        for id, outcome in state.ledger.outcomes().items()
        if outcome.state == "ingested" and outcome.partition is not None and id in entries
    }
    kept: dict[str, Partition] = {}
    for each in whole.partitions:
        known = origin.get(each.id)
        partition = _of_now(state, *known, model, buckets) if known else each
        if partition is not None and partition.rows:
            kept.setdefault(partition.id, partition)
    return whole if list(kept) == [each.id for each in whole.partitions] else state.data.put_dataset(kept.values())


def _of_now(
    state: State, entry: LedgerEntry, outcome: IntakeOutcome, model: ContinuousModel, buckets: Buckets
) -> Partition | None:
    """An ingested file's partition under the data section as it is now; None where it is not acceptable under it."""
    partition = outcome.partition
    if partition is None or not outcome.sha256 or partition_id(outcome.sha256, model) == partition.id:
        return partition
    # Who has nothing to read again needs none of what reading files needs.
    from trimtab.adapters.partitions import partition_again

    # What was released keeps the class of its finding: somebody has looked, and let it in all the same.
    released = outcome.kind not in ("", "ok")
    return partition_again(state, buckets.bucket(entry.bucket), entry, outcome.sha256, model, released)
