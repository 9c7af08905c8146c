"""Columns to matrix and frame, by the schema alone."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from trimtab.core.errors import Invalid
from trimtab.serving.columns import Coded
from trimtab.serving.encoder import Encoder

COLUMNS = (
    ("distance", "float", ()),
    ("stops", "int", ()),
    ("holiday", "boolean", ()),
    ("carrier", "category", ("AA", "DL", "UA")),
    ("note", "string", ()),
    ("seen", "timestamp", ()),
)
ROWS = {
    "distance": [100.0, None, float("inf")],
    "stops": [1, 2, 3],
    "holiday": [True, False, None],
    "carrier": ["UA", "XX", None],
    "note": ["late", None, "x"],
    "seen": ["2012-01-01T00:00:00Z", "2012-01-02T00:00:00Z", None],
}
NAN = np.nan
MATRIX = [[100.0, 1, 1, 2], [NAN, 2, 0, NAN], [NAN, 3, NAN, NAN]]


def fitted(output="matrix", rows=ROWS):
    return Encoder(COLUMNS, output).fit(rows)


def test_a_matrix_is_float64_in_the_schemas_order_with_codes_and_nan():
    matrix = fitted().transform(ROWS)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, MATRIX)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS).convert_dtypes(),
        pd.DataFrame(ROWS).assign(carrier=pd.Categorical(ROWS["carrier"], categories=["XX", "UA"])),
        pl.DataFrame(ROWS),
        ROWS | {"carrier": Coded(np.array([0, 1, -1]), ("UA", "XX"))},
    ],
    ids=["pandas", "nullable", "categorical", "polars", "coded"],
)
def test_every_kind_of_table_gives_the_same_matrix(frame):
    np.testing.assert_array_equal(fitted().transform(frame), MATRIX)


def test_the_tables_own_order_and_further_columns_change_nothing():
    shuffled = pd.DataFrame(ROWS)[["carrier", "stops", "seen", "note", "holiday", "distance"]].assign(more=1)
    np.testing.assert_array_equal(fitted().transform(shuffled), MATRIX)


def test_categories_written_as_numbers_are_found():
    encoder = Encoder((("month", "category", ("1", "2", "12")),)).fit({"month": ["1", "2"]})
    np.testing.assert_array_equal(encoder.transform({"month": [12, 2.0, NAN]}), [[2], [1], [NAN]])


def test_a_column_empty_when_fitted_stays_a_constant():
    encoder = fitted(rows=ROWS | {"distance": [None, None, None], "carrier": [None, None, "new"]})
    matrix = encoder.transform(ROWS)
    assert matrix[:, 0].tolist() == [0, 0, 0]
    assert matrix[:, 3].tolist() == [0, 0, 0]


def test_a_frame_has_the_schemas_types_whatever_values_came():
    frame = fitted("frame").transform({name: values[:1] for name, values in ROWS.items()})
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "distance": "float64",
        "stops": "float64",
        "holiday": "float64",
        "carrier": "category",
        "note": "object",
        "seen": "datetime64[us, UTC]",
    }
    assert frame["carrier"].cat.categories.tolist() == ["AA", "DL", "UA"]


def test_missing_values_stay_missing_in_a_frame():
    frame = fitted("frame").transform(ROWS)
    assert frame.isna().sum().to_dict() == {
        "distance": 2,
        "stops": 0,
        "holiday": 1,
        "carrier": 2,
        "note": 1,
        "seen": 1,
    }


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, dict])
def test_a_missing_column_is_named(make):
    rows = {name: values for name, values in ROWS.items() if name != "stops"}
    with pytest.raises(Invalid, match="'stops'"):
        fitted().transform(make(rows))


def test_text_in_a_column_of_numbers_is_refused_by_name():
    with pytest.raises(Invalid, match=r"column distance.*float"):
        fitted().transform(ROWS | {"distance": ["far", "near", "x"]})


def test_instants_as_json_writes_them_are_read_side_by_side():
    columns = (("seen", "timestamp", ()),)
    said = ["2024-05-01T12:00:00Z", "2024-05-01T12:00:00.25+00:00", None, "2024-05-01T14:00:00+02:00"]
    made = Encoder(columns, "frame").fit({"seen": said}).transform({"seen": said})
    assert [None if pd.isna(value) else value.isoformat() for value in made["seen"]] == [
        "2024-05-01T12:00:00+00:00",
        "2024-05-01T12:00:00.250000+00:00",
        None,
        "2024-05-01T12:00:00+00:00",
    ]
    with pytest.raises(Invalid, match=r"column seen: .*the schema says timestamp"):
        Encoder(columns, "frame").fit({"seen": said}).transform({"seen": ["next Tuesday"]})
