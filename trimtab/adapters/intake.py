"""
One ledger entry taken in: fetched, split, judged, compared, kept. The app and the pipeline's first step both call it.

Everything written before the outcome is named for what is in it, so a crash anywhere and a repetition end alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import files
from trimtab.adapters.partitions import keep, put_aside
from trimtab.adapters.state import State
from trimtab.adapters.state.data import DataStore
from trimtab.adapters.state.state import wall_clock
from trimtab.core import intake, validation
from trimtab.core.bins import Floats
from trimtab.core.drift import MIN_EFFECT
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.metrics import METRICS
from trimtab.core.observation import GONE, is_gone
from trimtab.core.profile import Profile, merge
from trimtab.core.records import IntakeOutcome, Judgement, LedgerEntry, Partition
from trimtab.core.spec.digests import partition_id
from trimtab.core.validation import Refused

if TYPE_CHECKING:
    from trimtab.adapters.models import Champion
    from trimtab.core.ports import Bucket
    from trimtab.core.spec.model import ContinuousModel, Data

# Profiles of the past that a batch is compared with: the newest for what is usual now, the oldest for other seasons.
NEWEST, OLDEST = 32, 16


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

    One that was gone when its turn came may have been put again, with the same etag and so the same entry: it is
    looked at once more, and let in as a release is.

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
    if concluded is not None and not is_gone(concluded):
        return concluded
    conclude = partial(IntakeOutcome, entry=entry.id, decided_at=now, recorded_at=wall_clock())
    try:
        with files.fetch(landing, entry.key, entry.etag) as fetched:
            outcomes = state.ledger.outcomes() if known is None else known
            outcome = _examined(state, fetched, entry, model, champion, outcomes, conclude)
    except Refused as error:  # before a byte was judged: too large
        outcome = conclude(state="quarantined", kind=error.kind, reason=error.message, hint=error.hint)
    except (Conflict, NotFound) as error:
        # The newer version has an entry of its own; this one's bytes come back only by being put again.
        gone = "deleted" if isinstance(error, NotFound) else "replaced by a newer version"
        outcome = conclude(state="quarantined", kind=GONE, reason=f"{entry.uri} was {gone} before it was read")
    if concluded is None:
        return state.ledger.conclude(outcome)
    return concluded if outcome.state == "quarantined" else state.ledger.release(outcome)


def release(
    state: State,
    landing: Bucket,
    entry: LedgerEntry,
    model: ContinuousModel,
    champion: Champion | None,
    now: datetime,
) -> IntakeOutcome:
    """
    Let a quarantined file in after all: its valid rows judge the champion, as every upload's do, and become a
    partition; invalid rows stay set aside.

    Raises:
        Invalid: If the entry is not in quarantine, or nothing of the file can be let in: it cannot be read, its columns
            are others, no row is valid.
        NotFound: If the object is gone.
    """
    concluded = state.ledger.outcome(entry.id)
    if concluded is None or concluded.state != "quarantined":
        found = concluded.state if concluded else "not yet taken in"
        raise Invalid(f"{entry.uri} is {found}; only a quarantined file can be released", _instead(concluded))
    with files.fetch(landing, entry.key, entry.etag) as fetched:
        checked = validation.validate(files.read_table(fetched.path, model.spec.data.format), model.spec.data)
        if not checked.valid.height:
            raise Invalid(
                f"found no valid row in {entry.uri}: {checked.report.sentence()}",
                "mend the file, or widen spec.data.schema, and upload it again",
            )
        partition = keep(state, partition_id(fetched.digest, model), checked, model.spec.data, fetched.path.parent)
    return state.ledger.release(
        concluded.model_copy(
            update={
                "state": "ingested",
                "sha256": fetched.digest,
                "partition": partition,
                "validation": checked.report.to_dict(),
                "judgement": judge(checked.valid, model, champion),
                # Who releases a file has looked at it: its verdict no longer holds anything up.
                "drift": concluded.drift | {"verdict": "wait", "released": True} if concluded.drift else {},
                "decided_at": now,
                "recorded_at": wall_clock(),
            }
        )
    )


def _instead(concluded: IntakeOutcome | None) -> str:
    """The next move of who wanted to release what is not in quarantine."""
    if concluded is None:
        return "wait until it is taken in: trimtab status"
    if concluded.partition is not None and concluded.partition.quarantined:
        aside = concluded.partition.quarantined
        return (
            f"its valid rows are in; the other {aside} come in only by a mended file: correct them, or widen "
            "spec.data.schema, and upload them again"
        )
    return "there is nothing to do: trimtab quarantine list"


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
        aside = put_aside(state, name, found.checked, fetched.path.parent) if found.checked else 0
        empty = Partition(id=name, rows=0, labelled=0, quarantined=aside, first=None, last=None)
        return conclude(state="quarantined", partition=empty if found.checked else None)
    return conclude(
        state="ingested",
        partition=keep(state, name, found.checked, data, fetched.path.parent),
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
    # Without a champion all files so far are the reference, as far as they were counted alike.
    alike = [known for known in profiles if known.counts_as(profiles[0].bins)]
    return intake.Past(merge(alike) if alike else None, profiles)


@lru_cache(maxsize=128)
def _profile(store: DataStore, name: str) -> Profile:
    return Profile.from_dict(store.profile(name))


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
