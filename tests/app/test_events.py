"""Notifications of object stores, as the stores send them, and as nobody should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.app.events import Event, parse
from trimtab.core.errors import Invalid


def seaweedfs(key: str = "/buckets/landing/in/a.csv", kind: str = "create", **entry: object) -> bytes:
    """As SeaweedFS 4.48 sends it, shortened."""
    new = {"name": key.rsplit("/", 1)[-1], "attributes": {"file_size": 5, "mime": "text/csv"}, **entry}
    return json.dumps({"event_type": kind, "key": key, "message": {"new_entry": new, "delete_chunks": True}}).encode()


def records(*objects: dict[str, object], name: str = "ObjectCreated:Put") -> bytes:
    return json.dumps(
        {"Records": [{"eventName": name, "s3": {"bucket": {"name": "landing"}, "object": each}} for each in objects]}
    ).encode()


def test_seaweedfs_sends_keys_raw_and_no_etag_of_ours() -> None:
    assert parse(seaweedfs("/buckets/landing/in/a b+c%20.csv")) == [Event("landing", "in/a b+c%20.csv")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(seaweedfs("/buckets/landing", is_directory=True), id="bucket"),
        pytest.param(seaweedfs("/buckets/landing/in", is_directory=True), id="folder"),
        pytest.param(seaweedfs("/buckets/landing/.uploads", is_directory=True), id="folder of parts"),
        pytest.param(seaweedfs("/buckets/landing/.uploads/a30444_0b9c/0001_fdf5.part"), id="part"),
        pytest.param(seaweedfs(kind="delete"), id="deletion"),
        pytest.param(b'{"event_type": "create", "key": "/buckets/b/a", "message": {"old_entry": {}}}', id="old entry"),
        pytest.param(b'{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"landing"}', id="test of AWS"),
        pytest.param(records(), id="no records"),
        pytest.param(records({"key": "a"}, name="ObjectRemoved:Delete"), id="removal"),
        pytest.param(records({"key": "folder/"}, name="s3:ObjectCreated:Put"), id="folder of MinIO"),
    ],
)
def test_what_tells_of_no_new_object_gives_none(body: bytes) -> None:
    assert parse(body) == []


def test_aws_and_minio_send_keys_form_urlencoded_with_the_etag() -> None:
    aws = records({"key": "in/a+b%2Bc.csv", "eTag": "5d41402abc4b2a76b9719d911017c592", "size": 5})
    minio = records({"key": "in%2Fa+b%2Bc.csv", "eTag": '"5d41"'}, name="s3:ObjectCreated:CompleteMultipartUpload")

    assert parse(aws) == [Event("landing", "in/a b+c.csv", "5d41402abc4b2a76b9719d911017c592")]
    assert parse(minio) == [Event("landing", "in/a b+c.csv", "5d41")]


def test_a_message_may_tell_of_many_objects() -> None:
    assert [event.key for event in parse(records({"key": "a"}, {"key": "b"}))] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON of type list"),
        (b"null", "JSON of type null"),
        (b"{}", "no keys"),
        (b'{"key": "x"}', "the keys 'key'"),
        (b'{"Records": {}}', "`Records` of type object"),
        (b'{"Records": [1]}', "Records[0] of type number"),
        (b'{"Records": [{}]}', "Records[0].eventName"),
        (b'{"Records": [{"eventName": "ObjectCreated:Put"}]}', "Records[0].s3 of type null"),
        (records({}), "Records[0].s3.object.key"),
        (records({"key": 7}), "Records[0].s3.object.key"),
        (records({"key": "%ff%fe"}), "not urlencoded UTF-8"),
        (records({"key": "k" * 1025}), "a key of 1025 bytes"),
        (b'{"event_type": "create"}', "key"),
        (seaweedfs("/topics/x"), "needed /buckets/BUCKET/KEY"),
        (b'{"event_type": "create", "key": "/buckets/b/k", "message": 3}', "message of type number"),
        (b'{"event_type": "create", "key": "/buckets/b/k", "message": {"new_entry": []}}', "new_entry of type list"),
        (b'{"event_type": "create", "key": "/buckets/b/\\ud800", "message": {"new_entry": {}}}', "not UTF-8"),
    ],
)
def test_a_malformed_payload_is_refused_with_what_was_found(body: bytes, found: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(body)

    assert found in str(refused.value)


WORDS = st.sampled_from(["Records", "event_type", "key", "message", "new_entry", "s3", "bucket", "object", "eventName"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(WORDS, each),
    max_leaves=12,
)


@given(ANY_JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        events = parse(json.dumps(value).encode())
    except Invalid:
        return
    assert all(isinstance(event, Event) for event in events)
