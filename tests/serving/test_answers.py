"""What a version answers in this process: every form of a request, and exactly what its pipeline says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.core.predictions import Label, PredictionLine
from trimtab.serving.answering import Asked, is_shadow, parse, request_id
from trimtab.serving.refusal import Refused

NUMBERS = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: costs}
spec:
  data:
    source: s3://landing/costs/
    format: csv
    timestamp: ts
    target: cost
    schema:
      distance: {type: int, min: 0}
      heat:     {type: float}
      cost:     {type: float}
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {primary: mean_absolute_error}
"""
ESTIMATORS = {
    "boosted": "sklearn.ensemble:HistGradientBoostingClassifier",
    "forest": "sklearn.ensemble:RandomForestClassifier",
    "logistic": "sklearn.linear_model:LogisticRegression",
    "scores only": "sklearn.svm:LinearSVC",
}


def ask(answering: Any, message: Any, protocol: str = "seldon", **more: Any) -> tuple[int, dict[str, Any]]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    reply = answering.predict(lambda: parse(body), Asked("r-1", **more), protocol)
    return reply.code, json.loads(reply.body)


def ndarray(columns: dict[str, list[Any]]) -> dict[str, Any]:
    return {"data": {"names": list(columns), "ndarray": [list(row) for row in zip(*columns.values(), strict=True)]}}


def with_estimator(text: str, estimator: str) -> str:
    parameters = (
        "{max_iter: 20}" if "HistGradient" in estimator else "{n_estimators: 10}" if "Forest" in estimator else "{}"
    )
    return text.replace(ESTIMATORS["boosted"], estimator).replace("{max_iter: 20}", parameters)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_predictions_are_the_pipelines_own_to_the_last_bit(make_answering, trained, rows, spec_text, estimator):
    text = with_estimator(spec_text, estimator)
    some = rows(200, seed=5)
    pipeline = trained(text)
    expected = pipeline.predict(some).tolist()
    code, answer = ask(make_answering(text), ndarray(some))
    found = answer["data"]["ndarray"]
    assert code == 200
    assert [row[0] for row in found] == expected
    if hasattr(pipeline, "predict_proba"):
        assert np.array_equal([row[1:] for row in found], pipeline.predict_proba(some))
        assert answer["data"]["names"] == ["late", "late=false", "late=true"]


def test_one_row_is_predicted_as_among_many(make_answering, rows):
    answering, some = make_answering(), rows(50, seed=6)
    together = ask(answering, ndarray(some))[1]["data"]["ndarray"]
    alone = [
        ask(answering, ndarray({name: [values[place]] for name, values in some.items()}))[1]["data"]["ndarray"][0]
        for place in range(50)
    ]
    assert alone == together


def test_a_model_of_frames_gets_its_frame(make_answering, trained, rows, spec_text):
    text = spec_text.replace("parameters: {max_iter: 20}", "parameters: {max_iter: 20}\n    input: frame")
    some = rows(60, seed=7)
    expected = trained(text).predict_proba(some)
    found = ask(make_answering(text), ndarray(some))[1]["data"]["ndarray"]
    assert np.array_equal([row[1:] for row in found], expected)


def test_every_form_of_a_request_gives_the_same(make_answering, row):
    answering = make_answering()
    expected = ask(answering, ndarray({name: [value] for name, value in row.items()}))[1]["data"]["ndarray"][0]
    forms: list[Any] = [
        {"data": {"ndarray": [[row[name] for name in sorted(row)]]}},  # unnamed: in the order of their names
        {"data": {"names": list(row), "ndarray": list(row.values())}},
    ]
    for form in forms:
        assert ask(answering, form)[1]["data"]["ndarray"] == [expected]
    for form in ([row], row, {name: [value] for name, value in row.items()}):
        answer = ask(answering, {"jsonData": form})[1]["jsonData"]
        assert answer == [{"late": expected[0], "probabilities": {"false": expected[1], "true": expected[2]}}]
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in row.items()]
    matrix = {"name": "rows", "shape": [1, 5], "datatype": "BYTES", "data": [list(row.values())]}
    named = {**matrix, "parameters": {"names": list(row)}}
    unnamed = {**matrix, "data": [row[name] for name in sorted(row)]}
    for v2 in ({"inputs": inputs}, {"inputs": [named]}, {"inputs": [unnamed]}):
        code, answer = ask(answering, v2, "v2")
        assert code == 200
        assert [output["data"] for output in answer["outputs"]] == [[expected[0]], expected[1:]]
        assert (answer["model_name"], answer["model_version"], answer["id"]) == ("trips", "7", "r-1")


def test_a_tensor_of_numbers_is_answered_by_one(make_answering):
    answering = make_answering(NUMBERS)
    tensor = {"data": {"names": ["distance", "heat"], "tensor": {"shape": [2, 2], "values": [100, 1.5, 3000, 2.5]}}}
    rows = {"data": {"names": ["distance", "heat"], "ndarray": [[100, 1.5], [3000, 2.5]]}}
    found = ask(answering, tensor)[1]["data"]
    assert found["tensor"]["shape"] == [2, 1]
    assert [[value] for value in found["tensor"]["values"]] == ask(answering, rows)[1]["data"]["ndarray"]


