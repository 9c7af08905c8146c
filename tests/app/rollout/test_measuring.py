"""Mirrored requests come from the model servers' own log, and count once, whoever measures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.app.rollout import measuring
from trimtab.app.rollout.losses import Users
from trimtab.app.rollout.measuring import evidence_of
from trimtab.core.ports import Answer
from trimtab.core.predictions import PredictionLine
from trimtab.core.rollout.values import Phase

Rig = Any
SHADOW = "{strategy: shadow, steps: [{shadow: {minRequests: 60}}], maxDuration: 2h}"


@pytest.fixture
def shadowed(make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> Rig:
    """v2 answers a copy of what v1 answers."""
    monkeypatch.setattr(measuring, "LOG_SECONDS", 0.0)
    rig = make_rig(rollout=SHADOW)
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(2)
    assert rig.at().phase is Phase.SHADOW
    return rig


def log(rig: Rig, segment: int, requests: range, failing: Callable[[int], bool] = lambda number: False) -> None:
    """Both variants put a segment: the champion's answers, and the challenger's to the copies."""
    rig.now += timedelta(seconds=3)
    for version, shadow in ((1, False), (2, True)):
        lines = [
            PredictionLine(
                kind="failure" if shadow and failing(number) else "prediction",
                id=f"r{number}",
                at=rig.now.timestamp(),
                version=version,
                shadow=shadow,
                seconds=0.01,
                rows=1,
            )
            for number in requests
        ]
        body = b"".join(line.to_json() + b"\n" for line in lines)
        rig.state.bucket.create(rig.state.layout.predictions(f"v{version}-writer", segment), body)


def test_mirrored_requests_meet_the_gate_and_lead_to_the_promotion(shadowed: Rig) -> None:
    log(shadowed, 0, range(40))
    shadowed.look()
    assert "40 of 60 mirrored requests" in shadowed.at().reason or shadowed.at().phase is Phase.SHADOW
    log(shadowed, 1, range(40, 70))
    shadowed.look(3)

    assert shadowed.aliases() == (2, None)
    assert evidence_of(shadowed.at()).mirrored.requests == 70


def test_failures_on_copies_roll_back_before_anybody_was_answered(shadowed: Rig) -> None:
    log(shadowed, 0, range(60), failing=lambda number: number % 3 == 0)
    shadowed.look(2)

    state = shadowed.at()
    assert state.phase is Phase.ROLLED_BACK
    assert "mirrored" in state.reason
    assert [epoch.weight_percent for epoch in state.epochs] == [0, 0]
    assert shadowed.aliases() == (1, None)


def test_a_restart_counts_no_mirrored_request_twice(shadowed: Rig) -> None:
    log(shadowed, 0, range(20))
    shadowed.look(seconds=5)
    shadowed.start()
    shadowed.look(2, seconds=5)
    log(shadowed, 1, range(20, 40))
    shadowed.start()
    shadowed.look(seconds=5)

    assert evidence_of(shadowed.at()).mirrored.requests == 40


def test_who_asked_is_read_from_where_the_rollout_began(shadowed: Rig) -> None:
    shadowed.traffic.record(Answer(1.0, 1, False, 0.1, user="ann", request_id="a"))
    _, first = shadowed.traffic.answers("")
    users = Users(shadowed.traffic)
    shadowed.traffic.record(Answer(2.0, 1, False, 0.1, user="ben", request_id="b"))
    assert users.since(first) == {"b": "ben"}
    shadowed.traffic.record(Answer(3.0, 1, False, 0.1, user="cyd", request_id="c"), Answer(4.0, 1, False, 0.1))

    assert users.since(first) == {"b": "ben", "c": "cyd"}
    assert users.since("0") == {"a": "ann", "b": "ben", "c": "cyd"}
