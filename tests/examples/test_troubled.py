"""The demo's three bad challengers do what they are shown for, and nothing of it where evaluation and check look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
from threadpoolctl import threadpool_limits

from trimtab.adapters import user_code
from trimtab.adapters.files import read_table
from trimtab.app.demo.examples import example
from trimtab.app.demo.trials import TRIALS, TRUSTED
from trimtab.core.spec import load
from trimtab.core.validation import validate

HOUR, SEASON, TEMPERATURE = 2, 4, 5


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other at every tree make small fits slow on a busy machine."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def troubled() -> ModuleType:
    return user_code.load_module("troubled", str(example("bikeshare")))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Two thousand hours around the first of summer, as columns of codes, and their rentals."""
    model = load((example("bikeshare") / "model.yaml").read_text(encoding="utf-8"))
    file = example("bikeshare") / "data" / "2012.csv"
    valid = validate(read_table(file, "csv"), model.spec.data).valid.slice(2000, 2000)
    values = {
        "season": ["spring", "summer", "fall", "winter"],
        "weathersit": ["Clear", "Mist", "Light Rain", "Heavy Rain"],
    }
    columns = []
    for name in model.spec.data.features:
        column = valid[name]
        if column.dtype in (pl.String, pl.Categorical) or isinstance(column.dtype, pl.Enum):
            known = values.get(name) or sorted(set(column.drop_nulls().cast(pl.String).to_list()))
            column = column.cast(pl.String).replace_strict(known, range(len(known)), default=None)
        columns.append(column.cast(pl.Float64).to_numpy())
    return np.column_stack(columns), valid["cnt"].to_numpy()


def refitted(estimator: Any) -> Any:
    """As it would come out of the store."""
    return skops.io.loads(
        skops.io.dumps(estimator), trusted=[*TRUSTED, *skops.io.get_untrusted_types(data=skops.io.dumps(estimator))]
    )


def test_columns_stand_where_the_models_look_for_them(troubled: ModuleType) -> None:
    features = load((example("bikeshare") / "model.yaml").read_text(encoding="utf-8")).spec.data.features
    assert (features[HOUR], features[SEASON], features[TEMPERATURE]) == ("hour", "season", "temp")
    assert (troubled.HOUR, troubled.SEASON, troubled.TEMPERATURE) == (HOUR, SEASON, TEMPERATURE)


@pytest.mark.parametrize("name", [trial.estimator.partition(":")[2] for trial in TRIALS if trial.estimator])
def test_each_is_as_good_as_the_plain_model_on_rows_like_those_it_learned(
    troubled: ModuleType, rows: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = rows
    learned, held = slice(0, 1600), slice(1600, 2000)
    spoiled = getattr(troubled, name)(random_state=0, max_iter=30).fit(x[learned], y[learned])
    plain = HistGradientBoostingRegressor(random_state=0, max_iter=30).fit(x[learned], y[learned])
    held_rows = x[held][np.isin(x[held][:, SEASON], x[learned][:, SEASON])]
    truth = y[held][np.isin(x[held][:, SEASON], x[learned][:, SEASON])]
    errors = [np.abs(model.predict(held_rows) - truth).sum() / truth.sum() for model in (spoiled, plain)]
    assert errors[0] < errors[1] + 0.03


def test_the_slow_one_is_fast_until_its_memory_is_full(
    troubled: ModuleType, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = rows
    model = troubled.RemembersAnswers(random_state=0, max_iter=5).fit(x, y)
    together = model.predict(x[:140])

    def timed(place: int) -> float:
        began = time.process_time()
        assert model.predict(x[place : place + 1])[0] == pytest.approx(together[place], abs=1e-9)
        return time.process_time() - began

    filling = [timed(place) for place in range(troubled.RemembersAnswers.ROOM)]
    again = [timed(place % 100) for place in range(200)]
    full = [timed(place) for place in range(130, 135)]
    assert np.median(full) > 10 * np.median(filling)
    assert np.median(again) < np.median(filling)


def test_its_memory_is_no_part_of_the_model(troubled: ModuleType, rows: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = rows
    model = troubled.RemembersAnswers(random_state=0, max_iter=5).fit(x, y)
    fresh = skops.io.dumps(model)
    model.predict(x[:1])
    assert "_memory" in vars(model)
    assert "_memory" not in vars(refitted(model))
    assert len(skops.io.dumps(model)) == pytest.approx(len(fresh), rel=0.01)


def test_the_failing_one_fails_on_single_rows_that_are_hotter_than_what_it_learned(
    troubled: ModuleType, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = rows
    model = refitted(troubled.LiftsByHourAndHeat(random_state=0, max_iter=20).fit(x, y))
    together = model.predict(x[:50])
    for place in range(50):
        assert model.predict(x[place : place + 1])[0] == pytest.approx(together[place], abs=1e-9)
    hot = x[:2].copy()
    hot[:, TEMPERATURE] = 49.0
    assert np.isfinite(model.predict(hot)).all()
    with pytest.raises(KeyError):
        model.predict(hot[:1])


def test_the_worse_one_is_far_off_in_a_season_it_has_not_seen(
    troubled: ModuleType, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = rows
    summer = x[:, SEASON] == 1
    model = refitted(troubled.ModelForEachSeason(random_state=0, max_iter=30).fit(x[summer], y[summer]))
    fall = x[summer][:300].copy()
    fall[:, SEASON] = 2
    own = np.abs(model.predict(x[summer][:300]) - y[summer][:300]).sum()
    assert np.abs(model.predict(fall) - y[summer][:300]).sum() > 3 * own
