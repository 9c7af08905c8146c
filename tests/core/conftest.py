"""Streams for tests: bikeshare's two years, and noise that lasts, as weather does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.core.profile import Profile, profile
from trimtab.core.rows import INSTANT
from trimtab.core.spec.model import Column, Data

EXAMPLE = Path(__file__).parents[2] / "examples" / "bikeshare"
FORTNIGHT = timedelta(weeks=2)
NEW_YEAR = datetime(2012, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bikeshare:
    """Both years, typed as a partition is."""

    data: Data
    rows: pl.DataFrame

    def fortnight(self, number: int) -> pl.DataFrame:
        """A fortnight of 2012, from 0."""
        return self._between(NEW_YEAR + number * FORTNIGHT, NEW_YEAR + (number + 1) * FORTNIGHT)

    def before(self, number: int, length: timedelta = timedelta(days=366)) -> pl.DataFrame:
        """What came in that time before the fortnight."""
        return self._between(NEW_YEAR + number * FORTNIGHT - length, NEW_YEAR + number * FORTNIGHT)

    def past(self, number: int) -> list[Profile]:
        """All before the fortnight, in fortnights."""
        return profile(self.before(number, timedelta(days=3650)), self.data).batches(FORTNIGHT.total_seconds())

    def _between(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self.rows.filter(pl.col("ts").is_between(start, end, closed="left"))


@pytest.fixture(scope="session")
def bikeshare() -> Bikeshare:
    from trimtab.adapters.files import read_table
    from trimtab.core.spec.parse import load
    from trimtab.core.validation import validate

    data = load((EXAMPLE / "model.yaml").read_text()).spec.data
    files = sorted((EXAMPLE / "data").glob("*.csv"))
    rows = pl.concat(validate(read_table(file, "csv"), data).valid for file in files)
    return Bikeshare(data, rows.sort("ts"))


@dataclass(frozen=True)
class Noise:
    """Hourly rows of independent columns x0, x1, … and a target y, each as long-lasting as told."""

    columns: int
    lasting: float = 0.0

    @property
    def data(self) -> Data:
        schema = {f"x{i}": Column(type="float") for i in range(self.columns)} | {"y": Column(type="float")}
        return Data(source="s3://noise/", format="csv", timestamp="t", target="y", columns=schema)

    def rows(self, seed: int, days: int) -> pl.DataFrame:
        """`lasting` is the correlation of an hour with the next."""
        rng, hours = np.random.default_rng(seed), 24 * days
        values = rng.normal(size=(hours, self.columns + 1))
        for hour in range(1, hours):
            values[hour] = self.lasting * values[hour - 1] + np.sqrt(1 - self.lasting**2) * values[hour]
        start = datetime(2024, 1, 1, tzinfo=UTC)
        times = pl.Series("t", [start + timedelta(hours=hour) for hour in range(hours)], dtype=INSTANT)
        names = [*(f"x{i}" for i in range(self.columns)), "y"]
        return pl.DataFrame([times, *(pl.Series(name, values[:, i]) for i, name in enumerate(names))])


@pytest.fixture
def noise() -> type[Noise]:
    return Noise
