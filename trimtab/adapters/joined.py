"""
Predictions joined with their labels, as one table that grows with the log: built from new segments only.

One process keeps one table a model; the monitor, the controller's replay and the commands look at the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import polars as pl

from trimtab.adapters import environment
from trimtab.adapters.state import State
from trimtab.core.joining import LABELS, join, label_table, latest, with_maturity
from trimtab.core.logged import LOGGED, ROW_KEY, Signatures, prediction_table, target_type
from trimtab.core.predictions import Label, Position, PredictionLine
from trimtab.core.rows import INSTANT
from trimtab.core.spec.digests import data_digest

if TYPE_CHECKING:
    from trimtab.core.spec.model import ContinuousModel

KEEP_ROWS = 1_000_000  # 300 MB at 20 features; the oldest go first
Schema = dict[str, "pl.DataType | type[pl.DataType]"]
MOST_CHUNKS = 64  # each look at the log adds one; a table of thousands is slow
READ_BYTES = 64 << 20  # of the log at once
FAILURES: Schema = {
    "at": INSTANT,
    "version": pl.Int64,
    "shadow": pl.Boolean,
    "request_id": pl.String,
    "error": pl.String,
}


class Joined:
    """
    The table of one model. Safe in many threads; the frames it gives never change.

    Args:
        model: The spec: labels and logged values are read by its schema.
        since: What was put into the log before is not read. None: all of it.
        keep_rows: How many rows to remember; when there are a tenth more, the oldest are forgotten.

    Attributes:
        signatures: Which columns rows were asked with (column `signature`).
        wrong: Labels that the schema does not allow, by reason; they are never joined.
        forgotten: Rows that were too old to be kept.
    """

    def __init__(
        self, state: State, model: ContinuousModel, since: datetime | None = None, keep_rows: int = KEEP_ROWS
    ) -> None:
        self._log, self._label_log = state.predictions, state.labels  # not the state: it is what the table is kept by
        self._data = model.spec.data
        self._since = since
        self._keep_rows = keep_rows
        self._lock = threading.RLock()
        self._log_position: Position = {}
        self._label_position: Position = {}
        self._rows = _empty(LOGGED | {"prediction": target_type(self._data)})
        self._labels = _empty(LABELS | {"label": target_type(self._data)})
        self._failures = _empty(FAILURES)
        self._table: pl.DataFrame | None = None
        self._next = 0
        self.signatures = Signatures()
        self.wrong: Counter[str] = Counter()
        self.forgotten = 0

    def refresh(self) -> bool:
        """
        Read what is new in the log and among the labels; returns whether there was anything.

        Raises:
            Unavailable: If the store does not answer; what was read before stays.
        """
        with self._lock:
            news = False
            while True:
                lines, log = self._log.read(self._log_position, self._since, READ_BYTES)
                labels, label = self._label_log.read(self._label_position, self._since, READ_BYTES)
                if (log, label) == (self._log_position, self._label_position):
                    return news
                self._take_rows([line for line in lines if isinstance(line, PredictionLine)])
                self._take_labels([line for line in lines if isinstance(line, Label)] + labels)
                self._log_position, self._label_position = log, label
                self._table, news = None, True

    def frame(self, now: datetime) -> pl.DataFrame:
        """
        All rows so far, in the order in which they were read.

        Columns: `request_id`, `row`, `at`, `event_time`, `version`, `shadow`, `seconds`, `prediction`, `score_0` … by
        class where there are any, `label`, `label_at`, `label_received`, `mature`; `number`, `key`, `signature`; and
        the features (`core.logged.features` gives them by their own names).

        Args:
            now: The policy clock, which maturity is measured on.
        """
        with self._lock:
            if self._table is None:
                self._table = join(self._rows, self._labels)
            table = self._table
        return with_maturity(table, now, self.maturity)

    @property
    def maturity(self) -> timedelta:
        return self._data.labels.maturity

    @property
    def failures(self) -> pl.DataFrame:
        """Requests on which the model raised: `at`, `version`, `shadow`, `request_id`, `error`."""
        return self._failures

    def _take_rows(self, lines: list[PredictionLine]) -> None:
        failed = [
            (line.at * 1e6, line.version, line.shadow, line.id, line.error) for line in lines if line.kind == "failure"
        ]
        if failed:
            schema: Schema = FAILURES | {"at": pl.Float64()}
            raw = pl.DataFrame(failed, schema=schema, orient="row")
            moments = pl.col("at").cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            self._failures = pl.concat([self._failures, raw.with_columns(moments)]).tail(self._keep_rows)
        new = prediction_table(lines, self._data, self.signatures, self._next)
        self._next += new.height
        # A request id that comes again is the same request, asked once more.
        new = new.join(self._rows.select(ROW_KEY), on=ROW_KEY, how="anti", maintain_order="left")
        self._rows = pl.concat([self._rows, new], how="diagonal_relaxed")
        if self._rows.n_chunks() > MOST_CHUNKS:
            self._rows = self._rows.rechunk()
        if self._rows.height > self._keep_rows * 1.1:
            self.forgotten += self._rows.height - self._keep_rows
            self._rows = self._rows.top_k(self._keep_rows, by="at").sort("number")

    def _take_labels(self, labels: list[Label]) -> None:
        table, wrong = label_table(labels, self._data)
        self.wrong.update(wrong)
        self._labels = latest(pl.concat([self._labels, table]))
        if self._labels.height > 2 * self._keep_rows:
            self._labels = self._labels.top_k(self._keep_rows, by="received")


def _empty(schema: Schema) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


_tables: WeakKeyDictionary[State, dict[str, Joined]] = WeakKeyDictionary()
_opening = threading.Lock()


def joined_of(state: State, model: ContinuousModel) -> Joined:
    """The table that this process keeps of a model; another one when the spec's data section changes."""
    section = f"{data_digest(model)} {model.spec.data.labels.model_dump_json()}"
    with _opening:
        tables = _tables.setdefault(state, {})
        if section not in tables:
            tables.clear()
            tables[section] = Joined(state, model, keep_rows=environment.keep_rows() or KEEP_ROWS)
        return tables[section]


def joined(state: State, model: ContinuousModel, now: datetime) -> pl.DataFrame:
    """As `Joined.frame`, with what is new in the store. Raises Unavailable when that does not answer."""
    table = joined_of(state, model)
    table.refresh()
    return table.frame(now)
