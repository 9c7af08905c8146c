"""A store in this process's memory, for tests: S3 as `ports.Bucket` words it, and faults on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trimtab.core.errors import Conflict, NotFound
from trimtab.core.ports import ObjectInfo, Stored

CHUNK_BYTES = 1 << 20

# Called as fail(operation, key, done) before (done=False) and after (done=True) each operation; what it raises is what
# the caller sees. Raising after a write is a lost answer: the store did it, and the caller does not know.
Fault = Callable[[str, str, bool], None]


@dataclass
class MemoryBuckets:
    """
    An endpoint whose buckets live in memory.

    Args:
        fail: Raises the errors that a test wants, where it wants them.
        only: The buckets that exist; without it every bucket does.
    """

    fail: Fault | None = None
    only: Collection[str] | None = None
    _buckets: dict[str, MemoryBucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bucket(self, name: str) -> MemoryBucket:
        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = MemoryBucket(name, self)
            return self._buckets[name]


class MemoryBucket:
    """One bucket in memory; every operation is atomic."""

    def __init__(self, name: str, store: MemoryBuckets) -> None:
        self.name = name
        self._store = store
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}

    def __str__(self) -> str:
        return f"bucket {self.name} in memory"

    def _begin(self, operation: str, key: str) -> None:
        if self._store.fail:
            self._store.fail(operation, key, False)
        if self._store.only is not None and self.name not in self._store.only:
            raise NotFound(f"found no bucket {self.name} in memory", "create the bucket, or correct its name")

    def _end(self, operation: str, key: str) -> None:
        if self._store.fail:
            self._store.fail(operation, key, True)

    def _write(self, key: str, body: bytes) -> str:
        """The lock is held."""
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._objects[key] = (ObjectInfo(key, etag, len(body), datetime.now(UTC)), bytes(body))
        return etag

    def find(self, key: str) -> Stored | None:
        self._begin("get", key)
        with self._lock:
            held = self._objects.get(key)
        self._end("get", key)
        return Stored(held[1], held[0].etag) if held else None

    def get(self, key: str) -> Stored:
        found = self.find(key)
        if found is None:
            raise NotFound(f"found no {key} in {self}")
        return found

    def head(self, key: str) -> ObjectInfo | None:
        self._begin("head", key)
        with self._lock:
            held = self._objects.get(key)
        self._end("head", key)
        return held[0] if held else None

    def stream(self, key: str, etag: str | None = None) -> Iterator[bytes]:
        found = self.get(key)
        if etag is not None and found.etag != etag:
            raise Conflict(f"{key} in {self} has changed: its etag is {found.etag}, {etag} was asked for")
        for start in range(0, len(found.body), CHUNK_BYTES):
            yield found.body[start : start + CHUNK_BYTES]

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        self._begin("list", prefix)
        with self._lock:
            found = [self._objects[key][0] for key in sorted(self._objects) if key.startswith(prefix)]
        self._end("list", prefix)
        yield from (info for info in found if info.key > start_after)

    def folders(self, prefix: str) -> Iterator[str]:
        rests = (info.key.removeprefix(prefix) for info in self.list(prefix))
        yield from sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest})

    def create(self, key: str, body: bytes) -> str:
        self._begin("create", key)
        with self._lock:
            held = self._objects.get(key)
            if held is not None and held[1] != body:
                raise Conflict(f"{key} exists in {self} with other content")
            etag = held[0].etag if held else self._write(key, body)
        self._end("create", key)
        return etag

    def create_from_file(self, key: str, path: Path) -> str:
        self._begin("create", key)
        with self._lock:
            held = self._objects.get(key)
            etag = held[0].etag if held else self._write(key, path.read_bytes())
        self._end("create", key)
        return etag

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self._begin("replace", key)
        with self._lock:
            held = self._objects.get(key)
            if held is not None and held[1] == body:
                written = held[0].etag
            elif held is None or held[0].etag != etag:
                found = f"its etag is {held[0].etag}" if held else "it does not exist"
                raise Conflict(f"{key} in {self} has changed: {found}, {etag} was expected")
            else:
                written = self._write(key, body)
        self._end("replace", key)
        return written

    def put(self, key: str, body: bytes) -> str:
        self._begin("put", key)
        with self._lock:
            etag = self._write(key, body)
        self._end("put", key)
        return etag

    def delete(self, key: str) -> None:
        self._begin("delete", key)
        with self._lock:
            self._objects.pop(key, None)
        self._end("delete", key)
