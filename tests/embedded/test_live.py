"""What `trimtab up` says of a change, and only then."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from trimtab.app.cli import live
from trimtab.app.status import Held, Last, Running, Serving, Status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IDLE = Status(
    model="small",
    serving=None,
    challenger=None,
    running=None,
    held=Held("waiting", "600 rows needed, 300 there", None, "wall"),
    last=None,
    uploads={"seen": 1, "pending": 0, "ingested": 1},
    decisions=0,
)


def test_nothing_new_is_not_said_again() -> None:
    assert live.changes(IDLE, IDLE) == []
    assert live.changes(IDLE, replace(IDLE, uploads={**IDLE.uploads, "pending": 3})) == []


def test_the_first_look_tells_how_things_stand() -> None:
    assert live.changes(None, IDLE) == ["1 upload ingested, 1 in all", "waiting: 600 rows needed, 300 there"]


def test_uploads_are_counted_by_what_became_of_them() -> None:
    after = replace(IDLE, uploads={"seen": 4, "pending": 0, "ingested": 3, "quarantined": 1})
    assert live.changes(IDLE, after) == ["2 uploads ingested, 3 in all", "1 upload quarantined, 1 in all"]


def test_a_run_is_told_from_its_start_to_its_champion() -> None:
    started = replace(IDLE, held=None, running=Running(5, "upload", 1, "id", NOW, None), decisions=1)
    again = replace(started, running=Running(5, "upload", 2, "id2", NOW, None))
    ended = replace(
        IDLE,
        serving=Serving(7, NOW, NOW, {"roc_auc": 0.81234}),
        last=Last(5, "champion", "better by 0.02", 7, NOW),
        decisions=1,
    )
    assert live.changes(IDLE, started) == ["training: decision 5 (upload)"]
    assert live.changes(started, again) == ["training: decision 5 (upload), attempt 2"]
    assert live.changes(again, ended)[:2] == [
        "decision 5 ended champion: better by 0.02",
        "champion: small/v7 (roc_auc 0.8123)",
    ]


def test_a_problem_is_told_once_and_stays_on_the_panel() -> None:
    after = replace(IDLE, problems=("the store does not answer [Errno 111]",), next_move="trimtab doctor")
    assert live.changes(IDLE, after) == ["problem: the store does not answer [Errno 111]", "next move: trimtab doctor"]
    assert live.changes(after, after) == []
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(live.panel(after, {"S3": "http://127.0.0.1:1"}))
    shown = console.export_text()
    assert "the store does not answer [Errno 111]" in shown  # brackets are text, not markup
    assert "http://127.0.0.1:1" in shown
