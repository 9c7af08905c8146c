"""Preparation by tables: taken only where it is exactly scikit-learn's own."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder

from trimtab.serving.assembly import assemble, fit
from trimtab.serving.tabulated import Tabulated, tabulate

RANDOM = np.random.default_rng(3)
COLUMNS = (
    ("x", "float", ()),
    ("c", "category", ("a", "b", "never")),
    ("z", "float", ()),
    ("d", "category", ("p", "q")),
)
CATEGORIES = [0, 3, 0, 2]
ROWS = {
    "x": np.where(RANDOM.random(300) < 0.2, np.nan, RANDOM.normal(size=300)),
    "c": RANDOM.choice(["a", "b", None], 300),
    "z": RANDOM.normal(size=300),
    "d": RANDOM.choice(["p", "q"], 300),
}
Y = RANDOM.normal(size=300) > 0


@pytest.mark.parametrize("estimator", [HistGradientBoostingRegressor(max_iter=2), LogisticRegression()])
def test_what_stands_before_the_usual_estimators_is_tabulated_exactly(estimator):
    pipeline = fit(assemble(COLUMNS, estimator, "matrix"), ROWS, Y, 1)
    transformer = dict(pipeline.steps).get("prepare") or estimator._preprocessor
    matrix = pipeline.named_steps["encode"].transform(ROWS)
    tables = tabulate(transformer, CATEGORIES)
    assert isinstance(tables, Tabulated)
    assert np.array_equal(tables.transform(matrix), transformer.transform(matrix), equal_nan=True)
    one = matrix[:1]
    assert np.array_equal(tables.transform(one), transformer.transform(one), equal_nan=True)


def test_a_part_of_another_kind_keeps_its_transformer():
    other = ColumnTransformer([("bins", KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), [0])])
    other.fit(RANDOM.normal(size=(50, 1)))
    assert tabulate(other, [0]) is other


def test_a_part_that_does_something_else_by_the_same_name_keeps_its_transformer():
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-5)
    other = ColumnTransformer([("codes", encoder, [0])]).fit(np.array([[0.0], [1.0]]))
    # The third code was never seen: the encoder says -5, the table NaN.
    assert tabulate(other, [3]) is other
