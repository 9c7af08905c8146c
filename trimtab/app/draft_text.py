"""The YAML of a drafted spec, with a comment wherever a person should look."""

from __future__ import annotations

import re
from datetime import timedelta

from trimtab.app.draft import Drafted, Seen
from trimtab.core.spec.data import Column
from trimtab.core.spec.dump import flow, text
from trimtab.core.spec.model import NAME_LENGTH
from trimtab.core.spec.units import format_duration

HOLDOUTS = tuple(timedelta(hours=hours) for hours in (672, 336, 168, 72, 24, 12, 6, 1))
BLOCKS = (timedelta(days=1), timedelta(hours=6), timedelta(hours=1), timedelta(minutes=10), timedelta(minutes=1))
YEAR = timedelta(weeks=52)

TEMPLATE = """\
# Drafted by `trimtab init` from {rows:,} rows of {first:%Y-%m-%d} to {last:%Y-%m-%d}. Read what stands behind each #.
# Every field: docs/reference/spec.md. Would it have paid?  trimtab backtest -f {file} YOUR-FILES
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: {name}}}
spec:
  data:
    source: s3://{name_bucket}/landing/   # each object put here is an upload
    format: {format}
    timestamp: {timestamp}   # event time; without a zone it is UTC
    key: []   # columns that identify a row, so that a correction replaces it; empty: rows are not deduplicated
    target: {target}
    exclude: {exclude}   # never features{why_excluded}
    schema:
{schema}
  triggers:
    upload: {{minNewRows: {new_rows}}}   # train when so many new labelled rows have come
    cooldown: 0s
  window: {window}
  training:
    estimator: sklearn.ensemble:{estimator}
    parameters: {{}}
  evaluation:
    holdout: {holdout}   # the newest stretch judges a candidate before it is learned from
    metrics: [{metrics}]
    primary: {primary}
    margin: 0.01   # proven worse than the champion by more than this: rejected
    block: {block}   # neighbouring rows are alike: the bootstrap draws whole stretches
  rollout: {{strategy: immediate}}
"""


def write(drafted: Drafted, name: str, file: str) -> str:
    """The spec's text. `file` is what it will be called, for the commands in its comments."""
    excluded = [seen for seen in drafted.columns if seen.excluded]
    reasons = "; ".join(f"{seen.name}: {seen.excluded}" for seen in excluded)
    holdout = next((length for length in HOLDOUTS if 8 * length <= drafted.span), None)
    metrics = _metrics(drafted.target)
    per_holdout = drafted.rows * (holdout / drafted.span) if holdout else drafted.rows / 8
    return TEMPLATE.format(
        rows=drafted.rows,
        first=drafted.first,
        last=drafted.last,
        file=file,
        name=text(name),
        name_bucket=name if len(name) >= 3 else f"{name}-data",
        format=drafted.format,
        timestamp=text(drafted.timestamp),
        target=text(drafted.target.name),
        exclude=flow([seen.name for seen in excluded]),
        why_excluded=f": {_comment(reasons)}" if reasons else ": add what is known only after the target",
        schema="\n".join(_schema(drafted)),
        new_rows=_round(per_holdout),
        window=_window(drafted),
        estimator="HistGradientBoosting" + ("Classifier" if _classes(drafted.target) else "Regressor"),
        holdout=format_duration(holdout) if holdout else f"{max(1, drafted.rows // 8)} rows",
        metrics=", ".join(metrics),
        primary=metrics[0],
        block=format_duration(next((block for block in BLOCKS if holdout and 10 * block <= holdout), BLOCKS[-1])),
    )


def name_of(stem: str) -> str:
    """
    A model's name from a file's; it begins with a letter, and a date alone names no model.

    >>> name_of("Bike Share_2011"), name_of("2013-01 flights"), name_of("2013-01"), name_of("…")
    ('bike-share-2011', 'flights', 'model', 'model')
    """
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).lstrip("-0123456789")[:NAME_LENGTH].rstrip("-")
    return name or "model"


def _schema(drafted: Drafted) -> list[str]:
    """The features in the file's order, then the target."""
    entries = [seen for seen in drafted.columns if seen.column is not None and not seen.excluded]
    width = max(len(text(seen.name)) for seen in (*entries, drafted.target)) + 1
    lines = []
    for seen in (*entries, drafted.target):
        notes = [seen.note] if seen.note else []
        if seen.name in drafted.leaks:
            notes.append(f"follows {drafted.target.name}: exclude it if it is known only afterwards")
        if seen is drafted.target:
            notes.append("the target; a row without it is unlabelled, not invalid")
        assert seen.column is not None
        comment = f"   # {_comment('; '.join(notes))}" if notes else ""
        lines.append(f"      {text(seen.name) + ':':<{width}} {_entry(seen.column)}{comment}")
    return lines


def _entry(column: Column) -> str:
    entry = column.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for limit in ("min", "max"):
        if limit in entry and entry[limit] == int(entry[limit]) and abs(entry[limit]) < 1e15:
            entry[limit] = int(entry[limit])
    return flow(entry)


def _classes(target: Seen) -> int:
    """How many classes the target has; 0 for a number."""
    assert target.column is not None
    return {"boolean": 2, "category": len(target.column.values)}.get(target.column.type, 0)


def _metrics(target: Seen) -> tuple[str, ...]:
    classes = _classes(target)
    if classes:
        return ("roc_auc", "log_loss") if classes == 2 else ("log_loss", "accuracy")
    assert target.column is not None
    never_negative = target.column.min == 0
    return (
        ("weighted_absolute_percentage_error", "mean_absolute_error")
        if never_negative
        else ("mean_absolute_error", "r2")
    )


def _window(drafted: Drafted) -> str:
    least = f"minRows: {min(1000, _round(drafted.rows / 4))}"
    if drafted.span >= YEAR:
        return f"{{strategy: fixed, size: 26w, {least}}}   # or all; `trimtab backtest` shows which is better"
    return f"{{strategy: all, {least}}}   # once there is a year of rows, try {{strategy: fixed, size: 26w}}"


def _round(number: float) -> int:
    """
    Down to two digits, at least 1.

    >>> _round(1234.5), _round(0.2)
    (1200, 1)
    """
    whole = max(1, int(number))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit


def _comment(words: str) -> str:
    """What may stand behind a #: one line, printable."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]", " ", words)[:300]
