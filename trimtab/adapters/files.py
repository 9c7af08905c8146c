"""Uploaded files: fetched by stream, recognised by their bytes, split into rows; nothing is judged here."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.adapters import formats
from trimtab.adapters.formats import unreadable
from trimtab.core.errors import Unavailable
from trimtab.core.validation import Refused

if TYPE_CHECKING:
    from trimtab.core.ports import Bucket
    from trimtab.core.rows import Table

# Intake works beside a model that serves: one file may take this much of the machine, and no more.
MAX_BYTES = 1 << 30  # of an object
MAX_TEXT_BYTES = 1 << 30  # of an object once decompressed: a million rows of 20 columns are 150 MB
# First bytes of what people upload by mistake.
SIGNATURES = {
    b"PAR1": "a parquet file",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "gzip",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"BZh": "bzip2",
}


@dataclass(frozen=True)
class Fetched:
    """An object's bytes in a temporary file, and their SHA-256."""

    path: Path
    digest: str
    size: int


@contextmanager
def fetch(bucket: Bucket, key: str, etag: str) -> Iterator[Fetched]:
    """
    An object's bytes for as long as the context lasts, never all in memory.

    Raises:
        Conflict: If the object has another etag by now.
        NotFound: If it is gone.
        Unavailable: If the store does not answer, or the disk is full.
        Refused: kind `too_large`.
    """
    with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
        path = Path(folder) / "object"
        try:
            fetched = _download(bucket, key, etag, path)
        except OSError as error:
            raise Unavailable(
                f"cannot write {key} to {folder}: {error.strerror}", "free some of the disk, or set TMPDIR"
            ) from error
        yield fetched


def _download(bucket: Bucket, key: str, etag: str, path: Path) -> Fetched:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in bucket.stream(key, etag):
            size += len(chunk)
            if size > MAX_BYTES:
                raise Refused("too_large", f"{key} is larger than {MAX_BYTES >> 20} MiB", "upload it in several files")
            digest.update(chunk)
            file.write(chunk)
    return Fetched(path, digest.hexdigest(), size)


def read_table(path: Path, format: str) -> Table:
    """
    The rows of a csv, parquet or jsonl file, the first two also gzipped, in the file's order.

    Args:
        path: A local file.
        format: What the spec says that files are.

    Raises:
        Refused: kind `empty`, `wrong_type`, `unreadable`, `columns` or `too_large`.
    """
    _refuse_other_types(path, format)
    if format == "parquet":
        table = formats.read_parquet(path)
    else:
        with _plain(path) as plain:
            table = formats.read_csv(plain) if format == "csv" else formats.read_jsonl(plain)
    if table.height == 0:
        raise Refused("empty", "the file has a header but no rows", "nothing is lost; upload the file when it has rows")
    return table


def _refuse_other_types(path: Path, format: str) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if not head.strip():
        raise Refused("empty", "the file is empty", "see whether the export ended early, and upload the file again")
    if head[:2] == b"\x1f\x8b" and format in ("csv", "jsonl"):
        try:
            with gzip.open(path) as unpacked:
                head = unpacked.read(512)
        except (OSError, EOFError) as error:
            raise unreadable(f"the gzip stream is broken ({error})") from error
        if not head.strip():
            raise Refused("empty", "the gzipped file is empty", "see whether the export ended early")
    found = next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if found is None and text.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "an HTML or XML page (a login page or an error message of the source?)"
    if found is None and format != "parquet" and b"\x00" in head:
        found = "binary data"
    if found is None and format == "parquet":
        found = "text" if _is_text(head) else "binary data of an unknown type"
    if found is None and format == "csv" and text.startswith((b"{", b"[")):
        found = "JSON"
    if found is None and format == "jsonl" and not text.startswith(b"{"):
        found = "a JSON array" if text.startswith(b"[") else "text, but not JSON objects, one a line"
    if found and not (format == "parquet" and found == "a parquet file"):
        raise Refused(
            "wrong_type",
            f"found {found}; spec.data.format says {format}",
            f"upload {format}, or change spec.data.format",
        )


def _is_text(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in head)


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The file itself, or its decompressed twin beside it."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if not zipped:
        yield path
        return
    twin, size = path.with_name(path.name + ".plain"), 0
    try:
        with gzip.open(path) as packed, twin.open("wb") as plain:
            while chunk := packed.read(formats.CHUNK):
                size += len(chunk)
                if size > MAX_TEXT_BYTES:
                    raise Refused(
                        "too_large", f"the file is larger than {MAX_TEXT_BYTES >> 30} GiB unpacked", "upload parts"
                    )
                plain.write(chunk)
        yield twin
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the stream
            raise
        raise unreadable(f"the gzip stream is broken ({error})") from error
    finally:
        twin.unlink(missing_ok=True)
