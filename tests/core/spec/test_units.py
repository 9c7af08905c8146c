"""Durations, holdouts, cron lines, addresses: what is read, and that it is written back the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.spec.units import (
    LONGEST,
    UNITS,
    Unfit,
    check_cron,
    check_prefix,
    check_time_zone,
    format_duration,
    format_holdout,
    parse_duration,
    parse_holdout,
    split_s3,
)

DURATIONS = st.integers(0, int(LONGEST.total_seconds())).map(lambda seconds: timedelta(seconds=seconds))


@settings(deadline=None)  # the machine is shared
@given(DURATIONS)
def test_a_duration_reads_back_to_itself(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@settings(deadline=None)  # the machine is shared
@given(st.integers(0, 5200), st.sampled_from(sorted(UNITS)))
def test_a_number_and_a_unit_are_that_many_units(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == timedelta(**{UNITS[unit]: number})


@settings(deadline=None)  # the machine is shared
@given(st.one_of(st.from_regex(r"[^0-9].*|[0-9]*", fullmatch=True), st.integers(), st.floats(), st.none()))
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(Unfit) as refused:
        parse_duration(value)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["", "5", "-5s", "1.5h", "2 w", "1w2d", "P2W", "٣s", "5S", "5201w"])
def test_durations_that_look_right_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(Unfit):
        parse_duration(text)


@settings(deadline=None)  # the machine is shared
@given(st.one_of(DURATIONS.filter(bool), st.integers(1, 10**9)))
def test_a_holdout_reads_back_to_itself(holdout: timedelta | int) -> None:
    assert parse_holdout(format_holdout(holdout)) == holdout


@pytest.mark.parametrize("text", ["0 rows", "0s", "-5 rows", "5000", 5000, True, 1.5, None, "rows"])
def test_nothing_held_out_is_refused(text: object) -> None:
    with pytest.raises(Unfit):
        parse_holdout(text)


@pytest.mark.parametrize("line", ["* * * * *", "0 3 * * 1", "*/15 8-18 * * mon-fri", "0 0 1,15 JAN *", "5 4 ? * 0"])
def test_cron_lines_of_a_cronjob_are_read(line: str) -> None:
    assert check_cron(line) == line


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "0 0 3 * * 1", "@daily", "0 3 L * *", "0 3 * * 1#2", "H 3 * * *", "0 24 * * *", "*/0 * * * *"],
)
def test_cron_lines_of_other_crons_are_refused(line: str) -> None:
    with pytest.raises(Unfit):
        check_cron(line)


@pytest.mark.parametrize("name", ["Etc/UTC", "America/New_York"])
def test_time_zones_are_those_of_the_database(name: str) -> None:
    assert check_time_zone(name) == name


@pytest.mark.parametrize("name", ["", "Berlin", "../etc/passwd", "Europe", "\x00"])
def test_other_time_zones_are_refused(name: str) -> None:
    with pytest.raises(Unfit):
        check_time_zone(name)


def test_an_address_is_bucket_and_key() -> None:
    assert split_s3("s3://flights") == ("flights", "")
    assert split_s3("s3://flights/landing/2024 01.csv") == ("flights", "landing/2024 01.csv")


@pytest.mark.parametrize("address", ["s3://", "s3:/flights/", "S3://flights/", "s3://F/", "s3://ab/", "flights/x/"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(Unfit):
        check_prefix(address)
