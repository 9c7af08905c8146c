"""What boto3 raises, told in our classes: which endpoint, which bucket, what it answered, and the next move."""

from __future__ import annotations

from trimtab.core.errors import Invalid, NotFound, TrimtabError, Unavailable

# Answers by which the store says who we are is wrong, and what then helps.
CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is unknown there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "the secret is wrong for this access key: set AWS_SECRET_ACCESS_KEY",
    "AccessDenied": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what this key may do with the bucket",
    "ExpiredToken": "the session token has expired: log in again, or renew AWS_SESSION_TOKEN",
    "InvalidToken": "the session token is wrong: set AWS_SESSION_TOKEN with its key, or unset it",
    "RequestTimeTooSkewed": "set this machine's clock: signatures hold for 15 minutes",
}
# 400s that a repetition may mend: the body was damaged or cut off on the way.
DAMAGED = {"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentChecksumMismatch", "InvalidDigest"}


def NO_ANSWER() -> tuple[type[Exception], ...]:  # noqa: N802
    """What an open connection raises when the rest of an answer does not come, or comes damaged."""
    from botocore.exceptions import (
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
        ReadTimeoutError,
        ResponseStreamingError,
    )
    from urllib3.exceptions import HTTPError

    broken = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError, FlexibleChecksumError, HTTPClientError)
    return (*broken, HTTPError, ConnectionError)


def DAMAGED_BODY() -> tuple[type[Exception], ...]:  # noqa: N802
    """What says that the bytes were read to the end, and are not those that were put."""
    from botocore.exceptions import FlexibleChecksumError

    return (FlexibleChecksumError,)


def answer_of(error: BaseException | None) -> tuple[int, str]:
    """The HTTP status and S3 code that the store answered with; (0, "") when it gave no answer."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0, ""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(response.get("Error", {}).get("Code", ""))


def translate(
    error: BaseException | None, endpoint: str, bucket: str, key: str = "", missing_bucket: bool = False
) -> TrimtabError:
    """The error of ours that tells what the caller can do; the caller raises it `from` the cause."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    where = f"s3://{bucket}/{key} at {endpoint}" if key else f"s3://{bucket} at {endpoint}"
    status, code = answer_of(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Invalid(
            f"found no S3 credentials for {endpoint}",
            "start the platform in this folder (trimtab up), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if code == "NoSuchBucket" or missing_bucket:
        return NotFound(f"found no bucket {bucket} at {endpoint}", "create the bucket, or correct its name")
    if status == 403 or code in CREDENTIALS:
        hint = CREDENTIALS.get(code, CREDENTIALS["AccessDenied"])
        return Invalid(f"{where} refused us: {status} {code}", hint)
    if status in {301, 307} or code == "AuthorizationHeaderMalformed":
        return Invalid(
            f"{where} is in another region: {status} {code}", "set AWS_DEFAULT_REGION to the bucket's region"
        )
    if status == 501:
        return Invalid(f"{where} does not know this request: {code}", "use a store with conditional writes")
    if 400 <= status < 500 and status not in {408, 429} and code not in DAMAGED:
        return Invalid(f"{where} refused the request: {status} {code}: {error}")
    if status:
        return Unavailable(f"{where} answers {status} {code}", "the store is busy or unwell: look at its log and disk")
    return Unavailable(f"{where} does not answer: {error}", "is the store running? On this machine: trimtab up -f SPEC")
