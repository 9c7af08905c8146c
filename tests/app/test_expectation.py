"""What `trimtab check` says of a rollout before it begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.request_rate import requests_per_hour
from trimtab.adapters.state import State
from trimtab.app.cli import main
from trimtab.core.ports import Buckets
from trimtab.core.predictions import PredictionLine

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://landing/small/
    format: csv
    timestamp: ts
    target: 'y'
    labels: {maturity: 2w}
    schema: {x: {type: float}, 'y': {type: float}}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {primary: r2}
  rollout:
    strategy: canary
    minRequests: 400
    steps: [{shadow: {minRequests: 500}}, {setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 2h}]
    maxDuration: 12h
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec and without a platform."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIMTAB_STATE_BUCKET", raising=False)
    (tmp_path / "model.yaml").write_text(SPEC)
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    main(["check", "-f", "model.yaml", *more])
    return capsys.readouterr().out.splitlines()


def test_each_step_is_shown_with_its_requests_and_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = check(capsys, "--requests-per-hour", "4000")
    assert said[0].startswith("OK small: 1 feature, ")
    assert said[1] == "rollout: canary, at 4,000 requests an hour"
    shadow, weight, pause, half = said[2:6]
    assert "500 requests  about 7.5 min" in shadow
    assert "8,000 requests  about 2 h" in weight
    assert pause == "  3. waits for approval"
    assert "800 requests  about 2 h" in half  # no sooner than minDuration
    assert all("finds 10 % errors against 2 % after about" in line for line in (shadow, weight, half))
    assert "rows of them show an equal model harmless" in said[6]
    assert "labels prove it harmless after about 14 days at the earliest, beyond maxDuration (12h)" in said[7]


def test_too_little_traffic_for_the_steps_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "\n".join(check(capsys, "--requests-per-hour", "300"))
    assert "the steps take about 31 h, and maxDuration is 12h: then onNoEvidence (hold) decides" in said


def test_without_a_rate_requests_are_shown_and_how_to_get_times(here: Path, capsys) -> None:
    said = check(capsys)
    assert said[1] == "rollout: canary"
    assert "for times, say how much is asked: --requests-per-hour 600" in "\n".join(said)
    assert "8,000 requests  finds" in said[3]


def test_an_immediate_rollout_has_nothing_to_expect(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "model.yaml").write_text(SPEC[: SPEC.index("  rollout:")])
    assert json.loads("\n".join(check(capsys, "--json")))["rollout"] is None


def test_the_rate_comes_from_the_log_of_the_platform_that_is_found(
    here: Path, capsys, buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    state = State.open(buckets, f"s3://{state_bucket}/default", "small")
    log(state, 150, datetime.now(UTC) - timedelta(minutes=3), timedelta(minutes=3))
    found = json.loads("\n".join(check(capsys, "--json")))["rollout"]
    assert found["requestsFrom"] == "log"
    assert 2000 < found["requestsPerHour"] <= 3001
    assert "as the prediction log has it" in check(capsys)[1]


def log(state: State, number: int, begin: datetime, over: timedelta, shadow: bool = False) -> None:
    """One segment with requests spread evenly."""
    lines = [
        PredictionLine(
            id=str(place),
            at=(begin + place / number * over).timestamp(),
            version=1,
            shadow=shadow,
            seconds=0.01,
            rows=1,
        ).to_json()
        for place in range(number)
    ]
    writer = f"v1-{begin.timestamp():.0f}-{int(shadow)}"
    state.bucket.create(state.predictions.segments.key(writer, 0), b"\n".join(lines) + b"\n")


def test_a_rate_is_of_real_requests_over_the_time_they_came_in() -> None:
    state = State.open(MemoryBuckets(), "s3://state/default", "small")
    now = datetime.now(UTC)
    assert requests_per_hour(state, now) is None
    log(state, 20, now - timedelta(hours=10), timedelta(hours=10))
    assert requests_per_hour(state, now) == pytest.approx(2, rel=0.05)  # few: over all that is known
    log(state, 300, now - timedelta(minutes=6), timedelta(minutes=6))
    log(state, 300, now - timedelta(minutes=6), timedelta(minutes=6), shadow=True)
    assert requests_per_hour(state, now) == pytest.approx(3000, rel=0.05)