def test_a_line_holds_what_was_asked_and_answered(make_answering, lines, row):
    given = {**row, "carrier": "XX", "trip": "t-9", "ts": "2026-01-01T00:00:00Z", "note": "?", "surprise": [1]}
    code, answer = ask(make_answering(), {"jsonData": [given]}, shadow=True)
    assert code == 200
    line = PredictionLine.model_validate(lines[0])
    assert (line.id, line.version, line.shadow, line.rows, line.unknown) == ("r-1", 7, True, 1, 1)
    assert line.features == {name: [value] for name, value in {**row, "carrier": "XX"}.items()}
    assert line.passed == {"trip": ["t-9"], "ts": ["2026-01-01T00:00:00Z"]}
    assert line.predictions == [answer["jsonData"][0]["late"]]
    assert line.scores == [list(answer["jsonData"][0]["probabilities"].values())]
    assert 0 < line.seconds < 60


def test_a_model_that_raises_is_500_with_a_line_of_the_failure(make_answering, lines, trained):
    pipeline = trained(NUMBERS)
    pipeline.named_steps["estimate"].coef_[:] = 1e308
    answering = make_answering(NUMBERS, pipeline)
    code, answer = ask(answering, {"jsonData": {"distance": [5000], "heat": [3.0]}})
    assert code == 500
    assert answer["status"]["reason"] == "MODEL_FAILED"
    assert "no finite number" in answer["status"]["info"]
    line = PredictionLine.model_validate(lines[0])
    assert (line.kind, line.features["distance"], line.predictions) == ("failure", [5000], [])
    assert "no finite number" in line.error


def test_a_request_of_the_clients_own_fault_leaves_no_line(make_answering, lines, row):
    code, answer = ask(make_answering(), {"jsonData": [{**row, "distance": "far"}]})
    assert (code, answer["status"]["reason"]) == (400, "BAD_REQUEST")
    assert lines == []


@pytest.mark.parametrize(
    ("truth", "values"),
    [
        ({"data": {"ndarray": [[True], [False]]}}, [True, False]),
        ({"data": {"tensor": {"shape": [2], "values": [1, 0]}}}, [True, False]),
        ({"jsonData": [True]}, [True]),
    ],
)
def test_feedback_is_a_label_a_row(make_answering, lines, truth, values):
    feedback = {"response": {"meta": {"puid": "asked-before"}}, "truth": truth}
    reply = make_answering().feedback(lambda: feedback, Asked("this-one"))
    assert reply.code == 200
    labels = [Label.model_validate(line) for line in lines]
    assert [(label.id, label.row, label.value) for label in labels] == [
        ("asked-before", row, value) for row, value in enumerate(values)
    ]


def test_a_reward_of_nought_is_a_label_too(make_answering, lines):
    reply = make_answering().feedback(lambda: {"request": {"meta": {"puid": "p"}}, "reward": 0}, Asked("x"))
    assert reply.code == 200
    assert lines[0]["value"] is False


@pytest.mark.parametrize(
    ("feedback", "field"),
    [
        ({"reward": 1}, "response.meta.puid"),
        ({"response": {"meta": {"puid": "p"}}}, "truth"),
        ({"response": {"meta": {"puid": "p"}}, "reward": 3}, "reward"),
        ({"response": {"meta": {"puid": "p"}}, "truth": {"data": {"ndarray": [["late"]]}}}, "truth, row 0"),
        ({"response": {"meta": {"puid": ["p"]}}, "reward": 1}, "response.meta.puid"),
        ([], "the body"),
    ],
)
def test_feedback_that_labels_nothing_is_refused_with_the_field(make_answering, lines, feedback, field):
    reply = make_answering().feedback(lambda: feedback, Asked("x"))
    assert reply.code == 400
    assert field in json.loads(reply.body)["status"]["info"]
    assert lines == []


def test_the_id_is_seldons_then_the_routers_then_our_own():
    assert request_id("puid", "router") == "puid"
    assert request_id(None, "router") == "router"
    assert len(request_id(None, None)) == 32
    with pytest.raises(Refused, match="x-request-id"):
        request_id(None, "two words")


def test_a_mirrored_request_is_known_by_its_host():
    assert is_shadow("gateway-shadow")
    assert is_shadow("127.0.0.1:8080-shadow")
    assert is_shadow("gateway-shadow:8080")
    assert not is_shadow("shadow:8080")


CELL = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["AA", "JFK", 0, 1])
)
WORDS = [
    "data",
    "names",
    "ndarray",
    "tensor",
    "shape",
    "values",
    "jsonData",
    "inputs",
    "name",
    "datatype",
    "parameters",
]
NAMED = st.sampled_from([*WORDS, "INT64", "carrier", "origin", "distance", "heat", "holiday", "trip", "ts", "other"])
ANYTHING = st.recursive(
    CELL | NAMED, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(NAMED, inner, max_size=6), max_leaves=30
)
ROWS = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["carrier", "origin", "distance", "heat", "holiday", "ts"], CELL)),
    max_size=3,
)
MESSAGES = (
    ANYTHING
    | ROWS.map(lambda rows: {"jsonData": rows})
    | st.lists(st.lists(CELL, min_size=5, max_size=5)).map(lambda rows: {"data": {"ndarray": rows}})
)


@pytest.fixture(scope="module")
def any_answering(trained: Any, spec_text: str) -> Any:
    from trimtab.core.spec import load
    from trimtab.serving.answering import Answering
    from trimtab.serving.meters import Meters
    from trimtab.serving.served import Served

    return Answering(Served("trips", 7, load(spec_text).spec.data, trained()), lambda lines: None, Meters(1, {}))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=MESSAGES, protocol=st.sampled_from(["seldon", "v2"]))
def test_no_json_at_all_is_a_fault_of_the_model(any_answering, message, protocol):
    code, answer = ask(any_answering, message, protocol)
    assert code in (200, 400, 413), answer
    assert code == 200 or (answer["error"] if protocol == "v2" else answer["status"]["info"])
