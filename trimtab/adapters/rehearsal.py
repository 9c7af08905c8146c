"""A recipe tried out whole on a sample, as it will be trained and served: the steps of `trimtab test`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import environment, files, serving_check
from trimtab.adapters.fitting import fit_rows
from trimtab.adapters.json_rows import evenly
from trimtab.adapters.models import predict_rows
from trimtab.adapters.seldon.check import GET_ONE, NO_ENVIRONMENT
from trimtab.core import synthetic, validation
from trimtab.core.errors import Invalid, NotFound, TrimtabError
from trimtab.core.spec.model import ContinuousModel
from trimtab.serving import artifact, loader

HELD_BACK = 0.2  # share of the sample, its newest rows, that is predicted and not learned
LEAST_ROWS = 20
SECOND_FIT_SECONDS = 600.0


@dataclass(frozen=True)
class Line:
    """One thing that was tried."""

    name: str
    level: Literal["ok", "FAILED"]
    found: str
    hint: str = ""


@dataclass(frozen=True)
class Recipe:
    """
    What is tried out.

    Attributes:
        text: The spec's YAML, its schema in place.
        folder: Where the user's own modules lie.
    """

    model: ContinuousModel
    text: str
    folder: str
    trusted_types: tuple[str, ...] = ()


def sample(recipe: Recipe, file: Path | None, rows: int) -> tuple[pl.DataFrame, str]:
    """
    Labelled, valid rows to try it on, in order of event time, and where they are from: a file, or the schema alone.

    Raises:
        NotFound: If there is no such file.
        Invalid: If it cannot be read as the spec says, or too few of its rows are valid and labelled.
    """
    data = recipe.model.spec.data
    if file is None:
        return synthetic.draw(data, rows, recipe.model.spec.training.seed), f"{rows} drawn from the schema"
    if not file.is_file():
        raise NotFound(f"found no file {file}", f"name a {data.format} file of the model's own data with --data")
    checked = validation.validate(files.read_table(file, data.format), data)
    labelled = tables.labelled(checked.valid, data).sort(data.timestamp, maintain_order=True)
    if labelled.height < LEAST_ROWS:
        raise Invalid(
            f"{file} has {labelled.height} valid rows with a target of {checked.report.rows}; {LEAST_ROWS} are needed",
            checked.report.sentence() if checked.report.invalid else "name a file that holds more",
        )
    chosen = evenly(labelled, rows)
    invalid = f", {checked.report.invalid} of its rows are invalid" if checked.report.invalid else ""
    return chosen, f"{chosen.height} of {file}{invalid}"


def rehearse(recipe: Recipe, rows: pl.DataFrame, where: str) -> Iterator[Line]:
    """
    Fit, save, fit again elsewhere, load and predict where it will serve; a line as soon as each is known.

    Ends at the first failure that leaves nothing to go on with.
    """
    learned = rows.head(rows.height - int(HELD_BACK * rows.height))
    held_back = rows.tail(rows.height - learned.height)
    yield Line("rows", "ok", f"{where}; {learned.height} to learn from, {held_back.height} held back")
    with TemporaryDirectory(prefix="trimtab-") as folder, _serving(recipe) as served:
        path = Path(folder) / "artifact.skops"
        began = time.perf_counter()
        try:
            pipeline = fit_rows(recipe.model, learned, recipe.folder)
        except TrimtabError as error:
            yield Line("fit", "FAILED", error.message, error.hint)
            return
        yield Line("fit", "ok", f"{recipe.model.spec.training.estimator} in {time.perf_counter() - began:.2f} s")
        saved = _saved(recipe, pipeline, held_back, path)
        yield saved
        if saved.level != "ok":
            return
        learned.write_parquet(Path(folder) / "rows.parquet")
        yield _again(recipe, Path(folder) / "rows.parquet", path)
        yield from _served(served, pipeline, path, held_back)


def _serving(recipe: Recipe) -> AbstractContextManager[serving_check.Served | None]:
    """The serving environment, None where there is none."""
    if environment.serving_python() is None:
        return nullcontext(None)
    return serving_check.started(recipe.model, recipe.folder, recipe.trusted_types)


def _saved(recipe: Recipe, pipeline: Any, rows: pl.DataFrame, path: Path) -> Line:
    """Stored without pickle, of trusted types, and the same model when it is read again."""
    try:
        digest = artifact.save(pipeline, path)
        again = loader.load(path, digest, recipe.trusted_types)
        data = recipe.model.spec.data
        before, after = (predict_rows(each, rows, data).values for each in (pipeline, again))
    except TrimtabError as error:
        return Line("save", "FAILED", error.message, error.hint)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return Line("save", "FAILED", f"it cannot predict {rows.height} rows once it is stored and loaded: {said}")
    if not (before == after).all():
        return Line(
            "save",
            "FAILED",
            f"stored and loaded, it predicts {int((before != after).sum())} of {rows.height} rows otherwise",
            "keep everything that predict needs in attributes of the estimator, not in modules or files",
        )
    return Line("save", "ok", f"artifact {digest[:12]}, {path.stat().st_size:,} bytes; loaded, it predicts the same")


def _again(recipe: Recipe, rows: Path, path: Path) -> Line:
    """The same recipe and rows in another process, whose hashes are others: a run's second attempt."""
    asked = {"spec": recipe.text, "folder": str(Path(recipe.folder or ".").resolve()), "rows": str(rows)}
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trimtab.adapters.fitting"],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONHASHSEED": other},
        capture_output=True,
        text=True,
        timeout=SECOND_FIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Line("determinism", "FAILED", f"the second fit, in a process of its own, failed: {last}")
    first, second = hashlib.sha256(path.read_bytes()).hexdigest(), done.stdout.strip()
    if first != second:
        return Line(
            "determinism",
            "FAILED",
            f"fitted twice on the same rows, it became {first[:12]} and {second[:12]}",
            "give every source of chance a random_state (the spec's seed is set there), and keep the order of sets, "
            "the time and the process out of what is learned",
        )
    return Line("determinism", "ok", f"fitted again in another process: the same artifact {second[:12]}")


def _served(served: serving_check.Served | None, pipeline: Any, path: Path, rows: pl.DataFrame) -> Iterator[Line]:
    if served is None:
        yield Line("predictions", "FAILED", f"not tried: {NO_ENVIRONMENT}", GET_ONE)
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        check = served.check(pipeline, path, digest, rows)
    except TrimtabError as error:
        yield Line("predictions", "FAILED", error.message, error.hint)
        return
    if check.problem and not check.too_slow:
        yield Line("predictions", "FAILED", check.problem)
        return
    numpy = check.packages["numpy"]
    yield Line("predictions", "ok", f"{check.rows} rows, together and alone, as here; NumPy {numpy} there")
    if check.too_slow:
        yield Line("latency", "FAILED", check.problem)
        return
    limit = check.limit_milliseconds
    allowed = f"{limit:g} ms allowed" if limit is not None else "no evaluation.maxLatencyP99Milliseconds"
    timed = f"p50 {check.p50_milliseconds:.2g} ms, p99 {check.p99_milliseconds:.2g} ms"
    yield Line("latency", "ok", f"{timed} over {check.requests} requests of one row; {allowed}")
