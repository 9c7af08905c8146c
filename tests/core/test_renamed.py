"""A renamed column is known by what it holds: its cells read as declared, its counts lie near the past's."""

from __future__ import annotations

import polars as pl

from trimtab.core import renamed
from trimtab.core.validation import compare_columns


def found(bikeshare, batch: pl.DataFrame, past: list) -> dict[str, str]:
    text = batch.select(pl.all().cast(pl.String))
    pairs = renamed.find(text, compare_columns(text, bikeshare.data), bikeshare.data, past)
    return {pair.missing: pair.found for pair in pairs}


def test_each_of_two_renamed_columns_finds_its_own(bikeshare) -> None:
    batch = bikeshare.fortnight(13).rename({"temp": "temperature", "weathersit": "sky"})
    assert found(bikeshare, batch, bikeshare.past(13)) == {"temp": "temperature", "weathersit": "sky"}


def test_columns_whose_names_were_exchanged_for_strange_ones_are_told_apart_by_their_values(bikeshare) -> None:
    batch = bikeshare.fortnight(13).rename({"hum": "c1", "windspeed": "c2", "hour": "c3"})
    assert found(bikeshare, batch, bikeshare.past(13)) == {"hum": "c1", "windspeed": "c2", "hour": "c3"}


def test_a_column_of_another_type_or_of_other_values_is_no_new_name(bikeshare) -> None:
    batch = bikeshare.fortnight(13).drop("temp")
    for extra in (pl.lit("warm"), pl.lit(900.0), pl.lit(None, dtype=pl.Float64), pl.col("ts")):
        assert found(bikeshare, batch.with_columns(extra.alias("other")), bikeshare.past(13)) == {}


def test_without_a_past_only_a_like_name_counts(bikeshare) -> None:
    batch = bikeshare.fortnight(13)
    assert found(bikeshare, batch.rename({"temp": "temperature"}), []) == {"temp": "temperature"}
    assert found(bikeshare, batch.rename({"temp": "grad_celsius"}), []) == {}


def test_the_event_time_is_known_by_its_form(bikeshare) -> None:
    batch = bikeshare.fortnight(13).rename({"ts": "recorded"}).with_columns(pl.col("recorded").dt.to_string("iso"))
    assert found(bikeshare, batch, bikeshare.past(13)) == {"ts": "recorded"}


def test_a_pair_says_what_to_do(bikeshare) -> None:
    text = bikeshare.fortnight(13).rename({"temp": "temperature"}).select(pl.all().cast(pl.String))
    [pair] = renamed.find(text, compare_columns(text, bikeshare.data), bikeshare.data, bikeshare.past(13))
    assert pair.sentence().startswith("column 'temp' is missing; 'temperature' looks the same (distance 0.")
    assert pair.hint().startswith("rename 'temperature' to 'temp' in the export")
