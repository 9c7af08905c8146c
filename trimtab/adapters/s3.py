"""
S3 by boto3: AWS, MinIO, Ceph, SeaweedFS alike, by endpoint and credentials from boto3's own variables.

State lives here alone, so its two conditional writes (create-only, compare-and-swap) must hold. An answer may be lost
after the store has done the work; boto3 then repeats the request and is refused by its own first write. So a refusal
is settled by reading back: the bytes we wanted are there, and the write was ours.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.adapters.conformance import prove_conditional_writes as prove_conditional_writes
from trimtab.adapters.s3_errors import DAMAGED_BODY, NO_ANSWER, answer_of, translate
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.ports import ObjectInfo, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHUNK_BYTES = 1 << 20
CONNECT_SECONDS = 5
READ_SECONDS = 30  # without a byte; a store that had crashed took up to 21 s for its first answer
ATTEMPTS = 4  # of one request, by boto3, with its exponential back-off: at most about 7 s of waiting
CONNECTIONS = 32
MAX_PUT_BYTES = 5 << 30  # S3's limit of one put
RESUMES = 4  # of one stream that breaks off


def connect() -> S3Buckets:
    """The endpoint that boto3's variables name (`AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`, …). Asks nothing yet."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session

    # KFP's executor shows everything from INFO on: where the credentials were found is no news in a run's log.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
    )
    core = get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    session = boto3.session.Session(botocore_session=core)
    try:
        made = session.client("s3", config=config)
        if "amazonaws.com" not in made.meta.endpoint_url:
            # A bucket as a host name resolves nowhere but at AWS.
            made = session.client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
    except (BotoCoreError, ValueError) as error:
        raise Invalid(
            f"the S3 settings do not work: {error}", "correct AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION or AWS_PROFILE"
        ) from error
    return S3Buckets(made)


class S3Buckets:
    """One endpoint with its credentials; may be used from many threads."""

    def __init__(self, client: S3Client) -> None:
        self.client = client
        self.endpoint: str = client.meta.endpoint_url

    def bucket(self, name: str) -> S3Bucket:
        return S3Bucket(self.client, name)

    def make(self, name: str) -> S3Bucket:
        """The bucket, created if it does not exist; unversioned, as state needs it."""
        from botocore.exceptions import BotoCoreError, ClientError

        region = self.client.meta.region_name
        try:
            if region and region != "us-east-1" and "amazonaws.com" in self.endpoint:
                where: Any = {"LocationConstraint": region}
                self.client.create_bucket(Bucket=name, CreateBucketConfiguration=where)
            else:
                self.client.create_bucket(Bucket=name)
        except (ClientError, BotoCoreError) as error:
            if answer_of(error)[1] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise translate(error, self.endpoint, name) from error
        return self.bucket(name)


