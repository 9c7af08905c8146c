"""Drift alarms: no more false ones a year than were accepted, whatever the length of the batches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trimtab.core.monitor.alarm import Batch, alarm, batches_a_year, level

START = datetime(2012, 1, 1, tzinfo=UTC)
FORTNIGHTS, DAYS = 26.0, 365.25


def batches(*ps: float, references: int = 13) -> list[Batch]:
    return [
        Batch(f"b{number}", START + timedelta(weeks=2 * number), p, references, ("heat",) if p < 1 else ())
        for number, p in enumerate(ps)
    ]


def test_one_fortnight_further_than_every_fortnight_of_the_reference_alarms_at_two_a_year() -> None:
    raised = alarm(batches(1, 1, 1 / 14), FORTNIGHTS, 2)

    assert raised is not None
    assert [batch.id for batch in raised.batches] == ["b2"]
    assert "heat" in raised.sentence
    assert "its own 13" in raised.sentence


def test_the_same_fortnight_is_no_alarm_where_one_in_ten_years_is_accepted() -> None:
    assert alarm(batches(1, 1, 1 / 14), FORTNIGHTS, 0.1) is None


def test_where_the_reference_is_too_short_for_the_rate_several_in_a_row_are_needed() -> None:
    once, twice, thrice = (batches(1, *[1 / 14] * times) for times in (1, 2, 3))

    # 365 / 2 = 183 days without an alarm; a row of two is worth 14 x (14 + 1) = 210.
    assert alarm(once, DAYS, 2) is None
    raised = alarm(twice, DAYS, 2)
    assert raised is not None
    assert [batch.id for batch in raised.batches] == ["b1", "b2"]
    assert "2 batches in a row" in raised.sentence
    assert alarm(thrice, DAYS, 2) is not None


def test_a_batch_like_the_references_own_ends_a_row() -> None:
    assert alarm(batches(1 / 14, 1, 1 / 14), DAYS, 2) is None


def test_an_alarm_stands_until_somebody_acts_on_it() -> None:
    raised = alarm(batches(1 / 14, 1, 1), FORTNIGHTS, 2)

    assert raised is not None
    assert [batch.id for batch in raised.batches] == ["b0"]


@pytest.mark.parametrize("references", [0, 1, 2, 3])
def test_a_reference_of_a_handful_of_batches_never_alarms(references: int) -> None:
    assert alarm(batches(*[1 / (references + 1)] * 20, references=references), FORTNIGHTS, 10) is None


def test_p_is_held_with_four_digits_and_counts_all_the_same() -> None:
    assert round(1 / 7, 4) > 1 / 7
    assert alarm(batches(round(1 / 7, 4), references=6), 14, 2) is not None


def test_columns_that_moved_less_than_the_least_effect_say_nothing() -> None:
    report = {
        "referenceBatches": 13,
        "columns": [
            {"column": "heat", "adjusted": 0.0714, "effect": 0.05},
            {"column": "wind", "adjusted": 0.5, "effect": 0.3},
        ],
    }

    assert Batch.of_report("b", START, report, min_effect=0.1) == Batch("b", START, 0.5, 13, ("wind",))
    assert Batch.of_report("b", START, report, min_effect=0.01).p == 0.0714


def test_the_rate_of_batches_needs_two_of_different_times() -> None:
    assert batches_a_year([START, START]) is None
    assert batches_a_year([START + timedelta(days=day) for day in (0, 2, 1)]) == pytest.approx(DAYS)


@pytest.mark.parametrize(
    ("per_year", "references", "accepted"), [(26, 13, 2), (365, 182, 2), (365, 28, 2), (52, 104, 0.5)]
)
def test_a_stream_in_which_nothing_changes_alarms_no_more_often_than_accepted(
    per_year: int, references: int, accepted: float
) -> None:
    """400 streams of five years; the current batch's rank among the reference's is uniform, acted-on alarms restart."""
    random, years, streams = np.random.default_rng(7), 5, 400
    ranks = random.integers(1, references + 2, size=(streams, years * per_year)) / (references + 1)
    alarms = 0
    for row in ranks:
        # Only batches at the level matter: the rows of such batches are played, as the trigger would see them.
        small = level(per_year, accepted, references)
        start = 0
        for place in np.flatnonzero(row <= small):
            if place < start:
                continue
            run = [Batch(str(at), START, row[at], references, ("x",)) for at in range(max(start, place - 3), place + 1)]
            if alarm(run, per_year, accepted) is not None:
                alarms, start = alarms + 1, place + 1
    rate = alarms / (streams * years)
    spread = np.sqrt(accepted / (streams * years))
    assert rate <= accepted + 3 * spread
