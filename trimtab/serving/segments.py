"""
The prediction log's local end: one folder a writer, segments numbered from 0, one write(2) a request.

What was written survives a kill -9 of the process; at most the line being written is torn. A folder is locked while
its writer lives, so whoever gets the lock of another's folder knows that its writer is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LOCK = "writer.json"  # locked while the writer lives; says where its segments belong
SUFFIX = ".jsonl"
MAX_BYTES = 8 << 20  # a segment is read whole


class SegmentWriter:
    """
    Appends lines to the segments of one new folder, which is made with the first line.

    Args:
        root: Holds one folder a writer.
        prefix: What the writer's name begins with, such as `v7`.
        destination: Where the segments belong, as an address: leftovers are sent only there.
        rows: Lines after which a segment is finished.
        seconds: Age at which `rotate_if_old` finishes one.
    """

    def __init__(self, root: Path, prefix: str, destination: str, rows: int, seconds: float) -> None:
        self.name = f"{prefix}-{time.time_ns() // 1000}-{secrets.token_hex(4)}"
        self.folder = root / self.name
        self.lost = 0  # lines that could not be written
        self._destination = destination
        self._max_rows = rows
        self._max_seconds = seconds
        self._lock = threading.Lock()
        self._lock_file = -1
        self._file = -1
        self._sequence = -1
        self._rows = 0
        self._bytes = 0
        self._began = 0.0
        self._closed = False

    def append(self, line: bytes) -> bool:
        """
        Write one line, which ends with a newline; False, counted in `lost`, where the disk does not take it.

        Never raises: a request must not fail for want of its log.
        """
        with self._lock:
            try:
                if self._closed:
                    raise OSError("closed")
                if self._file < 0:
                    self._open_next()
                self._write(line)
            except OSError:
                self.lost += 1
                return False
            self._rows += 1
            if self._rows >= self._max_rows or self._bytes >= MAX_BYTES:
                self._finish()
            return True

    def rotate_if_old(self) -> None:
        """Finish the segment that was begun too long ago."""
        with self._lock:
            if self._file >= 0 and time.monotonic() - self._began >= self._max_seconds:
                self._finish()

    def finished(self) -> list[Path]:
        """Segments to which nothing is added any more, oldest first."""
        with self._lock:
            return [path for number, path in segments(self.folder) if number < self._sequence or self._file < 0]

    def close(self) -> None:
        """Finish the last segment; lines that still come are lost, and counted."""
        with self._lock:
            self._closed = True
            self._finish()

    def release(self) -> None:
        """Give up the folder: remove it where it is empty, else leave it to the next writer."""
        with self._lock:
            self._closed = True
            self._finish()
            if self._lock_file >= 0:
                _remove_if_empty(self.folder)
                os.close(self._lock_file)
                self._lock_file = -1

    def _open_next(self) -> None:
        if self._lock_file < 0:
            self._lock_file = _locked_folder(self.folder, self._destination)
        path = self.folder / f"{self._sequence + 1:020d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._sequence += 1
        self._rows, self._bytes, self._began = 0, 0, time.monotonic()

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
        except OSError:
            written = -1
        if written != len(line):
            # A full disk takes half a line: cut it off, so that what follows stays readable.
            os.ftruncate(self._file, self._bytes)
            raise OSError("the disk took less than the line")
        self._bytes += written

    def _finish(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _locked_folder(folder: Path, destination: str) -> int:
    """Make the folder so that it never stands there without its lock: under another name first."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder.with_name(f".{folder.name}")
    draft.mkdir(mode=0o700)
    try:
        lock = os.open(draft / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, json.dumps({"destination": destination}).encode())
            draft.rename(folder)
        except OSError:
            os.close(lock)
            raise
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return lock


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The segments of a folder by number, ascending."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == SUFFIX and path.stem.isdecimal()]
    except OSError:
        return []
    return sorted((int(path.stem), path) for path in found)


def leftovers(root: Path, destination: str) -> Iterator[Path]:
    """
    Folders of dead writers whose segments belong at `destination`, each locked while it is looked at.

    The caller sends and deletes the segments; a folder without any is removed afterwards.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for folder in folders:
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if json.loads(os.read(lock, 10_000)).get("destination") == destination and folder.exists():
                    yield folder
                    _remove_if_empty(folder)
        finally:
            os.close(lock)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but its lock file; the caller has the lock."""
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {LOCK}:
            shutil.rmtree(folder, ignore_errors=True)


def whole_lines(body: bytes) -> bytes:
    """
    A segment without a torn last line.

    >>> whole_lines(b'{"a": 1}' + b"\\n" + b'{"a')
    b'{"a": 1}\\n'
    """
    return body[: body.rfind(b"\n") + 1]
