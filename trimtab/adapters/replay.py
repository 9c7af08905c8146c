"""
Two versions on the same logged rows once their labels are mature: replay of the log into pairs of losses.

Each version scores a row once in a process; later calls score only what came since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import environment
from trimtab.adapters.joined import Joined, joined_of
from trimtab.adapters.models import load_version
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.joining import own_rows
from trimtab.core.logged import features
from trimtab.core.losses import losses
from trimtab.core.rollout.evidence import LiveLosses, LossPairs
from trimtab.core.scoring import Floats

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.records import ModelVersion
    from trimtab.core.spec.model import ContinuousModel, Data


class Scores:
    """What one version says of logged rows, by their number: a code of a class, or a number; NaN where it cannot."""

    def __init__(self, version: ModelVersion, pipeline: Any, data: Data) -> None:
        self.version = version
        self._pipeline = pipeline
        self._data = data
        self._columns = pipeline.named_steps["encode"].columns
        self._known = pl.DataFrame(schema={"number": pl.Int64, "said": pl.Float64})

    def of(self, rows: pl.DataFrame, joined: Joined) -> Floats:
        """
        Shape (rows,).

        Raises:
            Invalid: If the model fails on rows that have all it needs.
        """
        new = rows.join(self._known, on="number", how="anti", maintain_order="left")
        if new.height:
            said = self._score(new, joined)
            self._known = pl.concat(
                [self._known, new.select("number").with_columns(said=pl.Series(said))], rechunk=True
            )
        found = rows.select("number").join(self._known, on="number", how="left", maintain_order="left")
        return found["said"].to_numpy()

    def _score(self, rows: pl.DataFrame, joined: Joined) -> Floats:
        names = [name for name, _, _ in self._columns]
        whole = rows["signature"].is_in(joined.signatures.holding(names)).to_numpy()
        said = np.full(rows.height, np.nan)
        if not whole.any():
            return said
        try:
            asked = features(rows.filter(pl.Series(whole)), names)
            answer = np.asarray(self._pipeline.predict(tables.to_columns(asked, self._columns)))
        except Exception as error:
            if isinstance(error, TrimtabError):
                raise
            what = f"{type(error).__name__}: {error}"[:300]
            raise Invalid(f"v{self.version.number} fails on logged rows: {what}") from error
        said[whole] = _as_numbers(answer, self._data)
        return said


def _as_numbers(answer: Any, data: Data) -> Floats:
    classes = tables.classes(data)
    if classes:
        code: dict[Any, int] = {label: place for place, label in enumerate(classes)}
        return np.array([code.get(label, np.nan) for label in answer.tolist()])
    numbers: Floats = answer.astype(np.float64).reshape(-1)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def truth(table: pl.DataFrame, data: Data) -> Floats:
    """The labels of joined rows as metrics take them: numbers, or codes of classes; NaN where there is none."""
    return tables.truth(table.select(pl.col("label").alias(data.target)), data)


_scores: WeakKeyDictionary[Joined, dict[int, Scores]] = WeakKeyDictionary()


def scores_of(
    state: State,
    model: ContinuousModel,
    joined: Joined,
    versions: Iterable[int],
    trusted_types: Iterable[str] = (),
    spec_folder: str = "",
) -> list[Scores]:
    """
    The scores that this process keeps of these versions; those of others are forgotten.

    Raises:
        NotFound, Invalid: If a version does not exist or cannot be loaded.
    """
    wanted, kept = list(versions), _scores.setdefault(joined, {})
    for number in wanted:
        if number not in kept:
            loaded = load_version(state, state.registry.version(number), trusted_types, spec_folder)
            kept[number] = Scores(loaded.version, loaded.pipeline, model.spec.data)
    for number in set(kept) - set(wanted):
        del kept[number]
    return [kept[number] for number in wanted]


def loss_pairs(
    state: State,
    model: ContinuousModel,
    champion: int,
    challenger: int,
    now: datetime,
    *,
    loss_scale: float = 1.0,
    trusted_types: Iterable[str] = (),
    spec_folder: str = "",
    replayed: bool | None = None,
) -> LossPairs:
    """
    Both versions' losses on every logged row with a mature label that neither has learned, each row once.

    The order is fixed: by when both the row's maturity and its first label were there, then request id and row. So a
    later call has the same pairs in the same order and new ones behind them, but for corrections.

    Args:
        now: The policy clock.
        loss_scale: `RolloutSpec.loss_scale`.
        replayed: Whether the policy clock is a stream's own. Then a label counts as there at its own label time, on
            that clock; else when it came. None: as the environment says.

    Raises:
        Unavailable: If the store does not answer.
        NotFound, Invalid: If a version cannot be loaded, or fails on rows that have all it needs.
    """
    table = joined_of(state, model)
    table.refresh()
    both = scores_of(state, model, table, (champion, challenger), trusted_types, spec_folder)
    labelled = table.frame(now).filter(pl.col("label").is_not_null())
    # The answer that was returned stands for the row; without one (a mirrored request only), the first logged.
    rows = labelled.sort("shadow", maintain_order=True).unique(["request_id", "row"], keep="first", maintain_order=True)
    mature = rows.filter("mature")
    fresh = _in_order(_not_learned(mature, [scores.version for scores in both]), table, replayed)
    y = truth(fresh, model.spec.data)
    classes = len(tables.classes(model.spec.data))
    first, second = (losses(y, scores.of(fresh, table), loss_scale, classes) for scores in both)
    scored = ~(np.isnan(first) | np.isnan(second))
    return LossPairs(
        champion=first[scored],
        challenger=second[scored],
        mature=mature.height,
        waiting=rows.height - mature.height,
        left_out=mature.height - int(scored.sum()),
    )


def live_losses(
    state: State,
    model: ContinuousModel,
    champion: int,
    challenger: int,
    now: datetime,
    *,
    since: datetime,
    loss_scale: float = 1.0,
    users: Mapping[str, str] | None = None,
) -> LiveLosses:
    """
    The loss of each request that the gateway answered by one of the two, by what the answer said; oldest first.

    Args:
        since: Wall clock: requests before are not looked at.
        users: The sticky header's value by request id; requests that it does not name have an empty one.

    Raises:
        Unavailable: If the store does not answer.
    """
    table = joined_of(state, model)
    table.refresh()
    data = model.spec.data
    asked = pl.col("version").is_in([champion, challenger]) & (pl.col("at") >= since) & pl.col("label").is_not_null()
    rows = own_rows(table.frame(now)).filter(asked)
    mature = rows.filter("mature")
    said = tables.truth(mature.select(pl.col("prediction").alias(data.target)), data)
    loss = losses(truth(mature, data), said, loss_scale, len(tables.classes(data)))
    scored = mature.with_columns(loss=pl.Series(loss, dtype=pl.Float64)).filter(pl.col("loss").is_not_nan())
    requests = (
        scored.group_by("request_id", "version", maintain_order=True)
        .agg(pl.col("at").min(), pl.col("loss").mean())
        .sort("at", "request_id")
    )
    return LiveLosses(
        at=requests["at"].dt.epoch("us").to_numpy() / 1e6,
        challenger=(requests["version"] == challenger).to_numpy(),
        loss=requests["loss"].to_numpy(),
        user=[(users or {}).get(request, "") for request in requests["request_id"]],
        mature=mature.height,
        waiting=rows.height - mature.height,
        left_out=mature.height - scored.height,
    )


def _not_learned(rows: pl.DataFrame, versions: Iterable[ModelVersion]) -> pl.DataFrame:
    """The rows that are newer than all that any of the versions was trained on."""
    until = max(version.trained_until for version in versions)
    return rows.filter(pl.coalesce("event_time", "at") > until)


def _in_order(rows: pl.DataFrame, table: Joined, replayed: bool | None) -> pl.DataFrame:
    stream = environment.replays() if replayed is None else replayed
    matured = pl.coalesce("event_time", "at") + pl.lit(table.maturity)
    there = pl.max_horizontal(matured, pl.col("label_at" if stream else "label_received"))
    return rows.sort(there, "request_id", "row")
