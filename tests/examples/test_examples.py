"""The examples: what their READMEs promise of the data holds, and every row passes its own spec."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trimtab.adapters.files import read_table
from trimtab.app.demo import mishaps
from trimtab.app.demo.examples import example
from trimtab.core.errors import NotFound
from trimtab.core.spec import ContinuousModel, load
from trimtab.core.spec.later import refuse_later
from trimtab.core.validation import validate


def spec(name: str) -> ContinuousModel:
    return load((example(name) / "model.yaml").read_text(encoding="utf-8"))


def rows(name: str) -> pl.DataFrame:
    data = spec(name).spec.data
    checked = [validate(read_table(path, data.format), data) for path in sorted((example(name) / "data").iterdir())]
    assert [each.report.invalid for each in checked] == [0] * len(checked)
    return pl.concat([each.valid for each in checked])


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_nothing_in_an_examples_spec_works_only_later(name: str) -> None:
    refuse_later(spec(name))


@pytest.mark.parametrize("name", ["bikeshare", "flights"])
def test_a_readme_names_source_and_licence(name: str) -> None:
    readme = (example(name) / "README.md").read_text(encoding="utf-8")
    assert "## Source and licence" in readme
    assert "creativecommons.org" in readme


def test_bikeshare_holds_two_years_of_hours_and_its_parts_are_no_features() -> None:
    found = rows("bikeshare")
    assert found.height == 17_379
    assert found["ts"].is_unique().all()
    assert found["ts"].max() == datetime(2012, 12, 31, 23, tzinfo=UTC)
    assert (found["weekday"].null_count(), found["weathersit"].null_count()) == (875, 1_258)
    data = spec("bikeshare").spec.data
    assert not {"casual", "registered", "cnt", "ts"} & set(data.features)
    assert (data.task, len(data.features)) == ("regression", 10)


def test_bikeshares_excluded_columns_sum_to_its_target() -> None:
    for path in sorted((example("bikeshare") / "data").iterdir()):
        frame = pl.read_csv(path)
        assert (frame["casual"] + frame["registered"] == frame["cnt"]).all()


def test_flights_holds_a_year_with_the_share_of_delays_that_its_readme_names() -> None:
    found = rows("flights")
    assert found.height == 336_776
    assert found["delayed"].null_count() == 8_255
    assert found["delayed"].mean() == pytest.approx(0.215, abs=0.0005)
    data = spec("flights").spec.data
    assert not {"dep_delay", "delayed", "flight", "dest"} & set(data.features)
    assert data.task == "classification"


def test_flights_delay_is_the_target_in_other_words() -> None:
    path = example("flights") / "data" / "2013-02.parquet"
    frame = pl.read_parquet(path)
    assert (frame["delayed"] == (frame["dep_delay"] > 15)).drop_nulls().all()
    assert frame["delayed"].is_null().sum() == frame["dep_delay"].is_null().sum()


def test_flights_files_are_made_again_by_their_script(tmp_path: Path) -> None:
    sys.path.insert(0, str(example("flights")))
    try:
        import prepare
    finally:
        sys.path.remove(str(example("flights")))
    shipped = example("flights") / "data" / "2013-03.parquet"
    table = tmp_path / "flights.parquet"
    pl.read_parquet(shipped).drop("delayed").sample(fraction=1, shuffle=True, seed=1).write_parquet(table)
    (made,) = prepare.prepare(table, tmp_path / "made")
    assert made.name == shipped.name
    assert pl.read_parquet(made).equals(pl.read_parquet(shipped))


def test_a_missing_example_says_where_it_was_looked_for() -> None:
    with pytest.raises(NotFound, match=r"found no example nothing in .*examples"):
        example("nothing")


@pytest.fixture(scope="module")
def july() -> bytes:
    lines = (example("bikeshare") / "data" / "2012.csv").read_bytes().splitlines(keepends=True)
    return b"".join([lines[0], *(line for line in lines if line.startswith(b"2012-07"))])


def test_a_renamed_column_changes_the_header_alone(july: bytes) -> None:
    spoiled = mishaps.rename_column(july)
    assert spoiled.split(b"\n", 1)[1] == july.split(b"\n", 1)[1]
    assert b",temperature,atemp," in spoiled.split(b"\n", 1)[0]


def test_fahrenheit_changes_both_temperatures_alone(july: bytes) -> None:
    good, bad = pl.read_csv(july), pl.read_csv(mishaps.to_fahrenheit(july))
    assert good.drop("temp", "atemp").equals(bad.drop("temp", "atemp"))
    assert bad["temp"].to_list() == pytest.approx((good["temp"] * 1.8 + 32).to_list(), abs=0.01)


def test_a_corrupt_file_is_neither_text_nor_whole(july: bytes) -> None:
    spoiled = mishaps.corrupt(july)
    assert len(spoiled) < len(july)
    with pytest.raises(UnicodeDecodeError):
        spoiled.decode()


def test_a_parquet_twin_holds_the_same_cells(july: bytes) -> None:
    twin = pl.read_parquet(mishaps.to_parquet(july))
    assert twin.write_csv() == july.decode()
