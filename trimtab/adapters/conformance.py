"""Does this store keep its word? A short race of conditional writes, before any state is trusted to it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trimtab.core.errors import Conflict, Invalid
from trimtab.core.ports import Bucket

# Stores that lose this race lost 4 to 10 of 10 rounds: five rounds let none of them through in our measurements.
THREADS = 8
ROUNDS = 5


def prove_conditional_writes(bucket: Bucket, threads: int = THREADS, rounds: int = ROUNDS) -> None:
    """
    Let threads race to create one key, then to swap it; each race must have exactly one winner, whose bytes stand.

    The probes stand under `.trimtab-probe/` and are deleted afterwards.

    Raises:
        Invalid: If a race had no winner or several, or if a stale write went through: such a store loses state.
    """
    prefix = f".trimtab-probe/{uuid.uuid4().hex}/"
    keys = [f"{prefix}{number:020d}.json" for number in range(rounds)]
    with ThreadPoolExecutor(threads) as pool:
        try:
            for key in keys:
                _prove_one(bucket, key, pool, threads)
        finally:
            for key in keys:
                bucket.delete(key)


def _prove_one(bucket: Bucket, key: str, pool: ThreadPoolExecutor, threads: int) -> None:
    first = _race(pool, threads, lambda body: bucket.create(key, body))
    _judge(bucket, key, "create-only writes (If-None-Match: *)", first)

    stale = bucket.get(key).etag
    second = _race(pool, threads, lambda body: bucket.replace(key, body, stale))
    _judge(bucket, key, "compare-and-swap writes (If-Match)", second)

    if _wins(lambda body: bucket.replace(key, body, stale), b"stale"):
        raise _refusal(bucket, "a write with If-Match went through although the object had changed")


def _race(pool: ThreadPoolExecutor, threads: int, write: Callable[[bytes], str]) -> list[bytes]:
    """All threads write at once, each its own bytes; the bytes of those that were told they won."""
    start = threading.Barrier(threads)

    def run(body: bytes) -> bool:
        start.wait(timeout=60)
        return _wins(write, body)

    bodies = [uuid.uuid4().hex.encode() for _ in range(threads)]
    return [body for body, won in zip(bodies, pool.map(run, bodies), strict=True) if won]


def _wins(write: Callable[[bytes], str], body: bytes) -> bool:
    try:
        write(body)
    except Conflict:
        return False
    return True


def _judge(bucket: Bucket, key: str, what: str, winners: list[bytes]) -> None:
    if len(winners) != 1:
        raise _refusal(bucket, f"{what} had {len(winners)} winners in a race, and one is needed")
    if bucket.get(key).body != winners[0]:
        raise _refusal(bucket, f"{what}: the object holds other bytes than the winner's")


def _refusal(bucket: Bucket, found: str) -> Invalid:
    return Invalid(
        f"{bucket} must not hold state: {found}",
        "use a store whose conditional writes hold: AWS S3, MinIO, Ceph, or the one that `trimtab up` starts",
    )
