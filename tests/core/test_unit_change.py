"""A changed unit is told from a season and from growth, on two years of real weather and demand."""

from __future__ import annotations

import polars as pl
import pytest

from trimtab.core import unit_change
from trimtab.core.profile import profile

NUMBERS = ("hour", "temp", "atemp", "hum", "windspeed", "cnt")


def found(bikeshare, number: int, batch: pl.DataFrame) -> dict[str, str]:
    changes = unit_change.find(batch, "ts", NUMBERS, bikeshare.past(number))
    return {change.column: change.conversion.found for change in changes}


@pytest.mark.parametrize("number", range(26))
def test_a_true_fortnight_is_never_taken_for_another_unit(bikeshare, number: int) -> None:
    assert found(bikeshare, number, bikeshare.fortnight(number)) == {}


@pytest.mark.parametrize("number", [0, 6, 13, 14, 20])
def test_fahrenheit_is_found_in_every_season(bikeshare, number: int) -> None:
    batch = bikeshare.fortnight(number).with_columns(pl.col("temp") * 1.8 + 32)
    assert found(bikeshare, number, batch) == {"temp": "degrees Fahrenheit"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (pl.col("temp") + 273.15, {"temp": "kelvin"}),
        (pl.col("hum") / 100, {"hum": "fractions"}),
        (pl.col("windspeed") * 1000, {"windspeed": "thousandths"}),
        (pl.col("cnt") * 10, {"cnt": "tenths"}),
    ],
)
def test_other_units_are_named(bikeshare, change: pl.Expr, expected: dict[str, str]) -> None:
    assert found(bikeshare, 14, bikeshare.fortnight(14).with_columns(change)) == expected


def test_july_after_half_a_year_of_colder_days_is_a_season(bikeshare) -> None:
    past = profile(bikeshare.before(13).filter(pl.col("ts").dt.year() == 2012), bikeshare.data).batches(14 * 86400)
    assert unit_change.find(bikeshare.fortnight(13), "ts", NUMBERS, past) == []


def test_nothing_is_said_before_the_past_tells_what_is_usual(bikeshare) -> None:
    batch = bikeshare.fortnight(14).with_columns(pl.col("temp") * 1.8 + 32)
    assert unit_change.find(batch, "ts", NUMBERS, bikeshare.past(14)[-3:]) == []


def test_a_change_says_what_was_found_and_what_it_would_be(bikeshare) -> None:
    batch = bikeshare.fortnight(14).with_columns(pl.col("temp") * 1.8 + 32)
    [change] = unit_change.find(batch, "ts", ("temp",), bikeshare.past(14))
    assert "column 'temp' looks like degrees Fahrenheit where degrees Celsius came before" in change.sentence()
    shown = unit_change.examples(change, batch)
    assert shown["converted"] == pytest.approx(bikeshare.fortnight(14)["temp"].head(3).to_list())


def test_each_conversion_has_its_way_back() -> None:
    for conversion in unit_change.CONVERSIONS:
        twin = [c for c in unit_change.CONVERSIONS if (c.expected, c.found) == (conversion.found, conversion.expected)]
        assert len(twin) == 1
        value = 20.0 * conversion.factor + conversion.offset
        assert twin[0].factor * value + twin[0].offset == pytest.approx(20.0)
