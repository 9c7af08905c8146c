"""What a file is worth, told from its rows and the past alone: the same for the app, a pipeline step and a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from trimtab.core import cells, drift, renamed, unit_change
from trimtab.core.bins import Bins, Floats
from trimtab.core.drift import DriftReport
from trimtab.core.profile import PREDICTION, Profile, profile
from trimtab.core.rows import Table, declared
from trimtab.core.spec.model import Data
from trimtab.core.validation import Checked, Refused, compare_columns, validate


@dataclass(frozen=True)
class Past:
    """
    What is known when a file comes in.

    Attributes:
        reference: What the champion learned from; before there is one, all that was ingested. None at the start.
        profiles: Of files ingested before, in any order.
    """

    reference: Profile | None = None
    profiles: tuple[Profile, ...] = ()

    @property
    def bins(self) -> dict[str, Bins] | None:
        return dict(self.reference.bins) if self.reference else None

    def batches(self, span_seconds: float) -> list[Profile]:
        """
        The past in batches of about that length, in order of event time.

        The reference counts only where nothing else is known: champions learned from the same files.
        """
        known = self.profiles or ((self.reference,) if self.reference else ())
        parts = [batch for whole in known for batch in whole.batches(max(span_seconds, whole.seconds))]
        return sorted(parts, key=lambda part: int(part.starts[0]))


@dataclass(frozen=True)
class Examination:
    """
    A file, examined.

    Attributes:
        kind: "ok", or the class of the finding for which the whole file is quarantined.
        reason: Why, in one sentence; empty when ok.
        hint: The next move.
        checked: Valid and quarantined rows; None when the header stopped everything.
        profile: Of all rows before quarantine, in the reference's bins.
        drift: The report; None when nothing could be measured.
    """

    kind: str
    reason: str
    hint: str
    checked: Checked | None
    profile: Profile | None
    drift: DriftReport | None

    @property
    def ok(self) -> bool:
        return self.kind == "ok"


def examine(
    table: Table,
    data: Data,
    past: Past,
    min_effect: float = drift.MIN_EFFECT,
    predict: Callable[[pl.DataFrame], Floats | None] | None = None,
) -> Examination:
    """
    Judge a file: header, rows, units, drift.

    Args:
        table: As it was read.
        data: The spec's data section.
        past: What is known so far.
        min_effect: Least effect that counts as drift.
        predict: The champion's answers to rows, None where it cannot tell; asked where the reference holds some.
    """
    header = _examine_header(table, data, past)
    if header is not None:
        return header
    checked = validate(table, data)
    answered = predict is not None and past.reference is not None and PREDICTION in past.reference.bins
    profiled = profile(checked.measured, data, past.bins, predict(checked.measured) if predict and answered else None)
    history = past.batches(profiled.span_seconds)
    changes = unit_change.find(checked.measured, data.timestamp, _numeric(data), history)
    if changes:
        return _unit_change(changes, checked, profiled, len(history))
    report = (
        drift.compare(profiled, past.reference, data.target, min_effect) if past.reference else _no_reference(table)
    )
    if not checked.report.acceptable:
        limit = checked.report.max_invalid_row_ratio
        return Examination(
            "invalid_rows",
            f"{checked.report.sentence()}; spec.data.quality.maxInvalidRowRatio allows {limit:.2%}",
            "mend the export; or, if the rows are right, widen the schema and release the file",
            checked,
            profiled,
            report,
        )
    return Examination("ok", "", "", checked, profiled, report)


def _examine_header(table: Table, data: Data, past: Past) -> Examination | None:
    columns = compare_columns(table.frame, data)
    if not columns.missing:
        return None
    reference = past.batches(_span(table, data))
    pairs = renamed.find(table.frame, columns, data, reference)
    if not pairs:
        return None
    reason = "; ".join(pair.sentence() for pair in pairs)
    left = [name for name in columns.missing if name not in {pair.missing for pair in pairs}]
    if left:
        reason += f"; also missing: {', '.join(map(repr, left))}"
    report = DriftReport("fixData", "renamed_column", reason, len(reference), table.height, (), (reason,))
    return Examination("renamed_column", reason, pairs[0].hint(), None, None, report)


def _span(table: Table, data: Data) -> float:
    """How long the file is, so that it is compared with batches as long; 0 where the event time cannot be read."""
    if data.timestamp not in table.frame.columns:
        return 0.0
    times = cells.read(table.frame[data.timestamp], declared(data)[data.timestamp]).values.drop_nulls()
    seconds = times.dt.epoch("s").to_numpy()
    return float(seconds.max() - seconds.min()) if len(seconds) else 0.0


def _numeric(data: Data) -> list[str]:
    return [name for name in (*data.features, data.target) if data.described[name].type in ("float", "int")]


def _unit_change(
    changes: Sequence[unit_change.UnitChange], checked: Checked, profiled: Profile, batches: int
) -> Examination:
    reason = "; ".join(change.sentence() for change in changes)
    report = DriftReport(
        "fixData",
        "unit_change",
        reason,
        batches,
        profiled.total,
        (),
        tuple(f"{change.sentence()}, {_examples(change, checked.measured)}" for change in changes),
    )
    expected = ", ".join(f"{change.column} in {change.conversion.expected}" for change in changes)
    hint = f"export {expected} and upload the file again; if the values are right, release the file from quarantine"
    return Examination("unit_change", reason, hint, checked, profiled, report)


def _examples(change: unit_change.UnitChange, frame: pl.DataFrame) -> str:
    shown = unit_change.examples(change, frame)
    return f"for example {shown['found'][0]:g} for {shown['converted'][0]:g}"


def _no_reference(table: Table) -> DriftReport:
    return DriftReport("wait", "none", "the first file: there is nothing yet to compare it with", 0, table.height)


def refused(error: Refused) -> Examination:
    """A file that could not be read at all."""
    return Examination(error.kind, error.message, error.hint, None, None, None)
