"""The training window: pure, from event times and targets to the rows a candidate learns from and is judged on."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from trimtab.core.errors import Invalid
from trimtab.core.spec.model import ContinuousModel, Window
from trimtab.core.spec.units import format_duration
from trimtab.core.window import TrainingWindow

TICK = timedelta(microseconds=1)


def select(
    rows: pl.DataFrame, model: ContinuousModel, dataset: str, decided_at: datetime | None = None
) -> TrainingWindow:
    """
    Choose the window by the spec's strategy, `all` or `fixed`.

    Args:
        rows: Event time and target of every row of the dataset.
        model: The spec.
        dataset: Digest of the DatasetVersion the rows are from.
        decided_at: Policy clock: rows younger than `data.labels.maturity` then are neither learned nor judged on.
            None where the spec sets no maturity.

    Raises:
        Invalid: If no labelled row is left, all are too young, the window holds fewer rows than `window.minRows`, or
            its rarest class a smaller share than `window.minClassRatio`.
    """
    data, window = model.spec.data, model.spec.window
    target = rows[data.target]
    missing = target.is_null() | target.is_nan() if target.dtype.is_float() else target.is_null()
    known = rows.filter(~missing)
    if known.is_empty():
        raise Invalid(
            f"found no row to learn from: {rows.height} rows, {int(missing.sum())} of them without a target",
            f"upload rows with a value in {data.target!r}",
        )
    known = _mature(known, model, decided_at)
    times = known[data.timestamp].sort()
    oldest, end = times[0], times[-1] + TICK
    cut = _cut(times, model, end)
    start = max(oldest, cut - window.size) if window.strategy == "fixed" and window.size else oldest
    learned = known.filter((pl.col(data.timestamp) >= start) & (pl.col(data.timestamp) < cut))
    held_out = int((times >= cut).sum())
    _enough(learned.height, held_out, window, start, cut)
    return TrainingWindow(
        dataset=dataset,
        strategy=window.strategy,
        start=start,
        cut=cut,
        end=end,
        rows=learned.height,
        holdout_rows=held_out,
        why=_why(window, start, cut, end),
        class_shares=_shares(learned[data.target], model),
    )


def _mature(known: pl.DataFrame, model: ContinuousModel, decided_at: datetime | None) -> pl.DataFrame:
    """Labelled rows that are old enough; early labels are a biased sample of all labels."""
    maturity = model.spec.data.labels.maturity
    if not maturity or decided_at is None:
        return known
    mature = known.filter(pl.col(model.spec.data.timestamp) <= decided_at - maturity)
    if mature.is_empty():
        raise Invalid(
            f"found no row to learn from: all {known.height} labelled rows are younger than "
            f"{format_duration(maturity)} (data.labels.maturity) at {decided_at:%Y-%m-%d %H:%M}",
            "wait until they are old enough, upload older rows, or shorten data.labels.maturity",
        )
    return mature


def _cut(times: pl.Series, model: ContinuousModel, end: datetime) -> datetime:
    """Where the holdout begins: a duration before the end, or with the n-th newest row."""
    holdout = model.spec.evaluation.holdout
    if isinstance(holdout, timedelta):
        return end - holdout
    first: datetime = times[max(0, len(times) - holdout)]
    return first


def _enough(rows: int, held_out: int, window: Window, start: datetime, cut: datetime) -> None:
    if rows < window.min_rows:
        raise Invalid(
            f"the window from {start:%Y-%m-%d %H:%M} to {cut:%Y-%m-%d %H:%M} has {rows} labelled rows, "
            f"and {held_out} newer ones are held out; training needs {window.min_rows}",
            "wait for more data, widen window.size, shorten evaluation.holdout, or lower window.minRows",
        )


def _shares(target: pl.Series, model: ContinuousModel) -> dict[str, float]:
    """Share of each class; raises Invalid when one is too rare, or there is only one."""
    data, least = model.spec.data, model.spec.window.min_class_ratio
    if data.task == "regression":
        return {}
    described = data.described[data.target]
    names = ("false", "true") if described.type == "boolean" else described.values
    counted = dict(target.cast(pl.String).value_counts().iter_rows())
    shares = {name: counted.get(name, 0) / len(target) for name in names}
    rarest = min(shares, key=lambda name: shares[name])
    if shares[rarest] < least:
        raise Invalid(
            f"class {rarest!r} has {counted.get(rarest, 0)} of the window's {len(target)} rows "
            f"({shares[rarest]:.2%}); window.minClassRatio asks for {least:.2%}",
            "widen window.size, so that more rows of it come in, or lower window.minClassRatio",
        )
    if sum(1 for share in shares.values() if share) < 2:
        only = max(shares, key=lambda name: shares[name])
        raise Invalid(
            f"all {len(target)} rows of the window are of class {only!r}; there is nothing to tell apart",
            "widen window.size, or wait for rows of another class",
        )
    return shares


def _why(window: Window, start: datetime, cut: datetime, end: datetime) -> str:
    if window.strategy == "fixed":
        return f"the newest {_span(cut - start)} before a holdout of {_span(end - cut)}"
    return f"everything before a holdout of {_span(end - cut)}"


def _span(length: timedelta) -> str:
    """
    A stretch of event time as people say it; windows end a microsecond after their newest row.

    >>> _span(timedelta(days=14)), _span(timedelta(hours=12)), _span(timedelta(days=1, hours=1))
    ('14 days', '12 hours', '1.042 days')
    """
    days = length / timedelta(days=1)
    for number, unit in ((days, "day"), (24 * days, "hour"), (1440 * days, "minute")):
        if number >= 1 or unit == "minute":
            shown = f"{number:.4g}"
            break
    return f"{shown} {unit}{'' if shown == '1' else 's'}"
