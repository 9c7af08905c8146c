"""What a person asks of a rollout at the command line, against a real store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.adapters.state import State
from trimtab.app.cli import cli
from trimtab.core.errors import Invalid, NotFound, TrimtabError
from trimtab.core.ports import Buckets
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def state(buckets: Buckets, state_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    """Three versions: v2 serves, v1 did before, v3 is in a rollout at its pause."""
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.chdir(tmp_path)
    state = State.open(buckets, f"s3://{state_bucket}/default", "flights")
    for run in ("first", "second", "third"):
        state.registry.add_version(lambda number, run=run: version(number, run))
    state.registry.publish(
        lambda now: Manifest(number=0, champion=2, challenger=3, previous=1, cause="v3 was judged", recorded_at=NOW)
    )
    spec = state.rollouts.propose(
        RolloutSpec(
            number=0,
            name="",
            model="flights",
            version=3,
            champion=2,
            rollout={"strategy": "canary", "steps": [{"setWeight": 5}, {"pause": {}}]},
            run_key="third",
            recorded_at=NOW,
        )
    )
    state.rollouts.save(RolloutState(number=spec.number, epoch=1, phase=Phase.PAUSED, step=1, started=NOW))
    return state


def version(number: int, run: str) -> ModelVersion:
    return ModelVersion(
        number=number,
        run_key=run,
        artifact="a" * 64,
        evaluated_artifact="a" * 64,
        dataset="d",
        training_digest="t",
        spec="s",
        trained_from=NOW,
        trained_until=NOW,
        rows=10,
        estimator="sklearn.linear_model:Ridge",
        seed=0,
        metrics={},
        evaluation={},
        reference="",
        lineage={},
        training_seconds=0.1,
        fits=1,
        recorded_at=NOW,
    )


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> TrimtabError:
    with pytest.raises(TrimtabError) as caught:
        CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)
    return caught.value


@pytest.mark.parametrize(
    ("verb", "field", "value"),
    [
        ("pause", "paused", True),
        ("abort", "aborted", True),
        ("promote", "promoted", True),
        ("approve", "approved", (1,)),
    ],
)
def test_a_wish_is_kept_with_the_rollout_that_goes_on(state: State, verb: str, field: str, value: object) -> None:
    assert run(verb, "flights", "--reason", "it is Friday").startswith("flights-v3: ")
    asked = state.rollouts.asked(1)
    assert getattr(asked, field) == value
    assert asked.reason.startswith(f"{verb} by ")
    assert asked.reason.endswith(": it is Friday")
    (told,) = state.journal.entries()
    assert (told.kind, told.summary) == ("asked", f"flights-v3: {asked.reason}")


def test_each_wish_is_journalled_also_where_it_takes_back_the_one_before(state: State) -> None:
    for verb in ("pause", "resume", "pause", "resume"):
        run(verb, "flights")
    said = [entry.summary.split()[1] for entry in state.journal.entries()]
    assert said == ["pause", "resume", "pause", "resume"]


def test_a_wish_prints_one_document_for_machines(state: State) -> None:
    found = json.loads(run("pause", "flights", "--json"))
    assert (found["rollout"], found["paused"]) == ("flights-v3", True)


@pytest.mark.parametrize("verb", ["pause", "abort", "promote", "approve", "resume"])
def test_without_a_rollout_nothing_can_be_asked(state: State, verb: str) -> None:
    stands = state.rollouts.state(1)
    assert stands is not None
    state.rollouts.save(stands.model_copy(update={"phase": Phase.ROLLED_BACK}))
    error = refused(verb, "flights")
    assert isinstance(error, Invalid)
    assert "no rollout of flights goes on" in error.message


def test_going_back_makes_the_one_before_champion_and_ends_the_rollout(state: State) -> None:
    assert "flights/v1 is champion, before it v2" in run("rollback", "flights", "--reason", "refunds")
    manifest = state.registry.manifest()
    assert manifest is not None
    assert (manifest.champion, manifest.previous) == (1, 2)
    assert state.rollouts.asked(1).aborted
    assert [entry.id for entry in state.journal.entries()] == ["manifest/2"]


def test_going_back_to_a_named_version_needs_that_version(state: State) -> None:
    assert isinstance(refused("rollback", "flights", "v9"), NotFound)
    assert "is the champion already" in refused("rollback", "flights", "v2").message
