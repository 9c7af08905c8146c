"""Answers by the prediction log: from now on, read on by position, shadows and labels left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.adapters.log_answers import LogAnswers
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.predictions import Label, PredictionLine


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(only={"state"}), "s3://state/air", "flights", cache=tmp_path)


def put(state: State, writer: str, number: int, *lines: PredictionLine | Label) -> None:
    """One segment, as a model server puts it."""
    key = state.layout.predictions(f"{0:020d}-{writer}", number)
    state.bucket.create(key, b"".join(line.to_json() + b"\n" for line in lines))


def line(id: str, at: float, version: int = 6, **more: object) -> PredictionLine:
    return PredictionLine.model_validate({"id": id, "at": at, "version": version, "seconds": 0.02, "rows": 1, **more})


def test_from_now_on_and_then_what_came_since_each_once(state: State) -> None:
    put(state, "a", 0, line("before", 1.0))
    answers = LogAnswers(state)
    found, position = answers.answers("")
    assert found == []
    put(state, "a", 1, line("one", 3.0), line("two", 5.0, 7, kind="failure", error="it raised"))
    put(state, "b", 0, line("three", 4.0))
    found, after = answers.answers(position)
    assert [(each.request_id, each.version, each.failed, each.at) for each in found] == [
        ("one", 6, False, 3.0),
        ("three", 6, False, 4.0),
        ("two", 7, True, 5.0),
    ]
    assert answers.answers(position) == (found, after)
    assert LogAnswers(state).answers(after) == ([], after)


def test_what_nobody_was_answered_with_does_not_count(state: State) -> None:
    answers = LogAnswers(state)
    _, position = answers.answers("")
    put(state, "a", 0, line("copy", 1.0, 7, shadow=True), Label(id="copy", value=True, at=2.0), line("real", 3.0))
    assert [each.request_id for each in answers.answers(position)[0]] == ["real"]
