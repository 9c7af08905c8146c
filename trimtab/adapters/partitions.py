"""Partitions: the valid rows of an upload under the spec's data section, and the rows that were set aside."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from trimtab.adapters import files
from trimtab.core import validation
from trimtab.core.errors import Conflict, NotFound, Unavailable
from trimtab.core.records import LedgerEntry, Partition
from trimtab.core.spec.digests import partition_id
from trimtab.core.validation import Checked, Refused

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Bucket
    from trimtab.core.spec.model import ContinuousModel, Data


def keep(state: State, name: str, checked: Checked, data: Data, folder: Path) -> Partition:
    """Put the valid and the quarantined rows where their id says."""
    aside = put_aside(state, name, checked, folder)
    place = folder / "partition.parquet"
    _write(checked.valid, place)
    state.data.put_partition(name, place)
    return describe(name, checked.valid, aside, data)


def put_aside(state: State, name: str, checked: Checked, folder: Path) -> int:
    """Put the quarantined rows; returns how many."""
    if checked.quarantined.height:
        place = folder / "quarantined.parquet"
        _write(checked.quarantined, place)
        state.data.put_quarantined(name, place)
    return checked.quarantined.height


def _write(frame: pl.DataFrame, place: Path) -> None:
    try:
        frame.write_parquet(place, compression="zstd", statistics=True)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise Unavailable(
            f"cannot write {place.name} to {tempfile.gettempdir()} ({error})", "free some of the disk, or set TMPDIR"
        ) from error


def partition_again(
    state: State, landing: Bucket, entry: LedgerEntry, sha256: str, model: ContinuousModel, released: bool = False
) -> Partition | None:
    """
    The partition of bytes that were taken in under another data section, made now if it was not made before.

    Args:
        released: Whether the file was released from quarantine: its valid rows count, however many others it has.

    Returns:
        None when the file is not acceptable under the section as it is now, or its bytes are gone.
    """
    data, name = model.spec.data, partition_id(sha256, model)
    try:
        valid = pl.read_parquet(state.data.partition(name), glob=False)
    except NotFound:
        try:
            with files.fetch(landing, entry.key, entry.etag) as fetched:
                checked = validation.validate(files.read_table(fetched.path, data.format), data)
                if fetched.digest != sha256 or not (released or checked.report.acceptable):
                    return None
                return keep(state, name, checked, data, fetched.path.parent)
        except (Refused, Conflict, NotFound):
            return None
    aside = state.data.quarantined(name)
    set_aside = pl.read_parquet(aside, columns=["_row"], glob=False).height if aside else 0
    return describe(name, valid, set_aside, data)


def describe(name: str, valid: pl.DataFrame, quarantined: int, data: Data) -> Partition:
    """The record of a partition's rows."""
    times = valid[data.timestamp]
    return Partition(
        id=name,
        rows=valid.height,
        labelled=valid.height - valid[data.target].null_count(),
        quarantined=quarantined,
        first=times.min(),
        last=times.max(),
    )
