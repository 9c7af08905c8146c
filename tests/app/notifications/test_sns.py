"""SNS at the door: who is believed without the token, and who is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from trimtab.app.endpoints import OneModel
from trimtab.app.events import Event
from trimtab.app.listener import Listener
from trimtab.app.notifications.sns import SIGNED, SNS_HEADER, Refused, Sns
from trimtab.core.errors import Invalid, Unavailable

TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{HOST}/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
RECORDS = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "in/a"}}}]}
Sign = Callable[..., dict[str, Any]]


def stamped(moment: datetime) -> str:
    """As SNS writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Amazon:
    """A key with its certificate, and what lies at Amazon's addresses."""

    def __init__(self, days: int = 30) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        made = (
            made.serial_number(1).not_valid_before(now - timedelta(days=60)).not_valid_after(now + timedelta(days=days))
        )
        certificate = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.there = {CERTIFICATE: certificate}
        self.fetched: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if url.startswith(f"{HOST}/?Action=ConfirmSubscription"):
            return b"<ConfirmSubscriptionResponse/>"
        if url not in self.there:
            raise Unavailable(f"nothing lies at {url}")
        return self.there[url]

    def signed(self, version: str = "1", **fields: Any) -> bytes:
        message = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": json.dumps(RECORDS),
            "Timestamp": stamped(datetime.now(UTC)),
            "SigningCertURL": CERTIFICATE,
            "SignatureVersion": version,
            **fields,
        }
        names = [name for name in SIGNED[message["Type"]] if message.get(name) is not None]
        text = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303
        message["Signature"] = base64.b64encode(self.key.sign(text, padding.PKCS1v15(), algorithm)).decode()
        return json.dumps(message).encode()

    def confirmation(self, **fields: Any) -> bytes:
        url = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
        more = {"Type": "SubscriptionConfirmation", "Token": "2336412f37", "SubscribeURL": url, "Message": "Confirm it"}
        return self.signed(**(more | fields))


@pytest.fixture(scope="module")
def made() -> Amazon:
    return Amazon()


@pytest.fixture
def amazon(made: Amazon) -> Amazon:
    made.fetched.clear()
    return made


@pytest.fixture
def sns(amazon: Amazon) -> Sns:
    return Sns([TOPIC], amazon.fetch)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon S3 Notification"}])
def test_a_signed_message_of_a_named_topic_is_believed(
    amazon: Amazon, sns: Sns, version: str, subject: dict[str, str]
) -> None:
    assert json.loads(sns.judge(amazon.signed(version, **subject)) or b"") == RECORDS


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=59), timedelta(minutes=-14)])
@pytest.mark.parametrize("kind", ["signed", "confirmation"])
def test_a_message_of_the_last_hour_is_believed(amazon: Amazon, late: timedelta, kind: str) -> None:
    now = datetime.now(UTC)
    sns = Sns([TOPIC], amazon.fetch, lambda: now + late)
    sns.judge(getattr(amazon, kind)(Timestamp=stamped(now)))


@pytest.mark.parametrize("late", [timedelta(minutes=61), timedelta(days=2), timedelta(minutes=-16)])
@pytest.mark.parametrize("kind", ["signed", "confirmation"])
def test_a_message_that_is_played_back_is_refused_however_well_it_is_signed(
    amazon: Amazon, late: timedelta, kind: str
) -> None:
    now = datetime.now(UTC)
    sns = Sns([TOPIC], amazon.fetch, lambda: now + late)
    with pytest.raises(Refused, match="needed one not older than 60 min and not more than 15 ahead") as refused:
        sns.judge(getattr(amazon, kind)(Timestamp=stamped(now)))
    assert "the listing finds" in refused.value.hint
    assert amazon.fetched == [CERTIFICATE]


@pytest.mark.parametrize("when", ["yesterday", "2026-05-02T00:54:06"])
def test_a_message_that_does_not_say_when_is_refused(amazon: Amazon, sns: Sns, when: str) -> None:
    with pytest.raises(Refused, match=f"found the Timestamp '{when}'"):
        sns.judge(amazon.signed(Timestamp=when))


def test_a_sender_who_shows_the_token_may_hand_on_what_is_old(amazon: Amazon, sns: Sns) -> None:
    old = amazon.signed(Timestamp="2020-05-02T00:54:06.655Z")
    assert json.loads(sns.judge(old, known=True) or b"") == RECORDS


def test_a_certificate_is_fetched_once(amazon: Amazon, sns: Sns) -> None:
    for number in range(3):
        sns.judge(amazon.signed(MessageId=str(number)))
    assert amazon.fetched == [CERTIFICATE]


@pytest.mark.parametrize("field", ["Message", "Timestamp", "MessageId", "Subject"])
def test_a_changed_message_is_refused(amazon: Amazon, sns: Sns, field: str) -> None:
    message = json.loads(amazon.signed(Subject="Amazon S3 Notification")) | {field: "something else"}
    with pytest.raises(Refused, match="signature"):
        sns.judge(json.dumps(message).encode())


