"""Messages as AWS, MinIO, Ceph, Knative and Argo Events send them, each with what carries it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.app.events import Event
from trimtab.app.notifications.event import SOMETHING
from trimtab.app.notifications.reading import read
from trimtab.core.errors import Invalid

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
RECORD: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "eu-west-1",
    "eventTime": "2026-01-01T00:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": "landing", "arn": "arn:aws:s3:::landing"},
        "object": {"key": "in/a+b%2Bc.csv", "size": 12, "eTag": ETAG, "sequencer": "0055AED6DCD90281E5"},
    },
}
FOUND = [Event("landing", "in/a b+c.csv", ETAG)]
RECORDS = {"Records": [RECORD]}
SNS = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-west-1:1:uploads", "Message": ""}
BRIDGE: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "resources": ["arn:aws:s3:::landing"],
    "detail": {
        "version": "0",
        "bucket": {"name": "landing"},
        "object": {
            "key": "in/a b+c.csv",
            "size": 5,
            "etag": ETAG,
            "version-id": "IYV3p",
            "sequencer": "617f08299329d189",
        },
        "reason": "PutObject",
    },
}
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "x", "content-type": "application/json"}


def packed(value: Any) -> str:
    return json.dumps(value)


def cloud(data: Any, kind: str = "com.amazonaws.s3.ObjectCreated:Put", **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": kind, "source": "aws:s3.eu-west-1.landing", "id": "1", "data": data, **more}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(RECORDS, id="S3 to SQS"),
        pytest.param(SNS | {"Message": packed(RECORDS)}, id="S3 to SNS to SQS"),
        pytest.param(
            {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": packed(RECORDS)}]}, id="SQS batch"
        ),
        pytest.param({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": packed(RECORDS)}}]}, id="SNS batch"),
        pytest.param(BRIDGE, id="EventBridge"),
        pytest.param(SNS | {"Message": packed(BRIDGE)}, id="EventBridge to SNS"),
        pytest.param({"EventName": "s3:ObjectCreated:Put", "Key": "landing/in/a b+c.csv", **RECORDS}, id="MinIO"),
        pytest.param({"notification": [RECORD]}, id="Argo Events' MinIO source"),
        pytest.param({"context": {"type": "minio"}, "data": {"notification": [RECORD]}}, id="a whole event of Argo"),
        pytest.param(cloud(RECORD), id="CloudEvent of a record"),
        pytest.param(cloud(RECORDS, "com.amazonaws.ObjectCreated:Put"), id="CloudEvent of records"),
        pytest.param(cloud(BRIDGE, "aws.s3.object.created"), id="CloudEvent of EventBridge"),
        pytest.param(cloud({"notification": [RECORD]}, "minio"), id="CloudEvent of Argo Events"),
        pytest.param(cloud(packed(RECORDS)), id="CloudEvent with JSON as text"),
    ],
)
def test_every_carrier_s_message_tells_of_the_object(payload: dict[str, Any]) -> None:
    assert read(packed(payload).encode()) == FOUND


def test_ceph_sends_sizes_as_text_and_attributes_as_headers() -> None:
    record = RECORD | {"eventName": "s3:ObjectCreated:Put"}
    record["s3"] = record["s3"] | {"object": RECORD["s3"]["object"] | {"size": "12", "etag": ETAG, "eTag": ETAG}}
    headers = BINARY | {"ce-type": "com.amazonaws.s3:ObjectCreated:Put", "ce-subject": "in/a+b%2Bc.csv"}
    assert read(packed({"Records": [record]}).encode(), headers) == FOUND
    assert read(packed({"Records": [record]}).encode()) == FOUND


def test_data_of_a_cloud_event_may_be_base64() -> None:
    event = cloud(None) | {"data_base64": base64.b64encode(packed(RECORDS).encode()).decode()}
    del event["data"]
    assert read(packed(event).encode(), {"content-type": "application/cloudevents+json; charset=utf-8"}) == FOUND


def test_cloud_events_come_one_by_one_in_headers_and_many_in_a_batch() -> None:
    headers = BINARY | {"ce-type": "com.amazonaws.s3.ObjectCreated:Put"}
    assert read(packed(RECORD).encode(), headers) == FOUND
    batch = packed([cloud(RECORD), cloud(RECORDS)]).encode()
    assert read(batch, {"content-type": "application/cloudevents-batch+json"}) == FOUND * 2
    assert read(batch) == FOUND * 2
    assert read(b"[]", {"content-type": "application/cloudevents-batch+json"}) == []


@pytest.mark.parametrize("kind", ["dev.knative.eventing.aws-s3", "dev.knative.connector.event.aws-s3"])
def test_knative_s_source_sends_the_content_and_no_name_so_something_has_come(kind: str) -> None:
    assert read(b"ts,heat\n1,2\n", BINARY | {"ce-type": kind, "content-type": "text/csv"}) == [SOMETHING]
    assert read(packed(cloud("ts,heat", kind)).encode()) == [SOMETHING]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(BRIDGE | {"detail-type": "Object Deleted"}, id="EventBridge of a deletion"),
        pytest.param(BRIDGE | {"detail": {"bucket": {"name": "b"}, "object": {"key": "folder/"}}}, id="folder"),
        pytest.param({"EventName": "s3:ObjectRemoved:Delete", "Key": "landing/a"}, id="MinIO of a deletion"),
        pytest.param(cloud({"anything": 1}, "com.amazonaws.s3.ObjectRemoved:Delete"), id="CloudEvent of a deletion"),
        pytest.param(SNS | {"Message": packed({"Event": "s3:TestEvent", "Bucket": "landing"})}, id="test of AWS"),
        pytest.param(SNS | {"Type": "SubscriptionConfirmation", "Message": "You have chosen"}, id="SNS in a queue"),
    ],
)
def test_what_tells_of_no_new_object_gives_none(payload: dict[str, Any]) -> None:
    assert read(packed(payload).encode()) == []


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (SNS | {"Message": "no JSON"}, "not JSON"),
        (BRIDGE | {"detail": {"bucket": {}, "object": {"key": "k"}}}, "detail.bucket.name"),
        (cloud(None), "the data of the event"),
        (cloud({}, ""), "type = ''"),
        (cloud(None) | {"data_base64": "%%%"}, "not base64"),
        ({"Records": [{"body": "[]"}]}, "JSON of type list"),
    ],
)
def test_a_malformed_message_is_refused_with_what_was_found(payload: dict[str, Any], found: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(packed(payload).encode())
    assert found in str(refused.value)


def test_envelopes_without_end_are_refused() -> None:
    message: dict[str, Any] = RECORDS
    for _ in range(8):
        message = SNS | {"Message": packed(message)}
    with pytest.raises(Invalid, match="within more than 4 others"):
        read(packed(message).encode())


ENVELOPES = ["Records", "specversion", "type", "data", "data_base64", "detail", "detail-type", "TopicArn", "Message"]
PARTS = ["Sns", "body", "notification", "context", "EventName", "Key", "s3", "bucket", "name", "object", "key"]
WORDS = st.sampled_from([*ENVELOPES, *PARTS, "eventName", "event_type"])
TEXTS = st.sampled_from(
    ["{}", "[]", "Object Created", "ObjectCreated:Put", "com.amazonaws.s3.ObjectCreated:Put", "a/b"]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | TEXTS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(WORDS, each, max_size=5),
    max_leaves=16,
)


@given(ANY_JSON, st.dictionaries(st.sampled_from(["ce-specversion", "ce-type", "content-type"]), TEXTS))
def test_any_json_under_any_headers_is_read_or_refused(value: object, headers: dict[str, str]) -> None:
    try:
        events = read(json.dumps(value).encode(), headers)
    except Invalid:
        return
    assert all(isinstance(event, Event) for event in events)
