"""An object that may have come."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.core.errors import Invalid

LONGEST_KEY = 1024  # bytes of UTF-8, S3's own limit


@dataclass(frozen=True, slots=True)
class Event:
    """
    An object version that may have come; `etag` is None where the event does not tell it.

    Without a key, something has come and the event does not say what: the source has to be listed. So it is without a
    bucket, of every source.
    """

    bucket: str
    key: str
    etag: str | None = None


SOMETHING = Event("", "")


def event(bucket: str, key: str, etag: object = None) -> Event:
    """
    The event of an object, its etag without quotes.

    Raises:
        Invalid: If there can be no such object.

    >>> event("flights", "in/a.csv", '"abc"')
    Event(bucket='flights', key='in/a.csv', etag='abc')
    """
    try:
        length = len(key.encode())
        bucket.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"found a key that is not UTF-8: {key[:200]!r}") from error
    if length > LONGEST_KEY:
        raise Invalid(f"found a key of {length} bytes; S3 allows {LONGEST_KEY}")
    return Event(bucket, key, etag.strip('"') if isinstance(etag, str) and etag else None)
