"""
One ledger entry taken in: fetched, split, judged, compared, kept. The app and the pipeline's first step both call it.

Everything written before the outcome is named for what is in it, so a crash anywhere and a repetition end alike.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import files
from trimtab.adapters.state import State
from trimtab.adapters.state.data import DataStore
from trimtab.adapters.state.state import wall_clock
from trimtab.core import intake, validation
from trimtab.core.drift import MIN_EFFECT
from trimtab.core.errors import Conflict, Invalid, NotFound, Unavailable
from trimtab.core.metrics import METRICS
from trimtab.core.profile import Floats, Profile
from trimtab.core.records import IntakeOutcome, Judgement, LedgerEntry, Partition, digest
from trimtab.core.spec.digests import data_digest
from trimtab.core.validation import Checked, Refused

if TYPE_CHECKING:
    from trimtab.adapters.models import Champion
    from trimtab.core.ports import Bucket
    from trimtab.core.spec.model import ContinuousModel, Data

# Profiles of the past that a batch is compared with: the newest for what is usual now, the oldest for other seasons.
NEWEST, OLDEST = 32, 16


def partition_id(sha256: str, model: ContinuousModel) -> str:
    """The rows of these bytes under this spec, wherever they are uploaded."""
    return digest(sha256, data_digest(model))


def take_in(
    state: State,
    landing: Bucket,
    entry: LedgerEntry,
    model: ContinuousModel,
    champion: Champion | None,
    now: datetime,
    known: Mapping[str, IntakeOutcome] | None = None,
) -> IntakeOutcome:
    """
    Take one object version in, or say why not; an outcome that stands already is returned at once.

    Args:
        landing: The bucket that the entry names.
        champion: What serves now: judged on the new labelled rows before they are learned.
        now: The policy clock.
        known: Outcomes of other entries, where the caller knows them; without it the ledger is listed. One that
            another process has just written may be missing: equal bytes still count once in a dataset.

    Returns:
        The outcome as it stands in the ledger, which is another's when two took the entry in at once.

    Raises:
        Unavailable: If the store or the disk did not let it happen now: nothing is concluded.
    """
    concluded = state.ledger.outcome(entry.id)
    if concluded is not None:
        return concluded
    conclude = partial(IntakeOutcome, entry=entry.id, decided_at=now, recorded_at=wall_clock())
    try:
        with files.fetch(landing, entry.key, entry.etag) as fetched:
            outcomes = state.ledger.outcomes() if known is None else known
            outcome = _examined(state, fetched, entry, model, champion, outcomes, conclude)
    except Refused as error:  # before a byte was judged: too large
        outcome = conclude(state="quarantined", kind=error.kind, reason=error.message, hint=error.hint)
    except (Conflict, NotFound) as error:
        # The newer version has an entry of its own; this one's bytes are gone for good.
        gone = "deleted" if isinstance(error, NotFound) else "replaced by a newer version"
        outcome = conclude(state="quarantined", kind="gone", reason=f"{entry.uri} was {gone} before it was read")
    return state.ledger.conclude(outcome)


def release(state: State, landing: Bucket, entry: LedgerEntry, model: ContinuousModel, now: datetime) -> IntakeOutcome:
    """
    Let a quarantined file in after all: its valid rows become a partition; invalid rows stay set aside.

    Raises:
        Conflict: If the entry is not in quarantine.
        Invalid: If nothing of the file can be let in: it cannot be read, its columns are others, no row is valid.
        NotFound: If the object is gone.
    """
    concluded = state.ledger.outcome(entry.id)
    if concluded is None or concluded.state != "quarantined":
        found = concluded.state if concluded else "not yet taken in"
        raise Conflict(f"{entry.uri} is {found}; only a quarantined file can be released")
    with files.fetch(landing, entry.key, entry.etag) as fetched:
        checked = validation.validate(files.read_table(fetched.path, model.spec.data.format), model.spec.data)
        if not checked.valid.height:
            raise Invalid(
                f"found no valid row in {entry.uri}: {checked.report.sentence()}",
                "mend the file, or widen spec.data.schema, and upload it again",
            )
        partition = _keep(state, partition_id(fetched.digest, model), checked, model.spec.data, fetched.path.parent)
    return state.ledger.release(
        concluded.model_copy(
            update={
                "state": "ingested",
                "sha256": fetched.digest,
                "partition": partition,
                "validation": checked.report.to_dict(),
                # Who releases a file has looked at it: its verdict no longer holds anything up.
                "drift": concluded.drift | {"verdict": "wait", "released": True} if concluded.drift else {},
                "decided_at": now,
                "recorded_at": wall_clock(),
            }
        )
    )


def partition_again(
    state: State, landing: Bucket, entry: LedgerEntry, sha256: str, model: ContinuousModel
) -> Partition | None:
    """
    The partition of bytes that were taken in under another data section, made now if it was not made before.

    Returns:
        None when the file is not acceptable under the section as it is now, or its bytes are gone.
    """
    data, name = model.spec.data, partition_id(sha256, model)
    try:
        valid = pl.read_parquet(state.data.partition(name), glob=False)
    except NotFound:
        try:
            with files.fetch(landing, entry.key, entry.etag) as fetched:
                checked = validation.validate(files.read_table(fetched.path, data.format), data)
                if fetched.digest != sha256 or not checked.report.acceptable:
                    return None
                return _keep(state, name, checked, data, fetched.path.parent)
        except (Refused, Conflict, NotFound):
            return None
    aside = state.data.quarantined(name)
    set_aside = pl.read_parquet(aside, columns=["_row"], glob=False).height if aside else 0
    return describe(name, valid, set_aside, data)


def describe(name: str, valid: pl.DataFrame, quarantined: int, data: Data) -> Partition:
    """The record of a partition's rows."""
    times = valid[data.timestamp]
    return Partition(
        id=name,
        rows=valid.height,
        labelled=valid.height - valid[data.target].null_count(),
        quarantined=quarantined,
        first=times.min(),
        last=times.max(),
    )


