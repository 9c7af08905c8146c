"""Batch scoring: the rows of files, read and checked by the schema that a version was trained by, and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import files, specs
from trimtab.adapters.labels import format_of
from trimtab.adapters.models import Champion, load_version
from trimtab.core import cells
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.spec.model import Column, ContinuousModel, Data
from trimtab.core.spec.units import split_s3
from trimtab.serving.predict import predict

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Buckets
    from trimtab.core.records import ModelVersion
    from trimtab.core.rows import Table
    from trimtab.core.scoring import Prediction

OURS = ("file", "row", "prediction", "problem")


@dataclass(frozen=True)
class ScoredFile:
    """
    One file with an answer a row, in its order.

    `frame` holds `row` (from 1, without the header), the timestamp and key columns as the file has them,
    `prediction`, `probability_CLASS` (or `score_CLASS`) where there are any, and `problem`: why a row has no answer.
    """

    file: str
    frame: pl.DataFrame

    @property
    def predicted(self) -> int:
        return self.frame.height - self.frame["prediction"].null_count()

    def problems(self) -> dict[str, int]:
        """Reasons why rows have no answer, the most frequent first."""
        counted = self.frame["problem"].drop_nulls().value_counts(sort=True)
        return dict(counted.iter_rows())


def predict_files(
    state: State,
    buckets: Buckets,
    version: ModelVersion,
    paths: Sequence[str],
    trusted_types: Sequence[str] = (),
    spec_folder: str = "",
) -> Iterator[ScoredFile]:
    """
    What a version says of files, one after another.

    Args:
        buckets: Where s3:// files are.
        paths: Local files, or s3:// addresses; csv (also gzipped), parquet or jsonl by their names, else as the spec
            says. A row that the schema does not allow gets no answer, and `problem` says why.

    Raises:
        NotFound, Invalid: If the version cannot be loaded, a file cannot be read, or lacks a column.
    """
    loaded = load_version(state, version, trusted_types, spec_folder)
    data = model_of(state, buckets, version).spec.data
    for path in paths:
        with opened(path, buckets) as local:
            table = files.read_table(local, format_of(path, data.format))
        yield ScoredFile(path, predict_table(table, loaded, data))


def predict_table(table: Table, loaded: Champion, data: Data) -> pl.DataFrame:
    """
    As `ScoredFile.frame`.

    Raises:
        Invalid: If a column is missing, or the model fails.
    """
    columns = loaded.pipeline.named_steps["encode"].columns
    missing = [name for name, _, _ in columns if name not in table.frame.columns]
    if missing:
        raise Invalid(
            f"the file has no column {', '.join(missing[:12])}; v{loaded.version.number} needs it",
            f"it needs {', '.join(name for name, _, _ in columns)}; others may stand in the file too",
        )
    read, problem = _read(table, columns, data)
    sound = problem.is_null()
    parts = [pl.Series("row", table.numbers, dtype=pl.Int64), *_passed(table.frame, data)]
    base = pl.DataFrame([*parts, problem.alias("problem")])
    if sound.any():
        classes = tables.classes(data)
        said = predict(loaded.pipeline, tables.to_columns(read.filter(sound), columns), classes)
        answers = pl.DataFrame([base["row"].filter(sound), *_answer(said, classes)])
        base = base.join(answers, on="row", how="left", maintain_order="left")
    else:
        base = base.with_columns(prediction=pl.lit(None, dtype=pl.Float64))
    broken = table.broken.select(pl.col("_row").alias("row"), pl.col("_reason").alias("problem"))
    whole = pl.concat([base, broken], how="diagonal").sort("row", maintain_order=True)
    return whole.select([name for name in whole.columns if name != "problem"] + ["problem"])


def _read(table: Table, columns: tables.SchemaColumns, data: Data) -> tuple[pl.DataFrame, pl.Series]:
    """The features, typed, and by row the first reason why it cannot be scored."""
    read: list[pl.Series] = []
    reasons: list[pl.Expr] = []
    broken: dict[str, pl.Series] = {}
    for name, kind, values in columns:
        own = Column(type=kind, values=values, on_new="missing")  # type: ignore[arg-type]
        found = cells.read(table.frame[name], data.described.get(name, own))
        read.append(found.values.alias(name))
        for reason, rows in found.problems.items():
            mark = f"{len(broken)}"
            broken[mark] = rows.alias(mark)
            reasons.append(pl.when(pl.col(mark)).then(pl.lit(f"{name}: {reason}")))
    if not reasons:
        return pl.DataFrame(read), pl.Series("problem", [None] * table.frame.height, dtype=pl.String)
    return pl.DataFrame(read), pl.DataFrame(list(broken.values())).select(pl.coalesce(reasons)).to_series()


def _passed(frame: pl.DataFrame, data: Data) -> list[pl.Series]:
    names = [name for name in dict.fromkeys((*data.key, data.timestamp)) if name in frame.columns]
    return [frame[name].alias(f"input_{name}" if name in OURS else name) for name in names]


def _answer(said: Prediction, classes: Sequence[Any]) -> list[pl.Series]:
    if not classes:
        return [pl.Series("prediction", said.values)]
    answers = [pl.Series("prediction", [classes[int(code)] for code in said.values])]
    if said.scores is not None:
        word = "probability" if said.probability else "score"
        names = [str(label).lower() if isinstance(label, bool) else str(label) for label in classes]
        answers += [pl.Series(f"{word}_{name}", said.scores[:, place]) for place, name in enumerate(names)]
    return answers


def model_of(state: State, buckets: Buckets, version: ModelVersion) -> ContinuousModel:
    """The spec that a version was trained by."""
    return specs.read(state.data.spec(version.spec), lambda: buckets, f"the spec of v{version.number}")[1]


@contextmanager
def opened(path: str, buckets: Buckets) -> Iterator[Path]:
    """
    A local file as it is, or a copy of an s3:// object for as long as the context lasts.

    Raises:
        NotFound: If there is none.
        Invalid: If it is a folder, or may not be read.
    """
    if path.startswith("s3://"):
        bucket, key = split_s3(path)
        info = buckets.bucket(bucket).head(key)
        if info is None:
            raise NotFound(f"found no object at {path}")
        with files.fetch(buckets.bucket(bucket), key, info.etag) as fetched:
            yield fetched.path
        return
    local = Path(path)
    try:
        if local.is_dir():
            raise Invalid(f"{path} is a folder", f"name its files: {path.rstrip('/')}/*")
        local.open("rb").close()
    except FileNotFoundError:
        raise NotFound(f"found no file {path}") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", "look at its permissions") from error
    yield local
