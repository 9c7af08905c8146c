"""A challenger meets one rollout, that copies everything which decides; nobody else meets any."""

from datetime import timedelta
from types import SimpleNamespace

import polars as pl
import pytest

from trimtab.adapters import proposals
from trimtab.adapters.proposals import loss_scale, propose
from trimtab.components.deploy.deployment import deploy_run
from trimtab.core.records import ModelVersion

START_DAYS = 10
CANARY = {
    "strategy": "canary",
    "steps": [{"shadow": {"minRequests": 20}}, {"setWeight": 25, "minDuration": "10m"}],
    "maxDuration": "2h",
}


@pytest.fixture
def make_version(state, make_model, make_rows):
    """Version 2, learned on the rows of ten days that stand in the state."""

    def make(target="cost"):
        from trimtab.core.records import Partition

        rows = make_rows(START_DAYS)
        times = rows["ts"]
        state.bucket.put(state.layout.partition("p"), _parquet(rows))
        part = Partition(id="p", rows=len(rows), labelled=len(rows), quarantined=0, first=times[0], last=times[-1])
        dataset = state.data.put_dataset([part])
        return ModelVersion(
            number=2,
            run_key="run 2",
            artifact="a" * 64,
            evaluated_artifact="a" * 64,
            dataset=dataset.digest,
            training_digest="t",
            spec="s",
            trained_from=times[0],
            trained_until=times[-1] - timedelta(days=1),
            rows=len(rows) - 24,
            estimator="sklearn.linear_model:Ridge",
            seed=0,
            metrics={},
            evaluation={"champion": 1},
            reference="",
            lineage={},
            training_seconds=1.0,
            fits=2,
            recorded_at=times[-1],
        ), rows

    return make


def _parquet(rows):
    from io import BytesIO

    body = BytesIO()
    rows.write_parquet(body)
    return body.getvalue()


def run_of(state, model, registered):
    """What deploy sees of its run."""
    from trimtab.adapters.state.state import wall_clock

    return SimpleNamespace(state=state, model=model, now=wall_clock, earlier=lambda step: registered)


def test_a_challenger_gets_a_rollout_that_holds_everything_that_decides(state, make_model, make_version):
    version, rows = make_version()
    state.registry.add_version(lambda number: version.model_copy(update={"number": number, "run_key": "run 1"}))
    state.registry.add_version(lambda number: version)
    model = make_model(
        rollout=CANARY, evaluation={"maxLatencyP99Milliseconds": 40}, data={"labels": {"maturity": "3d"}}
    )

    said = deploy_run(run_of(state, model, {"state": "challenger", "version": 2, "reason": "proven better"}))

    (spec,) = state.rollouts.all()
    assert said == {"rollout": 1, "name": "costs-v2", "reason": "costs-v2: v2 beside v1, canary in 2 steps"}
    assert (spec.version, spec.champion, spec.run_key) == (2, 1, "run 2")
    assert spec.policy == model.spec.rollout
    assert (spec.max_latency_milliseconds, spec.maturity_seconds) == (40, 3 * 86400)
    learned = rows.filter(pl.col("ts") <= version.trained_until)
    assert spec.loss_scale == pytest.approx(learned["cost"].abs().quantile(0.99, "linear"))


def test_repeated_it_proposes_nothing_more_and_reads_no_rows(state, make_model, make_version, monkeypatch):
    version, _ = make_version()
    first = propose(state, make_model(rollout=CANARY), version, 1, "because")
    monkeypatch.setattr(proposals, "loss_scale", lambda *found: pytest.fail("the rows were read again"))

    assert propose(state, make_model(rollout=CANARY), version, 1, "because") == first


@pytest.mark.parametrize("ended", ["champion", "awaitingApproval", "rejected", "superseded"])
def test_whatever_is_no_challenger_meets_no_rollout(state, make_model, ended):
    said = deploy_run(run_of(state, make_model(), {"state": ended, "version": 1, "reason": "why"}))

    assert said == {"rollout": 0, "name": "", "reason": f"no rollout: the run ended as {ended}"}
    assert state.rollouts.all() == []


def test_of_classes_a_loss_is_one_error_whatever_the_rows(state, make_model, make_version):
    version, _ = make_version()
    assert loss_scale(state, make_model("late"), version) == 1.0
