"""What every step stands in: once done it is done, and errors are kept only where repeating is in vain."""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.adapters import steps
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid, NotFound, Unavailable
from trimtab.core.records import Decision

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/
    format: csv
    timestamp: ts
    target: output
    schema: {heat: {type: float}, output: {type: float}}
  training: {estimator: "sklearn.linear_model:Ridge", threads: 3}
  evaluation: {primary: mean_absolute_error}
"""
STATE = "s3://state/default"
NOW = datetime(2012, 1, 1, tzinfo=UTC)


@pytest.fixture
def state(monkeypatch, tmp_path):
    buckets = MemoryBuckets()
    monkeypatch.setattr(steps.s3, "connect", lambda: buckets)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path))
    for name in steps.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    return State.open(buckets, STATE, "plant", tmp_path)


def run(name="train", spec=SPEC, model="plant", run_key="k1"):
    return steps.step(name, model, spec, STATE, run_key)


def test_a_step_is_done_once(state):
    with run() as first:
        assert first.done is None
        assert first.conclude({"artifact": "a"}) == {"artifact": "a"}
    with run() as again:
        assert again.done == again.result == {"artifact": "a"}


def test_what_another_attempt_concluded_first_counts(state):
    with run() as late:
        state.data.put_step("k1", "train", {"artifact": "theirs"})
        assert late.conclude({"artifact": "mine"}) == {"artifact": "theirs"}
        assert late.result == {"artifact": "theirs"}


@dataclass
class Artifact:
    path: str
    uri: str
    metadata: dict = field(default_factory=dict)


def test_an_artifact_keeps_the_address_that_kfp_gave_it_and_tells_where_the_thing_stands(state, tmp_path):
    made = Artifact(f"{tmp_path}/train/candidate", "s3://mlpipeline/v2/artifacts/train/candidate")
    with run() as step:
        step.hand_on(made, step.key(), {"rows": 5, "card": None})
    assert made.uri == "s3://mlpipeline/v2/artifacts/train/candidate"
    assert made.metadata == {"address": "s3://state/default/plant/runs/k1/train.json", "rows": 5}
    assert json.loads(Path(made.path).read_text()) == made.metadata


def test_a_page_stands_in_its_artifact(state, tmp_path):
    made, card = Artifact(f"{tmp_path}/validate/report", "s3://mlpipeline/report"), state.data.put_card("<p>2 rows</p>")
    with run("validate") as step:
        step.hand_on_page(made, card, {"validRows": 2})
    assert Path(made.path).read_text() == "<p>2 rows</p>"
    assert made.metadata["address"] == state.uri(state.layout.card(card))
    assert (made.uri, made.metadata["validRows"]) == ("s3://mlpipeline/report", 2)


def test_a_spec_may_stand_in_the_state(state):
    digest = state.data.put_spec(SPEC)
    with run(spec=state.uri(state.layout.spec(digest))) as step:
        assert step.model.name == "plant"
        assert step.spec_text == SPEC


def test_threads_are_those_of_the_spec_before_numpy_starts_any(state):
    with run():
        assert {os.environ[name] for name in steps.THREAD_VARIABLES} == {"3"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Invalid("found 3 rows; needs 100", "upload more"), "found 3 rows; needs 100\nhint: upload more"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_what_repeating_would_only_repeat_is_kept(state, error, told):
    with pytest.raises(type(error)), run():
        raise error
    kept = state.data.step("k1", "failure")
    assert (kept["step"], kept["permanent"], kept["error"]) == ("train", True, told)
    assert kept["seconds"] >= 0


@pytest.mark.parametrize("error", [Unavailable("the store is away"), OSError(28, "No space left on device")])
def test_what_may_go_well_the_next_time_is_not(state, error):
    with pytest.raises(type(error)), run():
        raise error
    assert state.data.step("k1", "failure") is None


def test_a_step_that_finds_its_run_key_only_later_keeps_its_failure_under_it(state):
    def ingest():
        with run("ingest", run_key="") as step:
            step.run_key = "k7"
            raise Invalid("no rows")

    with pytest.raises(Invalid, match="no rows"):
        ingest()
    assert state.data.step("k7", "failure")["step"] == "ingest"


def test_a_broken_spec_fails_for_good(state):
    with pytest.raises(Invalid, match="spec"), run(spec="kind: Nonsense"):
        pytest.fail("the step began")
    assert state.data.step("k1", "failure")["permanent"]


def test_a_spec_of_another_model_is_refused(state):
    with pytest.raises(Invalid, match="for pump, and its spec describes plant"), run(model="pump"):
        pytest.fail("the step began")


def decided(training_digest="t"):
    return Decision(
        number=1,
        reason="upload",
        entries=(),
        dataset="d",
        training_digest=training_digest,
        spec="s",
        run_key="k1",
        decided_at=NOW,
        recorded_at=NOW,
    )


def test_it_fits_only_by_the_recipe_of_its_decision(state):
    with run() as step:
        state.decisions.propose(decided(step.recipe()))
        step.hold_to_recipe()


def test_code_that_changed_since_the_decision_is_not_fitted(state):
    state.decisions.propose(decided("another"))
    with run() as step, pytest.raises(Invalid, match="not what decision 1 was made for"):
        step.hold_to_recipe()


def test_the_decision_is_found_by_its_run_key(state):
    decision = decided()
    state.decisions.propose(decision)
    with run() as step:
        assert step.decision == decision
        ended = step.end_run(state="rejected", reason="worse", training_seconds=2.0, fits=1)
        assert step.end_run(state="champion", reason="no, better") == ended
    assert state.decisions.outcome(1).state == "rejected"


def test_without_a_decision_or_an_earlier_step_it_says_what_is_missing(state):
    with run() as step:
        with pytest.raises(NotFound, match="no decision with run key k1"):
            _ = step.decision
        with pytest.raises(NotFound, match="needs what window concluded"):
            step.earlier("window")
