"""A store whose conditional writes are wrong is found out before any state stands in it."""

from __future__ import annotations

import threading

import pytest

from trimtab.adapters.conformance import prove_conditional_writes
from trimtab.adapters.memory import MemoryBucket, MemoryBuckets
from trimtab.core.errors import Conflict, Invalid
from trimtab.core.ports import Bucket


def test_a_right_store_passes_and_no_probe_remains(bucket: Bucket) -> None:
    prove_conditional_writes(bucket)
    assert list(bucket.list("")) == []


class IgnoresIfNoneMatch(MemoryBucket):
    def create(self, key: str, body: bytes) -> str:
        return self.put(key, body)


class IgnoresIfMatch(MemoryBucket):
    def replace(self, key: str, body: bytes, etag: str) -> str:
        return self.put(key, body)


class ComparesThenWrites(MemoryBucket):
    """Right for one writer at a time; who compares before the first has written goes through."""

    def __init__(self, name: str, store: MemoryBuckets) -> None:
        super().__init__(name, store)
        self._together = threading.Barrier(30)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        held = self.head(key)
        if held is None or held.etag != etag:
            raise Conflict("changed")
        self._together.wait(timeout=30)
        return self.put(key, body)


class LosesEveryWrite(MemoryBucket):
    """A store that writes and then says that the object existed."""

    def create(self, key: str, body: bytes) -> str:
        self.put(key, b"")
        raise Conflict("exists")


class SwapsWhatChanged(MemoryBucket):
    """Right in a race, and without a look at an object that nobody writes just now."""

    def replace(self, key: str, body: bytes, etag: str) -> str:
        if body == b"stale":
            return self.put(key, body)
        return super().replace(key, body, etag)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (IgnoresIfNoneMatch, r"create-only writes \(If-None-Match: \*\): 10 of 10 races had 3 winners"),
        (IgnoresIfMatch, r"compare-and-swap writes \(If-Match\): 10 of 10 races had 3 winners"),
        (ComparesThenWrites, r"compare-and-swap writes \(If-Match\): 10 of 10 races had 3 winners"),
        (LosesEveryWrite, r"create-only .* 10 of 10 races had 0 winners"),
        (SwapsWhatChanged, "went through although the object had changed"),
    ],
)
def test_a_wrong_store_is_refused_by_name_with_what_happened(wrong: type[MemoryBucket], found: str) -> None:
    bucket = wrong("state", MemoryBuckets())
    with pytest.raises(Invalid, match=found) as refused:
        prove_conditional_writes(bucket)
    assert "bucket state in memory must not hold state" in str(refused.value)
    assert "MinIO" in refused.value.hint
    assert list(bucket.list("")) == []
