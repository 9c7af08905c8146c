"""What every store must do, word for word the docstrings of `ports.Bucket`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.core.errors import Conflict, NotFound
from trimtab.core.ports import Bucket, Buckets

THREADS = 4  # SeaweedFS lets a writer that meets another on its key wait a second


def winners(write: Callable[[bytes], str]) -> list[bytes]:
    """Threads write at once, each its own bytes; those that were told they won."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> bytes | None:
        body = f"writer {number}".encode()
        start.wait(timeout=30)
        try:
            write(body)
        except Conflict:
            return None
        return body

    with ThreadPoolExecutor(THREADS) as pool:
        return [body for body in pool.map(run, range(THREADS)) if body is not None]


def test_what_was_put_is_read_back_with_its_etag(bucket: Bucket) -> None:
    etag = bucket.put("a/b c+d.csv", b"x,y\n1,2\n")
    read = bucket.get("a/b c+d.csv")
    assert (read.body, read.etag) == (b"x,y\n1,2\n", etag)
    assert '"' not in etag


def test_an_empty_object_is_an_object(bucket: Bucket) -> None:
    bucket.put("empty", b"")
    assert bucket.get("empty").body == b""
    assert list(bucket.stream("empty")) == []


def test_a_missing_object_is_none_to_find_and_head_and_an_error_to_get(bucket: Bucket) -> None:
    assert bucket.find("missing") is None
    assert bucket.head("missing") is None
    with pytest.raises(NotFound, match="found no missing"):
        bucket.get("missing")
    with pytest.raises(NotFound, match="found no missing"):
        list(bucket.stream("missing"))


def test_head_and_list_tell_the_same_of_an_object(bucket: Bucket) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    etag = bucket.put("data/one.csv", b"12345")
    head = bucket.head("data/one.csv")
    (listed,) = bucket.list("data/")
    assert head is not None
    assert (head.key, head.etag, head.size) == (listed.key, listed.etag, listed.size) == ("data/one.csv", etag, 5)
    assert before <= head.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert listed.modified.utcoffset() == timedelta(0)


def test_a_large_object_streams_in_chunks(bucket: Bucket) -> None:
    body = bytes(range(256)) * 12_000
    etag = bucket.put("large", body)
    chunks = list(bucket.stream("large", etag))
    assert b"".join(chunks) == body
    assert max(map(len, chunks)) <= 1 << 20


def test_a_stream_of_an_object_that_changed_is_refused(bucket: Bucket) -> None:
    former = bucket.put("data.csv", b"one")
    bucket.put("data.csv", b"two")
    with pytest.raises(Conflict, match="changed"):
        list(bucket.stream("data.csv", former))


def test_flat_keys_list_in_order_and_after_a_key(bucket: Bucket) -> None:
    for number in (10, 2, 9, 1):
        bucket.create(f"journal/{number:020d}.json", str(number).encode())
    bucket.put("journal2/x", b"")
    numbers = [int(info.key[8:28]) for info in bucket.list("journal/")]
    assert numbers == [1, 2, 9, 10]
    assert [int(info.key[8:28]) for info in bucket.list("journal/", f"journal/{2:020d}.json")] == [9, 10]
    assert list(bucket.list("journal/", f"journal/{10:020d}.json")) == []


def test_a_listing_goes_on_over_its_pages(bucket: Bucket) -> None:
    keys = [f"many/{number:020d}.json" for number in range(1003)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, b"1"), keys))
    assert [info.key for info in bucket.list("many/")] == keys
    assert [info.key for info in bucket.list("many/", keys[1000])] == keys[1001:]


def test_folders_are_named_once_whatever_stands_in_them(bucket: Bucket) -> None:
    for key in ("ns/flights/a", "ns/flights/b/c", "ns/flights-eu/a", "ns/file", "other/x/y"):
        bucket.put(key, b"1")
    assert sorted(bucket.folders("ns/")) == ["flights", "flights-eu"]
    assert list(bucket.folders("none/")) == []


def test_a_created_object_keeps_its_first_bytes(bucket: Bucket) -> None:
    etag = bucket.create("versions/1", b"first")
    with pytest.raises(Conflict, match="exists"):
        bucket.create("versions/1", b"second")
    assert bucket.create("versions/1", b"first") == etag
    assert bucket.get("versions/1").body == b"first"


def test_of_many_who_create_one_key_one_wins(bucket: Bucket) -> None:
    won = winners(lambda body: bucket.create("claim", body))
    assert won == [bucket.get("claim").body]


def test_of_many_who_swap_one_object_one_wins(bucket: Bucket) -> None:
    etag = bucket.create("claim", b"free")
    won = winners(lambda body: bucket.replace("claim", body, etag))
    assert won == [bucket.get("claim").body]


def test_a_swap_needs_the_object_as_it_was_read(bucket: Bucket) -> None:
    first = bucket.create("lease", b"1")
    second = bucket.replace("lease", b"2", first)
    with pytest.raises(Conflict, match="changed"):
        bucket.replace("lease", b"3", first)
    assert bucket.replace("lease", b"4", second) == bucket.get("lease").etag
    assert bucket.get("lease").body == b"4"


def test_a_swap_of_a_missing_object_is_a_conflict(bucket: Bucket) -> None:
    with pytest.raises(Conflict):
        bucket.replace("nothing", b"1", "0" * 32)
    assert bucket.find("nothing") is None


def test_a_file_is_created_once(bucket: Bucket, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"rows" * 500_000)
    second.write_bytes(b"other")
    etag = bucket.create_from_file("partitions/p.parquet", first)
    assert bucket.create_from_file("partitions/p.parquet", second) == etag
    assert b"".join(bucket.stream("partitions/p.parquet")) == first.read_bytes()


def test_deleting_twice_is_no_error(bucket: Bucket) -> None:
    bucket.put("probe", b"1")
    bucket.delete("probe")
    bucket.delete("probe")
    assert bucket.find("probe") is None
    assert list(bucket.list("")) == []


@pytest.mark.parametrize(
    "read",
    [
        lambda bucket: bucket.find("key"),
        lambda bucket: bucket.head("key"),
        lambda bucket: list(bucket.list("")),
        lambda bucket: list(bucket.stream("key")),
    ],
    ids=["find", "head", "list", "stream"],
)
def test_a_missing_bucket_is_named(endpoint: Buckets, read: Callable[[Bucket], object]) -> None:
    with pytest.raises(NotFound, match="found no bucket not-made-yet"):
        read(endpoint.bucket("not-made-yet"))
