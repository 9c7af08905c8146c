"""Judging a candidate, and the refit of an accepted one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trimtab.adapters.models import Champion, load_rival, predict_rows
from trimtab.components.evaluate.evaluation import assess
from trimtab.core.records import ModelVersion

START = datetime(2012, 1, 1, tzinfo=UTC)


@pytest.fixture
def champion(train):
    """A registered version, trained on some rows up to their cut, that counts as trained on all of them."""
    return lambda rows, model, number=1: as_champion(train(rows, model)[1], rows, model, number)


def as_champion(pipeline, rows, model, number) -> Champion:
    version = ModelVersion(
        number=number,
        run_key="r0",
        artifact="a" * 64,
        evaluated_artifact="a" * 64,
        dataset="d0",
        training_digest="t",
        spec="s",
        trained_from=rows["ts"][0],
        trained_until=rows["ts"][-1],
        rows=len(rows),
        estimator=model.spec.training.estimator,
        seed=0,
        metrics={},
        evaluation={},
        reference="",
        lineage={},
        training_seconds=0,
        fits=1,
        recorded_at=START,
    )
    return Champion(version, pipeline)


def drifted(make_rows):
    """Sixty days of the old world, sixty of the new."""
    return make_rows(60), make_rows(60, START + timedelta(days=60), seed=1, shift=3)


def test_a_first_model_is_accepted_and_refitted_on_all_rows(make_model, make_rows, train):
    rows, model = make_rows(60), make_model()
    window, candidate = train(rows, model)
    found = assess(rows, model, window, candidate, None)
    assert (found.evaluation.result, found.evaluation.state) == ("first", "champion")
    assert (found.fits, found.learned.height) == (1, 60 * 24)
    assert found.learned["ts"][-1] == rows["ts"][-1]
    assert found.pipeline is not candidate


def test_a_refit_learns_what_the_candidate_could_not_know(make_model, make_rows, train):
    model = make_model(window={"strategy": "fixed", "size": "2w"})
    rows = pl.concat([make_rows(46), make_rows(14, START + timedelta(days=46), seed=1, shift=5)])
    window, candidate = train(rows, model)
    found = assess(rows, model, window, candidate, None)
    newest = rows.tail(14 * 24)
    before, after = (
        np.abs(predict_rows(pipeline, newest, model.spec.data).values - newest["cost"].to_numpy()).mean()
        for pipeline in (candidate, found.pipeline)
    )
    assert after < before / 1.5


def test_without_a_refit_the_candidate_itself_goes_on(make_model, make_rows, train):
    rows, model = make_rows(60), make_model(evaluation={"refit": False})
    window, candidate = train(rows, model)
    found = assess(rows, model, window, candidate, None)
    assert found.pipeline is candidate
    assert (found.fits, found.seconds, found.learned.height) == (0, 0, 46 * 24)


def test_after_a_drift_the_candidate_is_proven_better(make_model, make_rows, train, champion):
    old, new = drifted(make_rows)
    model = make_model(window={"strategy": "fixed", "size": "4w"})
    window, candidate = train(pl.concat([old, new]), model)
    found = assess(pl.concat([old, new]), model, window, candidate, champion(old, model, 7))
    assert (found.evaluation.result, found.evaluation.champion) == ("better", 7)
    assert found.evaluation.difference["mean_absolute_error"].high < 0


def test_a_candidate_that_learned_the_old_world_is_rejected_and_not_refitted(make_model, make_rows, train, champion):
    old, new = drifted(make_rows)
    model = make_model()
    window, stale = train(old, model)
    window = window.model_copy(update={"cut": new["ts"][-1] - timedelta(days=14), "end": new["ts"][-1]})
    judged_by = champion(new.head(40 * 24), model)
    found = assess(pl.concat([old, new]), model, window, stale, judged_by)
    assert (found.evaluation.result, found.pipeline, found.fits) == ("worse", None, 0)
    assert found.learned.is_empty()


def test_a_champion_of_another_schema_is_no_rival(make_model, make_rows, train, champion):
    rows, model = make_rows(60), make_model()
    theirs = champion(rows, model)
    narrower = make_model(data={"exclude": ["late", "x"]})
    narrow_window, narrow = train(rows.drop("x"), narrower)
    found = assess(rows.drop("x"), narrower, narrow_window, narrow, theirs)
    assert (found.evaluation.result, found.evaluation.state) == ("first", "champion")
    assert "'x'" in found.evaluation.reason


def test_a_champion_that_cannot_be_loaded_is_no_rival(make_model, make_rows, train, champion, state):
    rows, model = make_rows(60), make_model()
    window, candidate = train(rows, model)
    lost = load_rival(state, champion(rows, model).version)
    found = assess(rows, model, window, candidate, lost).evaluation
    assert (found.result, found.state, found.champion) == ("first", "champion", 1)
    assert f"found no {state.layout.artifact('a' * 64)}" in found.reason


def test_a_classification_is_judged_by_slices_and_curves(make_model, make_rows, train):
    model = make_model("late", evaluation={"metrics": ["roc_auc", "log_loss", "f1"], "slices": ["kind"], "floor": 0.6})
    rows = make_rows(60)
    window, candidate = train(rows, model)
    found = assess(rows, model, window, candidate, None).evaluation
    assert {part.value for part in found.slices} == {"a", "b", "c"}
    assert set(found.candidate) == {"roc_auc", "log_loss", "f1"}
    assert sum(map(sum, found.curves.confusion)) == 14 * 24


def test_only_labelled_rows_of_the_holdout_judge(make_model, make_rows, train):
    model = make_model()
    rows = make_rows(60).with_columns(cost=pl.when(pl.col("ts").dt.hour() != 5).then("cost"))
    window, candidate = train(rows, model)
    assert assess(rows, model, window, candidate, None).evaluation.rows == window.holdout_rows


def test_it_is_the_same_each_time(make_model, make_rows, train, champion):
    old, new = drifted(make_rows)
    rows, model = pl.concat([old, new]), make_model()
    window, candidate = train(rows, model)
    first, second = (assess(rows, model, window, candidate, champion(old, model)).evaluation for _ in range(2))
    assert first == second


@pytest.mark.parametrize("estimator", ["sklearn.svm:LinearSVC", "sklearn.linear_model:RidgeClassifier"])
def test_a_classifier_without_probabilities_can_be_ranked(make_model, make_rows, estimator, train):
    model = make_model("late", training={"estimator": estimator, "parameters": {}})
    rows = make_rows(60)
    window, candidate = train(rows, model)
    assert assess(rows, model, window, candidate, None).evaluation.candidate["roc_auc"].point > 0.9
