"""
Messages that SNS sends to an HTTP endpoint: without a token, and signed instead.

A message counts when its topic is one that the operator named, its certificate lies where SNS of the topic's region
keeps them, the signature is the certificate's, and it was signed just now: who has recorded one cannot play it back for
ever. A subscription is confirmed for such a topic only.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trimtab.app.notifications.values import decoded, mapping, text
from trimtab.core.errors import Invalid, Unavailable

SNS_HEADER = "x-amz-sns-message-type"
HOST = re.compile(r"sns\.(?P<region>[a-z]{2}(-[a-z]+)+-\d+)\.amazonaws\.com(\.cn)?")
CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
ARN = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d+:[0-9A-Za-z_-]{1,256}(\.fifo)?")
# What is signed, in this order; the subject only where there is one.
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
FETCH_SECONDS = 5.0
MOST_FETCHED = 64 << 10  # bytes of a certificate, or of the answer to a confirmation
MOST_CERTIFICATES = 8  # remembered: a region changes its own about once a year
OLDEST = timedelta(hours=1)  # SNS goes on trying an HTTP endpoint for no longer; what it told of, the listing finds
AHEAD = timedelta(minutes=15)  # that SNS's clock may be; AWS refuses requests of clocks that are further off
FORGED = "SNS sends no such message: look who sends it, or send events with the listener's token"
Fetch = Callable[[str], bytes]
log = logging.getLogger("trimtab.sns")


class Refused(Invalid):
    """The message is not from where it says, or from a topic that nobody named."""


def fetch(url: str) -> bytes:
    """
    What lies at an address of SNS.

    Raises:
        Unavailable: If it cannot be had.
    """
    import httpx

    try:
        with httpx.stream("GET", url, timeout=FETCH_SECONDS, follow_redirects=False) as answer:
            answer.raise_for_status()
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_FETCHED:
                    raise Unavailable(
                        f"{urlsplit(url).hostname} sent more than {MOST_FETCHED} bytes",
                        "see whether a proxy answers for it",
                    )
            return body
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{urlsplit(url).hostname} did not answer: {error}", "the listener must reach it by HTTPS"
        ) from error


class Sns:
    """
    Judges messages of SNS. Safe in many threads.

    Args:
        topics: ARNs of the topics that are listened to.
        fetch: Gets certificates, and confirms subscriptions.
        now: Wall clock.
    """

    def __init__(
        self, topics: Iterable[str], fetch: Fetch = fetch, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.topics = frozenset(topics)
        for topic in self.topics:
            if ARN.fullmatch(topic) is None:
                raise Invalid(
                    f"found TRIMTAB_SNS_TOPICS with {topic!r}; needed ARNs of topics, separated by commas",
                    "such as arn:aws:sns:eu-west-1:123456789012:uploads",
                )
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, tuple[Any, datetime]] = {}  # by address: public key, and until when it counts
        self._lock = threading.Lock()

    def judge(self, body: bytes, known: bool = False) -> bytes | None:
        """
        What a message says; None where it says nothing of objects (a subscription, which is confirmed).

        Args:
            body: Of the request.
            known: Whether its sender showed the platform's token: then what he says counts as it is.

        Raises:
            Refused: If it must not be believed.
            Invalid: If it is no message of SNS.
            Unavailable: If the certificate cannot be had: SNS sends it again.
        """
        message = mapping(decoded(body), "the message")
        kind = text(message.get("Type"), "Type")
        if kind not in SIGNED:
            raise Invalid(f"found the Type {kind[:60]!r}; needed one of {', '.join(SIGNED)}", FORGED)
        if kind != "Notification" or not known:
            self._verify(message, kind)
        if kind == "Notification":
            return text(message.get("Message"), "Message").encode()
        if kind == "SubscriptionConfirmation":
            self._confirm(message)
        else:
            log.warning("%s does not send here any more: somebody ended the subscription", message["TopicArn"])
        return None

    def _verify(self, message: Mapping[str, Any], kind: str) -> None:
        topic = text(message.get("TopicArn"), "TopicArn")
        if topic not in self.topics:
            named = ", ".join(sorted(self.topics)) or "none"
            raise Refused(f"found a message of {topic[:300]}; listened to: {named}", "name it in TRIMTAB_SNS_TOPICS")
        lines = []
        for name in SIGNED[kind]:
            if name == "Subject" and message.get(name) is None:
                continue
            lines.append(f"{name}\n{text(message.get(name), name)}\n")
        key = self._key(text(message.get("SigningCertURL"), "SigningCertURL"), topic)
        _check("".join(lines).encode(), message, key)
        _check_age(text(message.get("Timestamp"), "Timestamp"), self._now())

    def _key(self, url: str, topic: str) -> Any:
        """The public key at an address; only where SNS of the topic's region keeps its certificates."""
        if not _of_sns(url, topic) or CERTIFICATE.fullmatch(urlsplit(url).path) is None or urlsplit(url).query:
            raise Refused(
                f"found the certificate's address {url[:200]!r}; needed one of SNS in the topic's region", FORGED
            )
        with self._lock:
            found = self._keys.get(url)
        if found is None or found[1] < self._now():
            found = _read_certificate(self._fetch(url), url, self._now())
            with self._lock:
                if len(self._keys) >= MOST_CERTIFICATES:
                    self._keys.clear()
                self._keys[url] = found
        return found[0]

    def _confirm(self, message: Mapping[str, Any]) -> None:
        url, topic = text(message.get("SubscribeURL"), "SubscribeURL"), message["TopicArn"]
        asked = parse_qs(urlsplit(url).query)
        if not _of_sns(url, topic) or asked.get("Action") != ["ConfirmSubscription"]:
            raise Refused(f"found the address {url[:200]!r}; needed one of SNS that confirms a subscription", FORGED)
        self._fetch(url)
        log.warning("subscribed to %s", topic)


