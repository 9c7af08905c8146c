"""The rows that two versions are compared on: labelled ones of the log, and of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import files
from trimtab.adapters.joined import joined_of
from trimtab.adapters.labels import format_of
from trimtab.adapters.models import Champion
from trimtab.adapters.scoring import opened
from trimtab.core.errors import Invalid
from trimtab.core.logged import features
from trimtab.core.side_by_side import SideBySide, compare
from trimtab.core.validation import validate

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Buckets
    from trimtab.core.spec.model import ContinuousModel


@dataclass(frozen=True)
class Labelled:
    """Typed rows with their event time and target, as a partition has them; `unscored` ones lack a column."""

    rows: pl.DataFrame
    unscored: int = 0


def from_log(state: State, model: ContinuousModel, pair: tuple[Champion, Champion], now: datetime) -> Labelled:
    """
    Logged rows whose label has come and is mature, each once, whoever answered them.

    Raises:
        Unavailable: If the store does not answer.
    """
    data = model.spec.data
    table = joined_of(state, model)
    table.refresh()
    labelled = table.frame(now).filter(pl.col("mature") & pl.col("label").is_not_null())
    rows = labelled.sort("shadow", maintain_order=True).unique(["request_id", "row"], keep="first", maintain_order=True)
    needed = sorted({name for each in pair for name, _, _ in each.pipeline.named_steps["encode"].columns})
    whole = rows.filter(pl.col("signature").is_in(table.signatures.holding(needed)))
    taken = features(whole, needed).with_columns(
        whole.select(pl.coalesce("event_time", "at")).to_series().alias(data.timestamp),
        whole["label"].alias(data.target),
    )
    return Labelled(taken, rows.height - whole.height)


def from_files(paths: Sequence[str], buckets: Buckets, model: ContinuousModel) -> Labelled:
    """
    The valid, labelled rows of files, as intake would read them.

    Raises:
        NotFound, Invalid: If a file cannot be read, or its columns are not the spec's.
    """
    data = model.spec.data
    frames = []
    for path in paths:
        with opened(path, buckets) as local:
            checked = validate(files.read_table(local, format_of(path, data.format)), data)
        frames.append(tables.labelled(checked.valid, data))
    return Labelled(pl.concat(frames))


def compare_on(found: Sequence[Labelled], model: ContinuousModel, pair: tuple[Champion, Champion]) -> SideBySide:
    """
    Both versions on these rows, without those that one of them has learned.

    Raises:
        Invalid: If no row is left, or a version cannot predict them.
    """
    data, policy = model.spec.data, model.spec.evaluation
    rows = pl.concat([each.rows for each in found], how="diagonal_relaxed")
    until = max(each.version.trained_until for each in pair)
    fresh = rows.filter(pl.col(data.timestamp) > until)
    unscored = sum(each.unscored for each in found)
    if fresh.is_empty():
        raise Invalid(
            f"found no labelled row that is newer than what both versions learned (until {until:%Y-%m-%d %H:%M}); "
            f"{rows.height:,} older ones and {unscored:,} without all columns were left out",
            "wait for labels to mature (spec.data.labels.maturity), or name files with newer rows",
        )
    numbers = (pair[0].version.number, pair[1].version.number)
    return compare(
        numbers,
        tables.truth(fresh, data),
        fresh[data.timestamp].dt.epoch("us").to_numpy(),
        (pair[0].predict(fresh, data), pair[1].predict(fresh, data)),
        tuple(dict.fromkeys((policy.primary, *policy.reported))),
        block_seconds=int(policy.block.total_seconds()),
        confidence=policy.confidence,
        seed=model.spec.training.seed,
        learned=rows.height - fresh.height,
        unscored=unscored,
    )