def _examined(
    state: State,
    fetched: files.Fetched,
    entry: LedgerEntry,
    model: ContinuousModel,
    champion: Champion | None,
    outcomes: Mapping[str, IntakeOutcome],
    conclude: Callable[..., IntakeOutcome],
) -> IntakeOutcome:
    original = _same_bytes(outcomes, fetched.digest)
    if original is not None:
        reason = f"the same bytes as {state.ledger.entry(original.entry).uri}"
        return conclude(state="duplicate", reason=reason, duplicate_of=original.entry, sha256=fetched.digest)
    data = model.spec.data
    try:
        table = files.read_table(fetched.path, data.format)
        past = _past(state, outcomes, champion)
        drift = model.spec.triggers.drift
        found = intake.examine(table, data, past, drift.min_effect if drift else MIN_EFFECT, _predictor(champion, data))
    except Refused as error:
        found = intake.refused(error)
    name = partition_id(fetched.digest, model)
    conclude = partial(
        conclude,
        kind=found.kind,
        reason=found.reason,
        hint=found.hint,
        sha256=fetched.digest,
        validation=found.checked.report.to_dict() if found.checked else {},
        drift=found.drift.to_dict() if found.drift else {},
    )
    if not found.ok or found.checked is None or found.profile is None:
        aside = _put_aside(state, name, found.checked, fetched.path.parent) if found.checked else 0
        empty = Partition(id=name, rows=0, labelled=0, quarantined=aside, first=None, last=None)
        return conclude(state="quarantined", partition=empty if found.checked else None)
    return conclude(
        state="ingested",
        partition=_keep(state, name, found.checked, data, fetched.path.parent),
        profile=state.data.put_profile(found.profile.to_dict()),
        judgement=judge(found.checked.valid, model, champion),
    )


def _same_bytes(outcomes: Mapping[str, IntakeOutcome], sha256: str) -> IntakeOutcome | None:
    """The ingested file of these bytes; a quarantined one does not count, it brought no rows."""
    same = [o for o in outcomes.values() if o.state == "ingested" and o.sha256 == sha256]
    return min(same, key=lambda outcome: outcome.recorded_at) if same else None


def _past(state: State, outcomes: Mapping[str, IntakeOutcome], champion: Champion | None) -> intake.Past:
    ingested = sorted(
        (o for o in outcomes.values() if o.state == "ingested" and o.profile), key=lambda outcome: outcome.recorded_at
    )
    chosen = ingested if len(ingested) <= OLDEST + NEWEST else [*ingested[:OLDEST], *ingested[-NEWEST:]]
    profiles = tuple(_profile(state.data, outcome.profile) for outcome in chosen)
    if champion is not None and champion.version.reference:
        return intake.Past(_profile(state.data, champion.version.reference), profiles)
    return intake.Past(profiles[0] if profiles else None, profiles)


@lru_cache(maxsize=128)
def _profile(store: DataStore, name: str) -> Profile:
    return Profile.from_dict(store.profile(name))


def _keep(state: State, name: str, checked: Checked, data: Data, folder: Path) -> Partition:
    """Put the valid and the quarantined rows where their id says."""
    aside = _put_aside(state, name, checked, folder)
    place = folder / "partition.parquet"
    _write(checked.valid, place)
    state.data.put_partition(name, place)
    return describe(name, checked.valid, aside, data)


def _put_aside(state: State, name: str, checked: Checked, folder: Path) -> int:
    if checked.quarantined.height:
        place = folder / "quarantined.parquet"
        _write(checked.quarantined, place)
        state.data.put_quarantined(name, place)
    return checked.quarantined.height


def _write(frame: pl.DataFrame, place: Path) -> None:
    try:
        frame.write_parquet(place, compression="zstd", statistics=True)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise Unavailable(
            f"cannot write {place.name} to {tempfile.gettempdir()} ({error})", "free some of the disk, or set TMPDIR"
        ) from error


def judge(valid: pl.DataFrame, model: ContinuousModel, champion: Champion | None) -> Judgement | None:
    """
    What labelled rows say of the live champion, before they are learned.

    Only rows newer than all it learned from count: a file may bring again what it knows. None without such rows, and
    when the champion was made for another schema; then the changed training digest brings a new one.
    """
    if champion is None:
        return None
    data, evaluation = model.spec.data, model.spec.evaluation
    fresh = tables.labelled(valid.filter(pl.col(data.timestamp) > champion.version.trained_until), data)
    if fresh.is_empty():
        return None
    try:
        y, prediction = tables.truth(fresh, data), champion.predict(fresh, data)
    except Invalid:
        return None
    metrics = {name: METRICS[name].compute(y, prediction) for name in evaluation.reported}
    numerator, denominator = METRICS[evaluation.primary].fraction(y, prediction)
    return Judgement(
        version=champion.version.number,
        rows=fresh.height,
        # A ranking of rows of one class is not a number, and JSON knows none such.
        metrics={name: float(value) for name, value in metrics.items() if math.isfinite(value)},
        numerator=float(numerator),
        denominator=float(denominator),
    )


def _predictor(champion: Champion | None, data: Data) -> Callable[[pl.DataFrame], Floats | None] | None:
    """The champion's answers as numbers, or codes of classes, to be profiled as the reference's were."""
    if champion is None:
        return None

    def answers(rows: pl.DataFrame) -> Floats | None:
        try:
            return champion.predict(rows, data).values
        except Invalid:
            return None

    return answers
