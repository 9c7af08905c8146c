"""The report: one page that stands alone, says the verdict first, and escapes what comes from data."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trimtab.app.report import plots
from trimtab.app.report.page import evidence, render, write
from trimtab.app.report.summary import Event, Incident, Promise, Summary, verdict
from trimtab.core.comparison import BatchScore, Comparison, PolicyResult, TrainingRun

START = datetime(2024, 1, 1, tzinfo=UTC)
EVIL = '<script>alert("x")</script>'
TITLES = {
    "trimtab": "trimtab",
    "never": "never retrained",
    "everything": "always, on everything",
    "window": "always, on 4 weeks",
    "lastWeek": "same hour last week",
}


def policy(name: str, values: list[float], runs: int = 1, text: str = "a sentence") -> PolicyResult:
    batches = tuple(
        BatchScore(
            start=START + timedelta(weeks=week),
            end=START + timedelta(weeks=week + 1),
            rows=100,
            value=value,
            numerator=100 * value,
            denominator=100,
        )
        for week, value in enumerate(values)
    )
    trained = tuple(
        TrainingRun(
            at=START + timedelta(weeks=week),
            reason="upload",
            why=text,
            outcome="champion" if week != 1 else "rejected",
            outcome_reason=text,
            version=week + 1 if week != 1 else None,
            evidence={"newRows": 100, "text": text},
        )
        for week in range(runs)
    )
    return PolicyResult.model_validate(
        {"name": name, "title": TITLES[name], "what": text, "batches": batches, "runs": trained}
    )


def summary(metric: str = "weighted_absolute_percentage_error", text: str = "a sentence") -> Summary:
    more = metric == "roc_auc"
    values = {"trimtab": [0.3, 0.2, 0.2], "never": [0.3, 0.4, 0.5], "everything": [0.3] * 3}
    return Summary(
        title=text,
        about=text,
        source=text,
        comparison=Comparison(
            model="demand",
            metric=metric,
            greater_is_better=more,
            policies=tuple(policy(name, each, 2, text) for name, each in values.items()),
        ),
        promises=(Promise(promise=text, found=text, kept=True),),
        incidents=(Incident(at=START, what=text, did=text, found=text, kind="unit_change", kept=True),),
        events=(Event(at=START, kind="decided", summary=text, evidence={text: text}),),
        facts={text: text},
        recorded_at=START,
    )


class Page(HTMLParser):
    """What a page holds: tags with their attributes, headings in order, its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data: str) -> None:
        if "style" not in self._open[-1:]:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(summary()))