def test_a_signature_of_another_version_is_refused(amazon: Amazon, sns: Sns) -> None:
    message = json.loads(amazon.signed("1")) | {"SignatureVersion": "2"}
    with pytest.raises(Refused, match="signature"):
        sns.judge(json.dumps(message).encode())
    with pytest.raises(Refused, match="SignatureVersion '3'"):
        sns.judge(json.dumps(message | {"SignatureVersion": "3"}).encode())


def test_a_topic_that_nobody_named_is_refused_before_anything_is_fetched(amazon: Amazon, sns: Sns) -> None:
    with pytest.raises(Refused, match="listened to: arn:aws:sns:eu-west-1:123456789012:uploads"):
        sns.judge(amazon.signed(TopicArn="arn:aws:sns:eu-west-1:666666666666:uploads"))
    assert amazon.fetched == []


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://evil.example@sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://my-bucket.s3.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish&x=/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem?next=https://evil.example",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-1.pem",
        "file:///etc/SimpleNotificationService-1.pem",
        "https://[::1/SimpleNotificationService-1.pem",
    ],
)
def test_a_certificate_from_elsewhere_is_never_fetched(amazon: Amazon, sns: Sns, url: str) -> None:
    with pytest.raises(Refused, match="certificate's address"):
        sns.judge(amazon.signed(SigningCertURL=url))
    assert amazon.fetched == []


def test_a_certificate_that_is_over_or_none_is_refused() -> None:
    old = Amazon(days=-1)
    with pytest.raises(Refused, match="not valid now"):
        Sns([TOPIC], old.fetch).judge(old.signed())
    broken = Amazon()
    broken.there[CERTIFICATE] = b"<html>"
    with pytest.raises(Refused, match="no certificate"):
        Sns([TOPIC], broken.fetch).judge(broken.signed())


def test_a_certificate_that_cannot_be_had_lets_sns_try_again(amazon: Amazon) -> None:
    def away(url: str) -> bytes:
        raise Unavailable("sns.eu-west-1.amazonaws.com did not answer")

    with pytest.raises(Unavailable):
        Sns([TOPIC], away).judge(amazon.signed())


def test_a_subscription_is_confirmed_for_a_named_topic_only(amazon: Amazon, sns: Sns) -> None:
    assert sns.judge(amazon.confirmation()) is None
    assert amazon.fetched == [CERTIFICATE, json.loads(amazon.confirmation())["SubscribeURL"]]
    amazon.fetched.clear()
    with pytest.raises(Refused):
        sns.judge(amazon.confirmation(TopicArn="arn:aws:sns:eu-west-1:666666666666:uploads"))
    with pytest.raises(Refused, match="confirms a subscription"):
        sns.judge(amazon.confirmation(SubscribeURL="https://evil.example/?Action=ConfirmSubscription"))
    with pytest.raises(Refused, match="confirms a subscription"):
        sns.judge(amazon.confirmation(SubscribeURL=f"{HOST}/?Action=DeleteTopic"))
    assert amazon.fetched == []


def test_the_token_does_not_confirm_a_forged_subscription(amazon: Amazon, sns: Sns) -> None:
    forged = json.loads(amazon.confirmation()) | {"Token": "another"}
    with pytest.raises(Refused, match="signature"):
        sns.judge(json.dumps(forged).encode(), known=True)


def test_an_address_that_is_no_topic_s_is_refused_at_the_start() -> None:
    with pytest.raises(Invalid, match="TRIMTAB_SNS_TOPICS"):
        Sns(["uploads"])


class Desk:
    """A desk that writes down what it is handed."""

    model_name = "flights"

    def __init__(self) -> None:
        self.noted: list[Event] = []

    def note(self, events: list[Event]) -> int:
        self.noted += events
        return len(events)


def test_at_the_door_a_signature_is_as_good_as_the_token_and_only_for_events(amazon: Amazon, sns: Sns) -> None:
    desk = Desk()
    listener = Listener(OneModel(desk), "s3cret", sns=sns)  # type: ignore[arg-type]
    base = f"http://127.0.0.1:{listener.start()}"
    marked = {SNS_HEADER: "Notification", "Content-Type": "text/plain; charset=UTF-8"}
    try:
        with httpx.Client(base_url=base, trust_env=False) as client:
            taken = client.post("/v1/events", content=amazon.signed(), headers=marked)
            forged = client.post("/v1/events", content=amazon.signed()[:-3] + b'x"}', headers=marked)
            plain = client.post("/v1/events", content=json.dumps(RECORDS), headers=marked)
            unmarked = client.post("/v1/events", content=amazon.signed())
            elsewhere = client.post("/v1/models/flights/runs", headers=marked)
    finally:
        listener.stop()
    assert (taken.status_code, taken.json()) == (202, {"objects": 1, "new": 1})
    assert [each.status_code for each in (forged, plain, unmarked, elsewhere)] == [403, 400, 401, 401]
    assert desk.noted == [Event("b", "in/a")]
