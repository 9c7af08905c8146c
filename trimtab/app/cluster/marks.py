"""What tells, by a few small listings, that something was written for a model since it was last looked at."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.adapters.state import State

# Numbered, so that only what comes after is listed. What others decide or roll out ends in one of these.
LOGS = ("outcomes", "manifests")


@dataclass(frozen=True, slots=True)
class Marks:
    """Equal where nothing was written in between. `last` are the last keys of the numbered logs."""

    last: tuple[str, ...] = ("",) * len(LOGS)
    beside: frozenset[tuple[str, str]] = frozenset()  # keys and etags


def marks(state: State, before: Marks) -> Marks:
    """
    The marks as the store has them now.

    Args:
        before: Of the last look: what it has seen is not listed again.

    Raises:
        Unavailable: If the store does not answer.
    """
    bucket, layout = state.bucket, state.layout
    last = []
    for kind, known in zip(LOGS, before.last, strict=True):
        keys = [info.key for info in bucket.list(layout.numbered(kind), known)]
        last.append(keys[-1] if keys else known)
    beside = {(info.key, info.etag) for info in bucket.list(f"{layout.root}requests/")}
    findings = bucket.head(layout.current("monitor"))
    if findings is not None:
        beside.add((findings.key, findings.etag))
    return Marks(tuple(last), frozenset(beside))
