"""Small files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from trimtab.core.errors import Invalid, Unavailable

# Data, state and a run's temporary files; a store on a full disk refuses every write.
LEAST_FREE_BYTES = 256 << 20


def make_folder(folder: Path) -> Path:
    """
    The folder, made if it is missing, open to its owner only.

    Raises:
        Invalid: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Invalid(
            f"cannot make the folder {folder}: {error.strerror}", "run trimtab in a folder that you may write"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Invalid(f"the folder {folder} cannot be written", "run trimtab in a folder that you may write")
    return folder


def free_bytes(folder: Path) -> int:
    """Room on the disk under the folder."""
    return shutil.disk_usage(folder).free


def require_space(folder: Path) -> None:
    """Raises Unavailable if the disk under the folder is about to be full."""
    free = free_bytes(folder)
    if free < LEAST_FREE_BYTES:
        raise Unavailable(
            f"found {free >> 20} MB free on the disk of {folder}, needed at least {LEAST_FREE_BYTES >> 20} MB",
            "free some space, or run trimtab in a folder on another disk",
        )


def write_private(path: Path, text: str) -> None:
    """
    Write the file with mode 0600, by an atomic rename: a reader sees the old text or the new one.

    Raises:
        Unavailable: If the disk is full or refuses.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        # A signal that stops everything may come in between too: nothing half-written stays.
        beside.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise Unavailable(
            f"cannot write {path}: {error.strerror}", "free some space on this disk, or run trimtab in another folder"
        ) from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """As `write_private`, as JSON."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's JSON object, or None when there is none or it is torn."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
