"""The report's rollouts: weights over time, evidence against one line of proof, and what users saw of each."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path

import pytest

from trimtab.app.report import plots, rollout_plots
from trimtab.app.report.page import render
from trimtab.app.report.rollouts import TESTS, Line, RolloutStory, Sample, Standing, outcome
from trimtab.app.report.summary import Summary, rollouts_in_short
from trimtab.core.comparison import BatchScore, Comparison, PolicyResult

START = datetime(2024, 1, 1, tzinfo=UTC)
EVIL = '<script>alert("x")</script>'
NEEDED = log(45)


def sample(day: float, weight: int, shadow: bool = False, **log_e: float) -> Sample:
    tests = {name: Standing(log_e=log_e.get(name, 0.0), log_needed=NEEDED) for name in TESTS}
    return Sample(at=START + timedelta(days=day), weight_percent=weight, shadow=shadow, tests=tests)


def story(
    phase: str = "RolledBack", metric: str = "errors", letter: str = "A", text: str = "a sentence"
) -> RolloutStory:
    end = START + timedelta(days=10)
    return RolloutStory(
        letter=letter,
        name="demand-v7",
        version=7,
        champion=6,
        title=text,
        what=text,
        phase=phase,
        metric=metric,
        verdict=text,
        kept=True,
        began=START,
        ended=end,
        labels=(START + timedelta(days=7),),
        seconds=20.0,
        requests=1234,
        answered=321,
        bad=17,
        bad_what=text,
        samples=(
            sample(0, 0, shadow=True),
            sample(2, 25, errors=1.0),
            sample(5, 50, errors=NEEDED - log(10)),
            sample(9.9, 50, errors=NEEDED + 1, latency=-20.0),
        ),
        tally_title=text,
        tally=(
            Line(name="challenger", points=((START, 0.0), (end, 9.0))),
            Line(name="accepted", points=((START, 0.0), (end, 2.0))),
        ),
        fixed=text,
    )


def summary(*stories: RolloutStory) -> Summary:
    batches = tuple(
        BatchScore(
            start=START + timedelta(weeks=week),
            end=START + timedelta(weeks=week + 1),
            rows=10,
            value=0.3,
            numerator=3,
            denominator=10,
        )
        for week in range(4)
    )
    policies = tuple(
        PolicyResult.model_validate({"name": name, "title": name, "what": "", "batches": batches})
        for name in ("trimtab", "never")
    )
    return Summary(
        title="t",
        about="a",
        comparison=Comparison(model="demand", metric="log_loss", greater_is_better=False, policies=policies),
        rollouts=stories,
        recorded_at=START,
    )


def drawn(made: RolloutStory) -> str:
    return rollout_plots.weights_and_evidence(made, rollout_plots.WIDE)


def heights(svg: str, colour: str) -> list[float]:
    """Of the points of the line in this colour, from the top, pixels."""
    path, *_ = re.findall(rf'<path[^>]* d="([^"]*)"[^>]* stroke="{colour}"[^>]*>', svg)
    return [float(y) for _, y in re.findall(r"([-\d.]+),([-\d.]+)", path)]


def test_the_section_says_in_one_line_how_all_of_them_ended() -> None:
    both = (story("Promoted", "loss"), story(letter="B"), story(letter="C"))
    assert rollouts_in_short(both) == (
        "three challengers were put under traffic: one promoted, two rolled back, by the evidence"
    )
    assert "ended otherwise" in rollouts_in_short((story("Aborted"),))
    text = render(summary(*both))
    assert "Three challengers were put under traffic: one promoted, two rolled back" in text
    assert text.index('id="errors"') < text.index('id="rollouts"') < text.index('id="figures"')


def test_each_has_a_tile_with_its_end_its_requests_and_what_users_saw() -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(summary(story()))))
    for part in ("v7 a sentence rolled back", "requests until then 1,234", "it answered 321", "a sentence 17"):
        assert part in text


def test_a_rollout_without_anything_bad_has_no_such_tile() -> None:
    text = render(summary(story("Promoted", "loss").model_copy(update={"bad_what": ""})))
    assert "<dd>17</dd>" not in text


def test_a_rollout_that_ended_otherwise_than_it_should_is_said_and_counts() -> None:
    broken = summary(story().model_copy(update={"kept": False}))
    assert not broken.kept
    assert "did not end as it should" in render(broken)


@pytest.mark.parametrize(
    ("phase", "words"), [("Promoted", "promoted"), ("RolledBack", "rolled back"), ("Held", "held")]
)
def test_ends_read_as_words(phase: str, words: str) -> None:
    assert outcome(story(phase)) == words


def test_the_weights_end_at_everything_or_at_nothing() -> None:
    nothing, everything = (
        heights(drawn(story(phase)), rollout_plots.COLOURS["weight"]) for phase in ("RolledBack", "Promoted")
    )
    assert nothing[-1] == max(nothing)
    assert everything[-1] == min(everything)


def test_an_e_value_that_proves_stands_above_the_line_of_proof_and_ten_times_less_a_decade_below() -> None:
    svg = drawn(story())
    latency = heights(svg, rollout_plots.COLOURS["latency"])
    decade = rollout_plots.WIDE.height * 1.25 / (rollout_plots.MOST - rollout_plots.LEAST)
    errors = next(
        [float(y) for _, y in re.findall(r"([-\d.]+),([-\d.]+)", path)]
        for path in re.findall(r'd="([^"]*)"[^>]*stroke="#D55E00"', svg)
        if len(set(re.findall(r",([-\d.]+)", path))) > 2
    )
    proof = rollout_plots.MOST * decade
    assert min(errors) == pytest.approx(proof - decade / log(10), abs=0.5)
    assert any(height == pytest.approx(proof + decade, abs=0.5) for height in errors)
    assert max(latency) == pytest.approx(rollout_plots.WIDE.height * 1.25, abs=0.5)  # far off, at the edge


def test_the_deciding_test_stands_out() -> None:
    widths = dict(re.findall(r'stroke="(#[0-9A-F]{6})" stroke-width="([\d.]+)"', drawn(story(metric="loss"))))
    assert widths[rollout_plots.COLOURS["loss"]] > widths[rollout_plots.COLOURS["latency"]]
    widths = dict(re.findall(r'stroke="(#[0-9A-F]{6})" stroke-width="([\d.]+)"', drawn(story("Promoted", "loss"))))
    assert widths[rollout_plots.COLOURS["harmless"]] > widths[rollout_plots.COLOURS["loss"]]


def test_the_year_marks_each_rollout_by_its_letter_and_end() -> None:
    marked = plots.error_over_time(summary(story("Promoted", "loss"), story(letter="B")), plots.WIDE)
    assert "A  v7 promoted" in marked
    assert "B  v7 rolled back" in marked
    narrow = plots.error_over_time(summary(story(letter="Q")), plots.NARROW)
    assert ">Q<" in narrow


def test_what_comes_from_models_is_escaped_in_words_plots_and_tooltips() -> None:
    text = render(summary(story(text=EVIL)))
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 6


def test_a_summary_with_rollouts_survives_json(tmp_path: Path) -> None:
    made = summary(story(), story("Promoted", letter="B"))
    assert Summary.from_json(made.to_json()) == made


def test_without_rollouts_there_is_no_such_section() -> None:
    assert 'id="rollouts"' not in render(summary())