def test_the_page_asks_nothing_of_any_network_and_runs_no_script(page: Page) -> None:
    assert not page.named("script")
    assert not page.named("link")
    assert not page.named("img")
    text = render(summary())
    assert not re.search(r"@import|url\(|src=|href=", text)
    assert set(re.findall(r"https?://[^\"'<\s]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_the_verdict_stands_before_the_plot_and_the_plot_before_the_figures(page: Page) -> None:
    order = [tag for tag, _ in page.tags if tag in {"h1", "svg", "table"}]
    assert order[0] == "h1"
    assert order.index("svg") < order.index("table")
    assert "2 training runs cut the weighted absolute percentage error by 42\N{NO-BREAK SPACE}%" in page.text


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(page.headings))


def test_the_plot_has_its_text_and_its_numbers_beside_it(page: Page) -> None:
    assert "trimtab 23.3\N{NO-BREAK SPACE}%; never retrained 40.0\N{NO-BREAK SPACE}%" in page.text
    assert "2 training runs (1 brought a new champion" in page.text
    assert len(page.named("table")) == 2


def test_the_page_follows_the_readers_theme_and_width() -> None:
    text = render(summary())
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 640px" in text
    assert 'name="viewport"' in text


def test_what_comes_from_data_or_specs_is_escaped_everywhere() -> None:
    text = render(summary(text=EVIL))
    assert EVIL not in text
    assert not Page(text).named("script")
    assert text.count("&lt;script&gt;") >= 15


def test_a_training_run_that_was_turned_down_is_told_from_one_that_serves() -> None:
    drawn = plots.error_over_time(summary(), plots.WIDE)
    triangles = re.findall(r'<path[^>]*fill="(#[0-9A-Fa-f]{6})"[^>]*><title>[^<]*: upload', drawn)
    assert triangles == [plots.COLOURS["trimtab"], plots.PAPER]
    assert "<title>08 January 2024: upload, a sentence; rejected: a sentence</title>" in drawn


def test_every_policy_keeps_its_colour_in_the_plot() -> None:
    drawn = plots.error_over_time(summary(), plots.NARROW)
    for name in ("trimtab", "never", "everything"):
        assert f'stroke="{plots.COLOURS[name]}"' in drawn


@pytest.mark.parametrize(
    ("weeks", "size", "labels"),
    [
        (8, plots.WIDE, {"2024", "4 Feb"}),
        (52, plots.WIDE, {"Jan", "2024", "Feb", "Nov", "Dec"}),
        (52, plots.NARROW, {"Jan", "2024", "Apr", "Jul", "Oct"}),
        (300, plots.WIDE, {"Jan", "Jul", "2024", "2029"}),
    ],
)
def test_the_time_axis_is_labelled_to_suit_its_length(weeks: int, size: plots.Size, labels: set[str]) -> None:
    values = [0.3] * weeks
    made = summary()
    long = made.comparison.model_copy(update={"policies": (policy("trimtab", values), policy("never", values))})
    drawn = plots.error_over_time(made.model_copy(update={"comparison": long}), size)
    shown = set(re.findall(r">([^<>]+)</t(?:ext|span)>", drawn))
    assert labels <= shown
    assert sum(1 for each in shown if re.fullmatch(r"[A-Z][a-z]{2}|\d+ [A-Z][a-z]{2}", each)) <= size.ticks + 1


def test_labels_at_the_ends_of_lines_do_not_overlap() -> None:
    heights = plots.spread([0.30, 0.30, 0.31, 0.9], 0.05)
    ordered = sorted(heights)
    assert all(after - before >= 0.05 - 1e-9 for before, after in itertools.pairwise(ordered))
    assert heights[3] == 0.9


def test_a_metric_where_more_is_better_reads_so() -> None:
    made = summary("roc_auc").comparison
    better = made.model_copy(update={"policies": (policy("trimtab", [0.8] * 3), policy("never", [0.7] * 3))})
    assert verdict(better) == "1 training run raised ROC AUC by 0.100: 0.800 instead of 0.700"
    assert "more is better" in render(summary("roc_auc"))
    alike = made.model_copy(update={"policies": (policy("trimtab", [0.7824] * 3), policy("never", [0.7816] * 3))})
    assert verdict(alike) == "1 training run changed nothing that counts: ROC AUC 0.782, as if never trained again"


def test_a_policy_that_lost_is_not_dressed_up() -> None:
    made = summary().comparison
    worse = made.model_copy(update={"policies": (policy("trimtab", [0.5] * 3), policy("never", [0.4] * 3))})
    assert "raised the weighted absolute percentage error by 25" in verdict(worse)


def test_a_summary_without_incidents_or_journal_leaves_the_sections_out() -> None:
    bare = summary().model_copy(update={"incidents": (), "events": (), "promises": ()})
    text = Page(render(bare)).text
    assert "went wrong on purpose" not in text
    assert "journal" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"point": 0.2, "low": 0.1, "high": 0.30001}, "0.2 (between 0.1 and 0.3)"),
        ({"point": 0.2, "low": None, "high": None}, "0.2"),
        ("2012-01-28T23:00:00.000001Z", "28 Jan 2012, 23:00 UTC"),
        (None, "none"),
        (True, "yes"),
        (0.123456, "0.1235"),
        ([], "none"),
        (["a", "b"], "a, b"),
        (12345, "12345"),
    ],
)
def test_evidence_reads_as_people_write(value: object, shown: str) -> None:
    assert str(evidence(value)) == shown


def test_nested_evidence_becomes_nested_lists() -> None:
    assert str(evidence([{"a": 1}])) == '<ul><li><dl class="evidence"><dt>a</dt><dd>1</dd></dl></li></ul>'


def test_an_incident_that_disturbed_something_is_said_and_counts() -> None:
    made = summary()
    broken = made.model_copy(update={"incidents": (made.incidents[0].model_copy(update={"kept": False}),)})
    assert made.kept
    assert not broken.kept
    assert "did not end as it should" in render(broken)


def test_the_summary_survives_json_and_the_page_is_written_into_new_folders(tmp_path: Path) -> None:
    made = Summary.from_json(summary().to_json())
    assert made == summary()
    write(made, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
