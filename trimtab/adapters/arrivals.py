"""What stands in the source now, as ledger entries, and as the dataset that a run learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from trimtab.core.observation import original
from trimtab.core.records import DatasetVersion, LedgerEntry, Partition, entry_id

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
    # A step that has nothing to take in needs none of what reading files needs.
    from trimtab.adapters.partitions import partition_again, partition_id

    outcomes, entries = state.ledger.outcomes(), state.ledger.entries()
    by_version = {(entry.key, entry.etag): entry for entry in entries.values()}
    partitions: dict[str, Partition] = {}
    for info in in_order(listing):
        entry = by_version.get((info.key, info.etag))
        outcome = original(outcomes, outcomes.get(entry.id)) if entry else None
        if entry is None or outcome is None or outcome.partition is None:
            continue
        partition: Partition | None = outcome.partition
        if model and buckets and outcome.sha256 and partition_id(outcome.sha256, model) != outcome.partition.id:
            # What was released keeps the class of its finding: somebody has looked, and let it in all the same.
            released = outcome.kind not in ("", "ok")
            landing = buckets.bucket(entry.bucket)
            partition = partition_again(state, landing, entry, outcome.sha256, model, released)
        if partition is not None and partition.rows:
            partitions.setdefault(partition.id, partition)
    return state.data.put_dataset(partitions.values())
