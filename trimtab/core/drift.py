"""
Is a batch further from the reference than the reference's own batches are from each other?

Real streams are not independent draws (weather lasts, weeks repeat): textbook tests flag every fortnight of one. So
the yardstick is the reference itself, cut into batches as long as the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from trimtab.core.bins import Counts, Floats
from trimtab.core.profile import PREDICTION, Profile

Verdict = Literal["retrain", "wait", "fixData"]
Role = Literal["feature", "label", "prediction"]
ALPHA = 0.05  # of the report, over all columns; the rate of alarms a year is the trigger's affair
MIN_EFFECT = 0.1  # Jensen-Shannon distance; default of triggers.drift.minEffect
MIN_ROWS = 30  # of a batch: with fewer, the histogram is noise
EMPTY_SHARE = 0.95  # of a column that went missing ...
USUAL_EMPTY_SHARE = 0.5  # ... and what no batch of the reference had


@dataclass(frozen=True)
class ColumnDrift:
    """
    One column of the report.

    Attributes:
        column: Its name.
        role: What it is to the model.
        score: Jensen-Shannon distance of the batch to the pooled reference, in [0, 1].
        usual: Median of that distance for the reference's own batches.
        effect: How far the score is beyond the usual, in [0, 1].
        p: Share of the reference's batches at least as far from the others, (1 + them) / (1 + all).
        adjusted: The same for the furthest column of each batch, so that many columns do not alarm by their number.
    """

    column: str
    role: Role
    score: float
    usual: float
    effect: float
    p: float
    adjusted: float


@dataclass(frozen=True)
class DriftReport:
    """
    What intake says of a batch before anything is trained: `verdict`, why, and a row a column.

    `kind` is none | covariate | label | prediction | several, or the class of a `fixData` finding.
    """

    verdict: Verdict
    kind: str
    reason: str
    reference_batches: int = 0
    rows: int = 0
    columns: tuple[ColumnDrift, ...] = ()
    evidence: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict,
            "kind": self.kind,
            "reason": self.reason,
            "referenceBatches": self.reference_batches,
            "rows": self.rows,
            "columns": [asdict(column) for column in self.columns],
            "evidence": list(self.evidence),
        }


def js_distance(a: Counts | Floats, b: Counts | Floats) -> Floats:
    """
    Jensen-Shannon distance of histograms over the same cells: the root of the divergence in bits.

    Args:
        a: Counts, shape (..., cells), not negative.
        b: Counts, shape (..., cells).

    Returns:
        Distance in [0, 1], shape (...); 0 where either is empty.

    Source: Endres and Schindelin, "A new metric for probability distributions", 2003.

    >>> js_distance(np.array([1, 1, 0]), np.array([[2, 2, 0], [0, 0, 5]])).tolist()
    [0.0, 1.0]
    """
    p, q = _shares(a), _shares(b)
    middle = (p + q) / 2
    divergence = (_entropy_terms(p, middle) + _entropy_terms(q, middle)).sum(axis=-1) / 2
    both = (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0)
    distance: Floats = np.sqrt(np.clip(np.where(both, divergence, 0.0), 0.0, 1.0))
    return distance


def _shares(counts: Counts | Floats) -> Floats:
    total = counts.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(counts, total, out=np.zeros(np.shape(counts), dtype=float), where=total > 0)
    return shares


def _entropy_terms(p: Floats, middle: Floats) -> Floats:
    ratio = np.divide(p, middle, out=np.ones(np.broadcast(p, middle).shape), where=(p > 0) & (middle > 0))
    terms: Floats = p * np.log2(ratio)
    return terms


def compare(
    batch: Profile,
    reference: Profile,
    target: str,
    min_effect: float = MIN_EFFECT,
    alpha: float = ALPHA,
) -> DriftReport:
    """
    Measure a batch against the reference, by the reference's own batches of equal length.

    Each column's distance is put on the scale of the reference's batches (their median and spread), and the adjusted p
    compares with the furthest column of each batch: the family-wise error holds however columns depend on each other,
    and one column that drifts is not drowned by twenty that do not.

    Args:
        batch: Counted into the reference's bins, before rows were quarantined.
        reference: What the champion learned from.
        target: The column that is predicted.

    Source: Westfall and Young, "Resampling-Based Multiple Testing", 1993 (single-step maxT).
    """
    names = [
        name for name in batch.bins if name in reference.bins and batch.bins[name].cells == reference.bins[name].cells
    ]
    own = reference.batches(max(batch.span_seconds, batch.seconds))
    # Labels may come later: a batch without them is unlabelled, not broken.
    broken = _broken_columns(batch, own, [name for name in names if name not in (target, PREDICTION)])
    if broken:
        kind, sentences = broken
        return DriftReport("fixData", kind, sentences[0], len(own), batch.total, (), tuple(sentences))
    if batch.total < MIN_ROWS or not names or len(own) < 2:
        reason = (
            f"{batch.total} rows are too few to compare; {MIN_ROWS} are needed"
            if batch.total < MIN_ROWS
            else f"the reference holds {len(own)} batches as long as this one; 2 are needed to tell what is usual"
        )
        return DriftReport("wait", "none", reason, len(own), batch.total)
    columns = _measure(batch, own, names, target)
    return _judge(columns, len(own), batch.total, min_effect, alpha)


def _measure(batch: Profile, own: Sequence[Profile], names: Sequence[str], target: str) -> tuple[ColumnDrift, ...]:
    """Each column's distance beside the distances of the reference's batches from the rest of it."""
    scores, distances = np.empty(len(names)), np.empty((len(own), len(names)))
    for i, name in enumerate(names):
        parts = np.stack([part.counts(name) for part in own])
        pooled = parts.sum(axis=0)
        # A missing label says that it comes later, nothing of labels: it is left out.
        cells = slice(None, -1) if name == target else slice(None)
        scores[i] = js_distance(batch.counts(name)[cells], pooled[cells])
        distances[:, i] = js_distance(parts[:, cells], (pooled - parts)[:, cells])
    usual = np.median(distances, axis=0)
    # Where all batches are alike (a constant column) any distance is far: the spread has a floor of its rounding.
    spread = np.maximum(np.median(np.abs(distances - usual), axis=0) * 1.4826, 0.005)
    far, usually_far = (scores - usual) / spread, (distances - usual) / spread
    furthest = usually_far.max(axis=1)
    n = len(own)
    return tuple(
        ColumnDrift(
            column=name,
            role="label" if name == target else "prediction" if name == PREDICTION else "feature",
            score=round(float(scores[i]), 4),
            usual=round(float(usual[i]), 4),
            effect=round(float(max(0.0, scores[i] - usual[i])), 4),
            p=round((1 + int((distances[:, i] >= scores[i]).sum())) / (n + 1), 4),
            adjusted=round((1 + int((furthest >= far[i]).sum())) / (n + 1), 4),
        )
        for i, name in enumerate(names)
    )


def _judge(columns: tuple[ColumnDrift, ...], batches: int, rows: int, min_effect: float, alpha: float) -> DriftReport:
    least = 1 / (batches + 1)
    drifted = [c for c in columns if c.adjusted <= alpha and c.effect >= min_effect]
    far = sorted((c for c in columns if c.effect >= min_effect), key=lambda c: -c.effect)
    sentences = [
        f"{c.column}: distance {c.score:.2f} to the reference, usually {c.usual:.2f} (adjusted p {c.adjusted:.3f})"
        for c in (drifted or far)
    ]
    if drifted:
        roles = {c.role for c in drifted}
        kind = "several" if len(roles) > 1 else "covariate" if roles == {"feature"} else roles.pop()
        names = ", ".join(c.column for c in sorted(drifted, key=lambda c: -c.effect)[:3])
        reason = f"{names} moved further than any of the reference's {batches} batches of this length"
        return DriftReport("retrain", kind, reason, batches, rows, columns, tuple(sentences))
    if least > alpha:
        reason = f"{batches} reference batches of this length: p cannot be below {least:.3f}, so nothing is proven"
    elif far:
        reason = f"{far[0].column} moved, but not further than the reference's own {batches} batches do"
    else:
        reason = f"no column moved by {min_effect:g} or more beyond the usual"
    return DriftReport("wait", "none", reason, batches, rows, columns, tuple(sentences))


def _broken_columns(batch: Profile, own: Sequence[Profile], names: Sequence[str]) -> tuple[str, list[str]] | None:
    """Columns that stopped carrying anything: nearly all missing where the reference's batches had values."""
    if batch.total < MIN_ROWS or not own:
        return None
    sentences = []
    for name in names:
        empty = batch.counts(name)[-1] / batch.total
        usual = max(part.counts(name)[-1] / part.total for part in own)
        if empty >= EMPTY_SHARE and usual <= USUAL_EMPTY_SHARE:
            sentences.append(
                f"{name} is missing in {empty:.0%} of {batch.total} rows, in reference batches in at most {usual:.0%}"
            )
    return ("missing_values", sentences) if sentences else None
