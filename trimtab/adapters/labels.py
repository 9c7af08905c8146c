"""
Files of labels: read, checked row by row, and kept among the labels of the state.

A file may be taken in twice (a crash in between, two processes): its labels are then kept twice and count once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from trimtab.adapters import files
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.labels import LABEL_TIME, REQUEST_ID, ROW, read_label
from trimtab.core.predictions import Label
from trimtab.core.records import Record, digest
from trimtab.core.spec.units import split_s3

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab.adapters.state import State
    from trimtab.core.ports import Buckets, ObjectInfo
    from trimtab.core.spec.model import ContinuousModel, Data

MOST_REASONS = 20  # that a record names
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class LabelFile(Record):
    """
    How a file of labels was taken in: `label-files/{id}.json`, create-only; `id` names bucket, key and etag.

    `refused` says why nothing of it could be read; `reasons` why rows were set aside, with how many.
    """

    id: str
    uri: str
    labels: int
    set_aside: int = 0
    reasons: dict[str, int] = Field(default_factory=dict)
    refused: str = ""
    recorded_at: datetime

    def sentence(self) -> str:
        """What became of it, for a reader."""
        if self.refused:
            return f"{self.uri}: set aside: {self.refused}"
        if not self.set_aside:
            return f"{self.uri}: {self.labels:,} labels"
        first = next(iter(self.reasons))
        return f"{self.uri}: {self.labels:,} labels, {self.set_aside:,} rows set aside, the first: {first}"


def label_file_id(bucket: str, info: ObjectInfo) -> str:
    """The same for the same version of an object."""
    return digest(bucket, info.key, info.etag)


def list_label_files(buckets: Buckets, model: ContinuousModel) -> Iterator[ObjectInfo]:
    """Objects under `labels.source`; names that begin with a dot or an underscore are not files of labels."""
    source = model.spec.data.labels.source
    if source is None:
        return
    bucket, prefix = split_s3(source)
    for info in buckets.bucket(bucket).list(prefix):
        parts = info.key.removeprefix(prefix).split("/")
        if all(part and not part.startswith((".", "_")) for part in parts):
            yield info


def format_of(name: str, otherwise: str) -> str:
    """
    A file's format by its name, else the one that the spec says.

    >>> format_of("late.csv.gz", "parquet"), format_of("part-00000", "parquet")
    ('csv', 'parquet')
    """
    plain = name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in FORMATS.items() if plain.endswith(suffix)), otherwise)


def read_label_file(path: Path, format: str, data: Data, received: datetime) -> tuple[list[Label], Counter[str]]:
    """
    The labels of a file, in its order, and why others were set aside.

    Raises:
        Invalid: If it is no such file, or lacks a column that every label needs.
    """
    table = files.read_table(path, format)
    needed = [*(data.key if data.labels.join_by == "key" else (REQUEST_ID,)), data.target]
    missing = [name for name in needed if name not in table.frame.columns]
    if missing:
        raise Invalid(
            f"the file has no column {', '.join(missing)}; it has {', '.join(table.frame.columns)[:200]}",
            f"a file of labels has the columns {', '.join(needed)}, and optionally {ROW} and {LABEL_TIME}",
        )
    optional = [name for name in (ROW, LABEL_TIME) if name in table.frame.columns and name not in needed]
    labels: list[Label] = []
    wrong: Counter[str] = Counter(table.broken["_reason"].to_list())
    rows: Iterator[dict[str, Any]] = table.frame.select(*needed, *optional).iter_rows(named=True)
    for row in rows:
        try:
            labels.append(read_label(row, data, received))
        except Invalid as error:
            wrong[error.message] += 1
    return labels, wrong


def take_in_labels(
    state: State, buckets: Buckets, model: ContinuousModel, info: ObjectInfo, now: datetime
) -> LabelFile | None:
    """
    Keep the labels of one file and write down what became of it; None where it is gone or replaced by now.

    Labels without a time of their own count from when the file was put.

    Raises:
        Unavailable: If the store or the disk does not let it happen now; the next call begins again.
    """
    data = model.spec.data
    assert data.labels.source is not None
    bucket = buckets.bucket(split_s3(data.labels.source)[0])
    name = label_file_id(bucket.name, info)
    uri = f"s3://{bucket.name}/{info.key}"
    try:
        with files.fetch(bucket, info.key, info.etag) as fetched:
            labels, wrong = read_label_file(fetched.path, format_of(info.key, data.format), data, info.modified)
    except (Conflict, NotFound):
        return None
    except Invalid as error:
        record = LabelFile(id=name, uri=uri, labels=0, refused=error.message, recorded_at=now)
    else:
        state.labels.add(labels)
        reasons = dict(wrong.most_common(MOST_REASONS))
        aside = wrong.total()
        record = LabelFile(id=name, uri=uri, labels=len(labels), set_aside=aside, reasons=reasons, recorded_at=now)
    try:
        state.bucket.create(state.layout.label_file(name), record.to_json())
    except Conflict:
        return None  # another process was quicker
    return record


def known_label_files(state: State) -> set[str]:
    """Ids of the files that were taken in."""
    prefix = state.layout.label_file()
    return {info.key.removeprefix(prefix).removesuffix(".json") for info in state.bucket.list(prefix)}