def _of_sns(url: str, topic: str) -> bool:
    """Whether an address is one of SNS in the topic's region."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host, region = HOST.fullmatch(parts.netloc), ARN.fullmatch(topic)
    secure = parts.scheme == "https" and port is None and not parts.fragment
    return bool(secure and host and region and host["region"] == region["region"])


def _read_certificate(body: bytes, url: str, now: datetime) -> tuple[Any, datetime]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        certificate = x509.load_pem_x509_certificate(body)
        key = certificate.public_key()
    except ValueError as error:
        raise Refused(
            f"found no certificate at {url}: {error}", "see whether a proxy answers in the place of SNS"
        ) from error
    if (
        not isinstance(key, RSAPublicKey)
        or not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
    ):
        raise Refused(
            f"found a certificate at {url} that is not of RSA, or not valid now", "set this machine's clock right"
        )
    return key, certificate.not_valid_after_utc


def _check(signed: bytes, message: Mapping[str, Any], key: Any) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256

    version = text(message.get("SignatureVersion"), "SignatureVersion")
    algorithm = {"1": SHA1, "2": SHA256}.get(version)  # SNS signs by SHA-1 unless the topic says otherwise
    if algorithm is None:
        raise Refused(
            f"found SignatureVersion {version[:20]!r}; needed 1 or 2", "set the topic's SignatureVersion to 2"
        )
    try:
        signature = base64.b64decode(text(message.get("Signature"), "Signature"), validate=True)
        key.verify(signature, signed, PKCS1v15(), algorithm())
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise Refused("found a signature that is not the certificate's", FORGED) from error


def _check_age(signed: str, now: datetime) -> None:
    """Raises Refused unless it was signed just now."""
    try:
        at = datetime.fromisoformat(signed)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(f"found the Timestamp {signed[:60]!r}; needed a time with its zone", FORGED)
    if not now - OLDEST <= at <= now + AHEAD:
        raise Refused(
            f"found a message signed at {at:%Y-%m-%d %H:%M:%S%z} and it is {now:%Y-%m-%d %H:%M:%S%z}; needed one not "
            f"older than {OLDEST // timedelta(minutes=1)} min and not more than {AHEAD // timedelta(minutes=1)} ahead",
            "set this machine's clock right; a late message needs nothing, because the listing finds what it told of",
        )
