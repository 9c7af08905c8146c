"""One label as somebody sends it: what is taken, and what is refused with which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.errors import Invalid
from trimtab.core.labels import key_text, read_label, read_value
from trimtab.core.spec.model import Column, Data

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BOOLEAN, NUMBER = Column(type="boolean"), Column(type="float", min=0, max=100)
WORDS = Column(type="category", values=("ok", "1", "NA"))


def data(target: Column = BOOLEAN, join_by: str = "requestId", **columns: Column) -> Data:
    return Data.model_validate(
        {
            "source": "s3://rows/in/",
            "format": "csv",
            "timestamp": "ts",
            "key": ["unit", "ts"],
            "target": "late",
            "labels": {"joinBy": join_by},
            "schema": {name: column.model_dump(by_alias=True) for name, column in columns.items()}
            | {"late": target.model_dump(by_alias=True)},
        }
    )


@pytest.mark.parametrize(
    ("column", "given", "value"),
    [
        (BOOLEAN, True, True),
        (BOOLEAN, "No", False),
        (BOOLEAN, 1, True),
        (BOOLEAN, 0.0, False),
        (NUMBER, 5, 5.0),
        (NUMBER, " 5.5 ", 5.5),
        (WORDS, "ok", "ok"),
        (WORDS, 1, "1"),
        (WORDS, 1.0, "1"),
        (WORDS, "NA", "NA"),
        (Column(type="int"), "7", 7.0),
    ],
)
def test_a_value_is_read_as_uploads_are(column: Column, given: Any, value: Any) -> None:
    found = read_value(given, column, "late")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("column", "given", "said"),
    [
        (BOOLEAN, "perhaps", "late: found 'perhaps'; needed true or false"),
        (BOOLEAN, 2, "needed true or false"),
        (BOOLEAN, [], "needed true or false"),
        (BOOLEAN, "NA", "a label needs a value"),
        (NUMBER, "", "a label needs a value"),
        (NUMBER, -1, "late: found -1; the schema's min is 0"),
        (NUMBER, 101, "max is 100"),
        (NUMBER, "1e400", "needed a finite number"),
        (NUMBER, float("nan"), "needed a finite number"),
        (NUMBER, 10**400, "needed a finite number"),
        (NUMBER, True, "needed a finite number"),
        (NUMBER, {"a": 1}, "needed a finite number"),
        (WORDS, "OK", "needed one of ok, 1, NA"),
        (WORDS, ["ok"], "needed one of"),
        (Column(type="int"), 1.5, "needed a whole number"),
    ],
)
def test_a_value_that_the_target_cannot_have_is_refused_with_what_it_can(column: Column, given: Any, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_value(given, column, "late")
    assert said in str(refused.value)


def test_a_label_names_its_request_and_counts_from_when_it_came() -> None:
    label = read_label({"requestId": "a", "late": "yes", "comment": "ignored"}, data(), NOW)

    assert (label.id, label.row, label.value) == ("a", 0, True)
    assert label.at == label.received == NOW.timestamp()


def test_a_label_may_name_the_row_and_when_it_was_true() -> None:
    item = {"requestId": "a", "row": "3", "late": True, "labelTime": "2026-05-01T10:00:00+02:00"}
    label = read_label(item, data(), NOW)

    assert (label.row, label.at) == (3, datetime(2026, 5, 1, 8, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"requestId": None}, "requestId: found nothing"),
        ({"requestId": 7}, "requestId: found 7"),
        ({"requestId": ""}, "requestId: found ''"),
        ({"requestId": "x" * 2000}, "requestId: found"),
        ({"late": None}, "late: a label needs the target's value; found requestId, row"),
        ({"row": -1}, "row: found -1"),
        ({"row": 10**30}, "row: found 1000"),
        ({"row": 1.5}, "row: found 1.5"),
        ({"row": "two"}, "row: found 'two'"),
        ({"row": float("nan")}, "row: found nan"),
        ({"row": True}, "row: found True"),
        ({"labelTime": 1780000000}, "labelTime: found 1780000000; needed ISO 8601"),
        ({"labelTime": "yesterday"}, "labelTime: found 'yesterday'"),
        ({"labelTime": (NOW + timedelta(days=2)).isoformat()}, "which lies ahead of now"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_label({"requestId": "a", "row": 0, "late": True} | change, data(), NOW)
    assert said in str(refused.value)


def test_by_key_the_columns_of_the_key_are_needed() -> None:
    by_key = data(join_by="key", unit=Column(type="int"))
    label = read_label({"unit": "7", "ts": "2026-05-01", "late": False}, by_key, NOW)

    assert label.key == ["7", "2026-05-01"]
    with pytest.raises(Invalid, match=r"ts: spec\.data\.labels\.joinBy says key, unit, ts; found unit, late"):
        read_label({"unit": 7, "late": False}, by_key, NOW)
    with pytest.raises(Invalid, match="unit: found 'seven' in the key; it is no int"):
        read_label({"unit": "seven", "ts": "2026-05-01", "late": False}, by_key, NOW)


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("unit", [5, 5.0, "5", "5.0", " 5"])
def test_a_key_is_the_same_however_it_is_written(kind: Any, unit: Any) -> None:
    of = data(unit=Column(type=kind))
    moments = ("2026-05-01T00:00:00Z", "2026-05-01", datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T02:00:00+02:00")

    assert {key_text([unit, moment], of) for moment in moments} == {key_text([5, "2026-05-01"], of)}


@given(st.integers(min_value=-(2**62), max_value=2**62), st.integers(min_value=-(2**62), max_value=2**62))
def test_different_whole_numbers_are_different_keys(one: int, other: int) -> None:
    of = data(unit=Column(type="int"))
    same = key_text([one, "2026-05-01"], of) == key_text([str(other), "2026-05-01"], of)

    assert same == (one == other)


@pytest.mark.parametrize("unit", [float("nan"), float("inf"), None, [], "x"])
def test_a_key_that_is_no_number_is_refused(unit: Any) -> None:
    with pytest.raises(Invalid, match="unit: found"):
        key_text([unit, "2026-05-01"], data(unit=Column(type="float")))