class S3Bucket:
    """`ports.Bucket` over boto3."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name
        self.endpoint: str = client.meta.endpoint_url
        self._known = False  # the bucket has answered once, so a 404 speaks of the key

    def __str__(self) -> str:
        return f"s3://{self.name} at {self.endpoint}"

    def _ask(self, operation: Callable[..., Any], key: str, **arguments: Any) -> Any:
        """One call; errors come back as ours, except the answers 404, 409 and 412, which each caller reads itself."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = operation(Bucket=self.name, **arguments)
        except (ClientError, BotoCoreError) as error:
            status, code = answer_of(error)
            if code != "NoSuchBucket" and status in {404, 409, 412}:
                raise _Refused(status, code) from error
            raise translate(error, self.endpoint, self.name, key) from error
        self._known = True
        return found

    def find(self, key: str) -> Stored | None:
        for _ in range(RESUMES):
            try:
                found = self._ask(self._client.get_object, key, Key=key)
            except _Refused as refused:
                if refused.status == 404:
                    self._known = True  # a GET tells a missing key from a missing bucket
                    return None
                raise Conflict(f"{self} refused to read {key}: {refused.code}") from refused
            try:
                return Stored(found["Body"].read(), _bare(found["ETag"]))
            except NO_ANSWER() as error:
                broken = error
        raise translate(broken, self.endpoint, self.name, key) from broken

    def get(self, key: str) -> Stored:
        found = self.find(key)
        if found is None:
            raise NotFound(f"found no {key} in {self}")
        return found

    def head(self, key: str) -> ObjectInfo | None:
        try:
            found = self._ask(self._client.head_object, key, Key=key)
        except _Refused:
            if not self._known:
                self.find_bucket()
            return None
        return ObjectInfo(key, _bare(found["ETag"]), found["ContentLength"], found["LastModified"].astimezone(UTC))

    def find_bucket(self) -> None:
        """
        Raises:
            NotFound: If the bucket does not exist.
        """
        try:
            self._ask(self._client.head_bucket, "")
        except _Refused as refused:
            raise translate(refused.__cause__, self.endpoint, self.name, missing_bucket=True) from refused

    def stream(self, key: str, etag: str | None = None) -> Iterator[bytes]:
        done, size, tries = 0, 0, 0
        while not done or done < size:
            arguments = {"IfMatch": f'"{etag}"'} if etag else {}
            if done:
                arguments["Range"] = f"bytes={done}-"
            try:
                found = self._ask(self._client.get_object, key, Key=key, **arguments)
            except _Refused as refused:
                if refused.status == 404:
                    raise NotFound(f"found no {key} in {self}") from refused
                raise Conflict(f"{key} in {self} has changed: its etag is no longer {etag}") from refused
            etag = _bare(found["ETag"])  # the rest of a stream that broke off comes from the same object
            size = size or found["ContentLength"]
            try:
                for chunk in found["Body"].iter_chunks(CHUNK_BYTES):
                    done += len(chunk)
                    yield chunk
                return
            except NO_ANSWER() as error:
                tries += 1
                # A wrong checksum is known only at the end, when the caller has taken the damaged bytes.
                if tries > RESUMES or isinstance(error, DAMAGED_BODY()):
                    raise translate(error, self.endpoint, self.name, key) from error
            finally:
                found["Body"].close()

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        for page in self._pages(prefix, StartAfter=start_after) if start_after else self._pages(prefix):
            for found in page.get("Contents", []):
                modified = found["LastModified"].astimezone(UTC)
                yield ObjectInfo(found["Key"], _bare(found["ETag"]), found["Size"], modified)

    def folders(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix, Delimiter="/"):
            for found in page.get("CommonPrefixes", []):
                yield found["Prefix"].removeprefix(prefix).rstrip("/")

    def _pages(self, prefix: str, **arguments: Any) -> Iterator[Any]:
        while True:
            try:
                page = self._ask(self._client.list_objects_v2, prefix, Prefix=prefix, **arguments)
            except _Refused as refused:
                raise translate(refused.__cause__, self.endpoint, self.name, missing_bucket=True) from refused
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _put(self, key: str, body: Any, **condition: Any) -> str:
        """A put with its condition; `_Refused` where the condition did not hold."""
        for attempt in range(1, RESUMES + 1):
            try:
                put = self._client.put_object
                return _bare(self._ask(put, key, Key=key, Body=body, ChecksumAlgorithm="CRC32", **condition)["ETag"])
            except _Refused as refused:
                # 409: AWS saw another conditional write of this key under way, and asks for a repetition.
                if refused.status != 409 or attempt == RESUMES:
                    raise
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    def create(self, key: str, body: bytes) -> str:
        try:
            return self._put(key, body, IfNoneMatch="*")
        except _Refused as refused:
            return self._settle(key, body, f"{key} exists in {self} with other content", refused)

    def create_from_file(self, key: str, path: Path) -> str:
        size = path.stat().st_size
        if size > MAX_PUT_BYTES:
            raise Invalid(f"{path} has {size} bytes; one object takes at most {MAX_PUT_BYTES}", "split the upload")
        try:
            with path.open("rb") as body:
                return self._put(key, body, IfNoneMatch="*")
        except _Refused as refused:
            held = self.head(key)
            if held is None:
                raise Conflict(f"{key} in {self} could not be created: {refused.code}") from refused
            return held.etag

    def replace(self, key: str, body: bytes, etag: str) -> str:
        try:
            return self._put(key, body, IfMatch=f'"{etag}"')
        except _Refused as refused:
            # A missing key is answered 404 by AWS and 412 by others: to us it is the same conflict.
            return self._settle(key, body, f"{key} in {self} has changed: its etag is no longer {etag}", refused)

    def _settle(self, key: str, body: bytes, conflict: str, refused: _Refused) -> str:
        """Was the write that was refused ours, done by a request whose answer was lost?"""
        held = self.find(key)
        if held is not None and held.body == body:
            return held.etag
        raise Conflict(conflict) from refused

    def put(self, key: str, body: bytes) -> str:
        try:
            return self._put(key, body)
        except _Refused as refused:
            raise translate(refused.__cause__, self.endpoint, self.name, key) from refused

    def delete(self, key: str) -> None:
        try:
            self._ask(self._client.delete_object, key, Key=key)
        except _Refused as refused:
            if refused.status != 404:
                raise translate(refused.__cause__, self.endpoint, self.name, key) from refused


class _Refused(Exception):
    """The store's answer 404, 409 or 412, before a caller has said what it means."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


def _time(text: str) -> datetime:
    """A listing's times: botocore's own reading of them, which knows every form, took most of a listing's time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        from botocore.utils import parse_timestamp

        return parse_timestamp(text)


def _bare(etag: str) -> str:
    return etag.strip('"')
