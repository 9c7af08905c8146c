"""
Reading what never changes: many objects at once, and each only once.

Small objects are remembered in this process. Files (partitions, artifacts) are kept in a cache folder that processes
share; they are written beside their place and renamed, so that a name always stands for a whole file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from trimtab.core.errors import Invalid, NotFound, Unavailable
from trimtab.core.ports import Bucket

THREADS = 16  # one thread read 200 small objects a second, sixteen read 300
CHUNK_BYTES = 1 << 20


class Objects:
    """Immutable objects of one bucket, behind one memory and one cache folder."""

    def __init__(self, bucket: Bucket, folder: Path, known: Mapping[str, bytes] | None = None) -> None:
        self.bucket = bucket
        self._folder = folder
        self._bodies = dict(known or {})
        self._files: dict[str, Path] = {}
        self._fetching = threading.Lock()

    def known(self) -> dict[str, bytes]:
        """The small objects that were read so far, by key: whoever begins with them reads none again."""
        return dict(self._bodies)

    def forget(self, key: str) -> None:
        """The object is read again when it is asked for again."""
        self._bodies.pop(key, None)

    def find(self, key: str) -> bytes | None:
        """The object's bytes; None is asked again the next time."""
        if key not in self._bodies:
            found = self.bucket.find(key)
            if found is None:
                return None
            self._bodies[key] = found.body
        return self._bodies[key]

    def get(self, key: str) -> bytes:
        found = self.find(key)
        if found is None:
            raise NotFound(f"found no {key} in {self.bucket}")
        return found

    def get_all(self, keys: Iterable[str]) -> list[bytes]:
        """The bytes of each key, in their order; what is not yet known is read in parallel."""
        wanted = list(keys)
        missing = [key for key in wanted if key not in self._bodies]
        if len(missing) > 1:
            with ThreadPoolExecutor(min(THREADS, len(missing))) as pool:
                list(pool.map(self.get, missing))
        return [self.get(key) for key in wanted]

    def create(self, key: str, body: bytes) -> None:
        """Create-only, remembered. Raises Conflict when the object exists with other bytes."""
        self.bucket.create(key, body)
        self._bodies[key] = body

    def put_file(self, key: str, path: Path) -> None:
        """Create the object from a file; one that exists already says the same, and stays."""
        if self.bucket.head(key) is None:
            self.bucket.create_from_file(key, path)

    def file(self, key: str) -> Path:
        """
        A local copy of the object, named for its key and etag.

        Raises:
            NotFound: If there is no such object.
        """
        known = self._files.get(key)
        if known is not None and known.exists():
            return known
        info = self.bucket.head(key)
        if info is None:
            raise NotFound(f"found no {key} in {self.bucket}")
        name, suffix = os.path.splitext(key.rsplit("/", 1)[-1])
        place = self._folder / f"{name}-{sha256(f'{key} {info.etag}'.encode()).hexdigest()[:16]}{suffix}"
        with self._fetching:
            if not place.exists() or place.stat().st_size != info.size:
                self.fetch(key, place, etag=info.etag, size=info.size)
        self._files[key] = place
        return place

    def verified_file(self, key: str, digest: str) -> Path:
        """
        A local copy whose SHA-256 is `digest`, checked now, also when it was here already.

        Raises:
            Invalid: If the stored object has another digest: it was damaged or exchanged.
        """
        place = self._folder / f"{digest}{os.path.splitext(key)[1]}"
        with self._fetching:
            if not place.exists() or file_digest(place) != digest:
                self.fetch(key, place, check=lambda path: require_digest(path, digest, f"{key} in {self.bucket}"))
        return place

    def fetch(
        self,
        key: str,
        place: Path,
        etag: str | None = None,
        size: int | None = None,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        """Stream the object to a file beside `place`, check it, and rename it."""
        with written_whole(place) as part:
            with part.open("wb") as file:
                for chunk in self.bucket.stream(key, etag):
                    file.write(chunk)
            if size is not None and part.stat().st_size != size:
                raise Unavailable(f"{key} in {self.bucket}: read {part.stat().st_size} of {size} bytes")
            if check:
                check(part)


class written_whole:  # noqa: N801  a context manager, read as a verb
    """A temporary path beside `place`, renamed to it at the end; removed if the block raises."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> Path:
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=".part-", dir=self._place.parent)
        except OSError as error:
            raise Invalid(
                f"cannot write to {self._place.parent}: {error.strerror}",
                "set TRIMTAB_CACHE to a folder of yours with room",
            ) from error
        os.close(handle)
        self._part = Path(name)
        return self._part

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._part.replace(self._place)
        finally:
            self._part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unavailable(
                f"cannot write {self._place}: {error.strerror}",
                f"free some of the disk: {free_bytes(self._place.parent) >> 20} MiB are left",
            ) from error


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as lowercase hex."""
    hasher = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def require_digest(path: Path, digest: str, where: str) -> None:
    """
    Raises:
        Invalid: If the file's SHA-256 is another.
    """
    found = file_digest(path)
    if found != digest:
        raise Invalid(
            f"{where} is not what was registered: its SHA-256 is {found}, {digest} is needed",
            "it was damaged or exchanged: take another version, or train again (trimtab run)",
        )
