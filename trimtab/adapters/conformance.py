"""Does this store keep its word? A short race of conditional writes, before any state is trusted to it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trimtab.core.errors import Conflict, Invalid
from trimtab.core.ports import Bucket

# Stores that lose this race lost 4 to 10 of 10 rounds. All rounds run at once, since SeaweedFS lets a writer that meets
# another on its key wait a second: 10 rounds of 3 writers take it 2.6 s, whichever way they are refused.
WRITERS = 3
ROUNDS = 10


def prove_conditional_writes(bucket: Bucket, writers: int = WRITERS, rounds: int = ROUNDS) -> None:
    """
    Let writers race to create a key, then to swap it; each race must have exactly one winner, whose bytes stand.

    The probes stand under `.trimtab-probe/` and are deleted afterwards.

    Raises:
        Invalid: If a race had no winner or several, or if a stale write went through: such a store loses state.
    """
    prefix = f".trimtab-probe/{uuid.uuid4().hex}/"
    keys = [f"{prefix}{number:020d}.json" for number in range(rounds)]
    with ThreadPoolExecutor(writers * rounds) as pool:
        try:
            created = _race(pool, keys, writers, bucket.create)
            _judge(bucket, "create-only writes (If-None-Match: *)", created)

            read = {key: bucket.get(key).etag for key in keys}
            swapped = _race(pool, keys, writers, lambda key, body: bucket.replace(key, body, read[key]))
            _judge(bucket, "compare-and-swap writes (If-Match)", swapped)

            # Once more, when nobody else writes: a store may be right only while it is busy.
            if _wins(lambda body: bucket.replace(keys[0], body, read[keys[0]]), b"stale"):
                raise _refusal(bucket, "a write with If-Match went through although the object had changed")
        finally:
            list(pool.map(bucket.delete, keys))


def _race(
    pool: ThreadPoolExecutor, keys: list[str], writers: int, write: Callable[[str, bytes], str]
) -> dict[str, list[bytes]]:
    """All write at once, each its own bytes; for each key the bytes of those that were told they won."""
    start = threading.Barrier(len(keys) * writers)

    def run(key: str) -> tuple[str, bytes, bool]:
        body = uuid.uuid4().hex.encode()
        start.wait(timeout=60)
        return key, body, _wins(lambda body: write(key, body), body)

    won: dict[str, list[bytes]] = {key: [] for key in keys}
    for key, body, wins in pool.map(run, keys * writers):
        if wins:
            won[key].append(body)
    return won


def _wins(write: Callable[[bytes], str], body: bytes) -> bool:
    try:
        write(body)
    except Conflict:
        return False
    return True


def _judge(bucket: Bucket, what: str, won: dict[str, list[bytes]]) -> None:
    wrong = [len(bodies) for bodies in won.values() if len(bodies) != 1]
    if wrong:
        counts = " and ".join(str(count) for count in sorted(set(wrong)))
        raise _refusal(bucket, f"{what}: {len(wrong)} of {len(won)} races had {counts} winners, and one is needed")
    if any(bucket.get(key).body != bodies[0] for key, bodies in won.items()):
        raise _refusal(bucket, f"{what}: an object holds other bytes than the winner's")


def _refusal(bucket: Bucket, found: str) -> Invalid:
    return Invalid(
        f"{bucket} must not hold state: {found}",
        "use a store whose conditional writes hold: AWS S3, MinIO, Ceph, or the one that `trimtab up` starts",
    )
