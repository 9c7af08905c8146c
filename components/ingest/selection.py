"""Which uploads a run takes in, and the decision that a run without one writes first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from trimtab.core.errors import Invalid, NotFound
from trimtab.core.ports import ObjectInfo
from trimtab.core.records import Decision, run_key
from trimtab.core.spec.units import split_s3


def choose(listing: Iterable[ObjectInfo], objects: Sequence[str], source: str) -> list[ObjectInfo]:
    """
    The objects to take in, oldest arrival first.

    Args:
        listing: All uploads that stand in the source.
        objects: s3:// addresses; empty means every upload.
        source: The spec's data.source.

    Raises:
        Invalid: If an address is not one, or lies outside the source: its rows would never reach a dataset.
        NotFound: If there is no upload at an address.
    """
    standing = sorted(listing, key=lambda info: (info.modified, info.key))
    if not objects:
        return standing
    bucket, prefix = split_s3(source)
    by_key = {info.key: info for info in standing}
    wanted = []
    for address in objects:
        try:
            found, key = split_s3(address)
        except ValueError as error:
            raise Invalid(f"found {address!r} among the objects; {error}") from error
        if found != bucket or not key.startswith(prefix):
            raise Invalid(
                f"{address} is not under spec.data.source {source}", "upload it there, or leave `objects` empty"
            )
        if key not in by_key:
            raise NotFound(f"found no upload at {address}", "leave `objects` empty to take everything new")
        wanted.append(by_key[key])
    return sorted(wanted, key=lambda info: (info.modified, info.key))


def unoffered(current: Iterable[str], decisions: Iterable[Decision]) -> tuple[str, ...]:
    """Ingested entries that no decision has taken yet, in order."""
    taken = {entry for decision in decisions for entry in decision.entries}
    return tuple(entry for entry in current if entry not in taken)


def own_decision(decisions: Iterable[Decision], token: str) -> Decision | None:
    """The decision that an earlier attempt of the same pipeline run wrote, or None."""
    return next((decision for decision in decisions if decision.evidence.get("pipelineRun") == token), None)


def write_decision(
    *,
    namespace: str,
    model: str,
    decisions: Sequence[Decision],
    entries: tuple[str, ...],
    dataset: str,
    training_digest: str,
    spec: str,
    evidence: dict[str, Any],
    decided_at: datetime,
    recorded_at: datetime,
) -> Decision:
    """The decision of a run that somebody started by hand: its reason is `sdk`, and nobody else executes it."""
    number = max((decision.number for decision in decisions), default=0) + 1
    return Decision(
        number=number,
        reason="sdk",
        entries=entries,
        dataset=dataset,
        training_digest=training_digest,
        spec=spec,
        run_key=run_key(namespace, model, entries, training_digest, "sdk", number),
        evidence=evidence,
        decided_at=decided_at,
        recorded_at=recorded_at,
    )
