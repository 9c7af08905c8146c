"""Fitting the candidate on its window."""

import hashlib
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from trimtab.adapters import estimators
from trimtab.adapters.models import predict_rows
from trimtab.components.train.training import fit
from trimtab.core.errors import Invalid
from trimtab.serving import artifact


@pytest.fixture
def learn(choose):
    return lambda rows, model: fit(rows, model, choose(rows, model), estimators.build(model.spec.training, ""))


def test_a_regression_learns_what_the_rows_hold(make_model, make_rows, learn):
    rows, model = make_rows(60), make_model(training={"parameters": {"max_iter": 100}})
    fitted = learn(rows, model)
    error = np.abs(predict_rows(fitted.pipeline, rows, model.spec.data).values - rows["cost"].to_numpy()).mean()
    assert (fitted.rows, error < 0.3) == (46 * 24, True)
    assert fitted.seconds > 0


def test_a_classification_predicts_codes_of_its_classes(make_model, make_rows, learn):
    rows, model = make_rows(60), make_model("late")
    found = predict_rows(learn(rows, model).pipeline, rows, model.spec.data)
    assert (found.values == rows["late"].cast(pl.Float64).to_numpy()).mean() > 0.9


def test_a_category_as_target_is_learned_by_its_words(make_model, make_rows, learn):
    rows = make_rows(60)
    model = make_model("kind", training={"estimator": "sklearn.linear_model:LogisticRegression", "parameters": {}})
    assert learn(rows, model).pipeline.classes_.tolist() == ["a", "b", "c"]


def test_what_comes_after_the_cut_is_never_learned(make_model, make_rows, learn, choose):
    rows, model = make_rows(60), make_model()
    window = choose(rows, model)
    changed = rows.with_columns(cost=pl.when(pl.col("ts") >= window.cut).then(1000.0).otherwise("cost"))
    digests = [digest_of(learn(version, model).pipeline) for version in (rows, changed)]
    assert digests[0] == digests[1]


def test_the_same_rows_and_seed_give_the_same_artifact_and_another_seed_another(make_model, make_rows, learn):
    forest = {"estimator": "sklearn.ensemble:RandomForestRegressor", "parameters": {"n_estimators": 5}}
    rows = make_rows(30)
    same, again, other = (
        digest_of(learn(rows, make_model(training=forest | {"seed": seed})).pipeline) for seed in (1, 1, 2)
    )
    assert same == again != other


def digest_of(pipeline) -> str:
    return hashlib.sha256(artifact.dumps(pipeline)).hexdigest()


def test_a_feature_that_is_empty_in_the_window_does_not_stop_the_fit(make_model, make_rows, learn):
    rows = make_rows(60)
    late = rows["ts"][-1] - timedelta(days=3)
    rows = rows.with_columns(x=pl.when(pl.col("ts") > late).then("x"), kind=pl.lit(None, dtype=pl.String))
    model = make_model()
    fitted = learn(rows, model)
    assert np.isfinite(predict_rows(fitted.pipeline, rows, model.spec.data).values).all()


def test_unlabelled_rows_are_left_out(make_model, make_rows, learn):
    rows = make_rows(60).with_columns(cost=pl.when(pl.col("ts").dt.hour() > 0).then("cost"))
    assert learn(rows, make_model()).rows == pytest.approx(46 * 23, abs=1)


def test_an_estimator_that_refuses_the_rows_says_so_with_their_number(make_model, make_rows, learn):
    rows = make_rows(60)
    model = make_model(
        training={"estimator": "sklearn.linear_model:GammaRegressor", "parameters": {}},  # needs targets above 0
    )
    with pytest.raises(Invalid, match=r"GammaRegressor failed on 1104 rows: ValueError"):
        learn(rows, model)
