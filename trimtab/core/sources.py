"""
Where models of a namespace may read: who edits models names addresses, and the platform's own keys open them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trimtab.core.errors import Invalid

VARIABLE = "TRIMTAB_SOURCES"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What models of the namespaces may read; in each pattern `*` stands for any characters."""

    namespaces: str
    bucket: str
    keys: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.keys}"

    def holds(self, bucket: str, key: str) -> bool:
        """Whether an object, or all under a prefix, is among it."""
        return fnmatchcase(bucket, self.bucket) and fnmatchcase(key, self.keys)


def parse(text: str) -> tuple[Allowed, ...]:
    """
    The setting: `NAMESPACE=BUCKET/KEYS`, several with commas or on lines of their own.

    Raises:
        Invalid: If an entry is not of that form.

    >>> parse("shop=shop-landing/*, *=public/samples/*")[1]
    Allowed(namespaces='*', bucket='public', keys='samples/*')
    """
    found = []
    for entry in text.replace(",", " ").split():
        namespaces, equals, address = entry.partition("=")
        bucket, slash, keys = address.partition("/")
        if not (namespaces and equals and bucket and slash and keys) or bucket.endswith(":"):
            raise Invalid(
                f"found {VARIABLE} with {entry!r}; needed NAMESPACE=BUCKET/KEYS, in which * stands for anything",
                "such as shop=shop-landing/*, several with commas; leave it out where any source may be read",
            )
        found.append(Allowed(namespaces, bucket, keys))
    return tuple(found)


def refuse_unreadable(
    field: str, bucket: str, key: str, namespace: str, state_bucket: str, allowed: Iterable[Allowed]
) -> None:
    """
    Refuse an address that models of a namespace may not read.

    Args:
        field: Of the spec, which names it.
        key: Of an object, or a prefix.
        allowed: All that the setting names, of whatever namespace; none: everything but the state.

    Raises:
        Invalid: If it lies in the bucket of the state, or where the namespace may not read.
    """
    if bucket == state_bucket:
        raise Invalid(
            f"{field}: found s3://{bucket}/{key}, in the bucket of trimtab's own state; needed another bucket",
            "put what models read into buckets of their own",
        )
    every = list(allowed)
    mine = [each for each in every if fnmatchcase(namespace, each.namespaces)]
    if every and not any(each.holds(bucket, key) for each in mine):
        readable = ", ".join(map(str, mine)) or "nothing"
        raise Invalid(
            f"{field}: found s3://{bucket}/{key}; models of namespace {namespace} may read {readable}",
            f"name an address there, or have it added to {VARIABLE} (docs/kubernetes.md)",
        )
