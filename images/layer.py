"""A layer of an image: a tar whose bytes depend on its contents alone, and whose folders precede what they hold."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
from pathlib import Path
from typing import BinaryIO


class Layer:
    """Everything belongs to root and is of 1970; a path that is there already stays as it was first written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115  (closed by `close`)
        self._known: set[str] = {""}
        self.digest = ""
        self.size = 0

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """With the folders above it."""
        path = path.strip("/")
        if path in self._known:
            return
        self.folder(posixpath.dirname(path))
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
        self._add(entry)

    def data(self, path: str, content: bytes, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(path.strip("/"))
        entry.size, entry.mode = len(content), mode
        self._add(entry, io.BytesIO(content))

    def link(self, path: str, target: str) -> None:
        entry = tarfile.TarInfo(path.strip("/"))
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._add(entry)

    def copy(self, source: Path, path: str, mode: int | None = None) -> None:
        """The file, or what it links to; executable where it is."""
        with source.open("rb") as content:
            info = os.fstat(content.fileno())
            entry = tarfile.TarInfo(path.strip("/"))
            entry.size = info.st_size
            entry.mode = mode if mode is not None else 0o755 if info.st_mode & 0o100 else 0o644
            self._add(entry, content)

    def close(self) -> None:
        """Nothing more can be added; the digest and the size stand."""
        self._tar.close()
        self.size = self._file.tell()
        self._file.seek(0)
        self.digest = hashlib.file_digest(self._file, "sha256").hexdigest()

    def _add(self, entry: tarfile.TarInfo, content: BinaryIO | None = None) -> None:
        if entry.name in self._known:
            return
        self.folder(posixpath.dirname(entry.name))
        self._known.add(entry.name)
        self._tar.addfile(entry, content)
