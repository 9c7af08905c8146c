"""What is put between encoder and estimator, and predictions in one form for all."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from trimtab.core.errors import Invalid
from trimtab.serving.assembly import assemble, fit
from trimtab.serving.predict import predict

RANDOM = np.random.default_rng(5)
N = 400
ROWS = {
    "x": np.where(RANDOM.random(N) < 0.1, np.nan, RANDOM.normal(size=N)),
    "c": RANDOM.choice(["a", "b", None], N),
    "empty": np.full(N, np.nan),
}
COLUMNS = (("x", "float", ()), ("c", "category", ("a", "b", "new")), ("empty", "float", ()))
Y = (np.nan_to_num(ROWS["x"]) + 2 * (ROWS["c"] == "a") + 0.1 * RANDOM.normal(size=N)) > 0.7
ESTIMATORS = [
    HistGradientBoostingClassifier(max_iter=30, random_state=0),
    RandomForestClassifier(30, random_state=0),
    LogisticRegression(),
    GaussianNB(),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_any_estimator_learns_from_missing_values_categories_and_an_empty_column(estimator):
    fitted = fit(assemble(COLUMNS, estimator, "matrix"), ROWS, Y, 1)
    assert (fitted.predict(ROWS) == Y).mean() > 0.85


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_a_category_never_seen_in_training_is_predicted(estimator):
    fitted = fit(assemble(COLUMNS, estimator, "matrix"), ROWS, Y, 1)
    assert len(fitted.predict({"x": [0.5, None], "c": ["new", "other"], "empty": [1.0, None]})) == 2


def test_gradient_boosting_is_told_which_columns_are_categories():
    pipeline = assemble(COLUMNS, HistGradientBoostingClassifier(), "matrix")
    assert pipeline.named_steps["estimate"].categorical_features == [False, True, False]
    assert [name for name, _ in pipeline.steps] == ["encode", "estimate"]


def test_what_the_parameters_say_of_categories_stands():
    pipeline = assemble(COLUMNS, HistGradientBoostingClassifier(categorical_features=[0]), "matrix")
    assert pipeline.named_steps["estimate"].categorical_features == [0]


def test_a_category_with_more_values_than_bins_stays_a_number():
    wide = (("c", "category", tuple(map(str, range(300)))), ("d", "category", ("a",)))
    pipeline = assemble(wide, HistGradientBoostingClassifier(), "matrix")
    assert pipeline.named_steps["estimate"].categorical_features == [False, True]


def test_missing_numbers_are_filled_only_where_the_estimator_refuses_them():
    assert len(assemble((("x", "float", ()),), RandomForestClassifier(), "matrix").steps) == 2
    assert len(assemble((("x", "float", ()),), LinearRegression(), "matrix").steps) == 3


def test_a_regression_gives_numbers():
    pipeline = fit(
        assemble((("x", "float", ()),), LinearRegression(), "matrix"), {"x": [0.0, 1]}, np.array([0.0, 2]), 1
    )
    found = predict(pipeline, {"x": [3.0]})
    assert found.values == pytest.approx([6.0])
    assert (found.scores, found.classes) == (None, 0)


def test_classes_come_in_the_schemas_order_and_an_unlearned_one_gets_no_chance():
    y = np.where(Y, "low", "high")
    pipeline = fit(assemble(COLUMNS, LogisticRegression(), "matrix"), ROWS, y, 1)
    found = predict(pipeline, ROWS, ("low", "middle", "high"))
    assert found.probability
    assert found.scores[:, 1].max() == 0
    assert found.scores.sum(axis=1) == pytest.approx(1)
    assert ((found.values == 0) == (pipeline.predict(ROWS) == "low")).all()


def test_a_boolean_target_has_false_as_zero_and_true_as_one():
    pipeline = fit(assemble(COLUMNS, LogisticRegression(), "matrix"), ROWS, Y, 1)
    found = predict(pipeline, ROWS, (False, True))
    assert (found.values == pipeline.predict(ROWS)).all()
    assert found.scores[:, 1] == pytest.approx(pipeline.predict_proba(ROWS)[:, 1])


def test_decision_values_rank_but_are_no_probabilities():
    pipeline = fit(assemble(COLUMNS, LinearSVC(), "matrix"), ROWS, Y, 1)
    found = predict(pipeline, ROWS, (False, True))
    assert not found.probability
    assert ((found.scores[:, 1] > 0) == (found.values == 1)).all()


def test_a_class_the_schema_does_not_know_is_named():
    pipeline = fit(assemble(COLUMNS, LogisticRegression(), "matrix"), ROWS, np.where(Y, "old", "new"), 1)
    with pytest.raises(Invalid, match="'old'"):
        predict(pipeline, ROWS, ("new", "newer"))


def test_predictions_that_are_no_numbers_are_refused():
    class Broken:
        def predict(self, columns):
            return [1.0, float("nan")]

    with pytest.raises(Invalid, match="1 of 2 rows"):
        predict(Broken(), {})
