"""One platform a folder: who holds it, and where it answers."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from trimtab.app.embedded.files import make_folder, read_json, write_json
from trimtab.app.embedded.processes import Recorded
from trimtab.core.errors import Invalid

LOCK = "lock"
WHO = "up.json"
WORDS = ("model", "url", "endpoint", "spec", "spec_digest", "refused")


@dataclass(frozen=True)
class Holder:
    """
    The process that runs the platform of a folder; the rest is empty until it is ready.

    `spec_digest` is of the text that it works by, which it read from the file `spec`. `reloads` counts how often it was
    asked to read it again, and `refused` says why it did not take up what it read last.
    """

    process: Recorded
    model: str = ""
    url: str = ""
    endpoint: str = ""
    spec: str = ""
    spec_digest: str = ""
    reloads: int = 0
    refused: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.process.started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        what = f" for model {self.model}" if self.model else ""
        where = f", {self.url} and {self.endpoint}" if self.url else ", still starting"
        return f"process {self.pid}{what}, since {since}{where}"


class FolderLock:
    """
    Exclusive use of a `.trimtab` folder; the kernel gives it back however its holder ends.

    Who holds it stands beside it in `up.json`, by pid and start time, for the message that a second `up` prints.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """
        Take the folder.

        Raises:
            Invalid: If another process has it; the message says who.
        """
        make_folder(self._folder)
        file = open(os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "rb")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise _taken(self._folder) from error
        # The lock file may have been deleted and made again: the record counts too.
        try:
            refuse_second(self._folder)
        except Invalid:
            file.close()
            raise
        self._file = file
        self.tell()

    def tell(self, **known: str | int) -> None:
        """Write down who holds the folder, and what else is known of him: `Holder`'s fields."""
        process = {"pid": os.getpid(), "start_time": psutil.Process().create_time()}
        write_json(self._folder / WHO, process | known)

    def release(self) -> None:
        if self._file is not None:
            (self._folder / WHO).unlink(missing_ok=True)
            self._file.close()
            self._file = None


def holder(folder: Path) -> Holder | None:
    """The living process that runs this folder's platform, or None."""
    value = read_json(folder / WHO) or {}
    pid, started = value.get("pid"), value.get("start_time")
    if not isinstance(pid, int) or not isinstance(started, int | float):
        return None
    process = Recorded("up", pid, float(started))
    if process.process() is None:
        return None
    words = {name: str(value.get(name, "")) for name in WORDS}
    return Holder(process, **words, reloads=int(value.get("reloads", 0)))


def refuse_second(folder: Path) -> None:
    """Raises Invalid if a platform runs in the folder; the message says which."""
    if holder(folder) is not None:
        raise _taken(folder)


def _taken(folder: Path) -> Invalid:
    who = holder(folder)
    return Invalid(
        f"the platform in {folder} runs already: {who or 'another process holds its lock'}",
        f"`trimtab status` shows it; `trimtab down` in {folder.parent} stops it",
    )
