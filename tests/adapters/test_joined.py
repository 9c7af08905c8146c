"""Labels that come late, twice, in any order and corrected: what the joined table says is what was true."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.adapters import columns as tables
from trimtab.adapters import environment
from trimtab.adapters.joined import Joined, joined, joined_of
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.replay import truth
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.joining import own_rows
from trimtab.core.logged import features
from trimtab.core.metrics import METRICS
from trimtab.core.predictions import Label, PredictionLine
from trimtab.core.scoring import Prediction
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: plant}
spec:
  data:
    source: s3://landing/rows/
    format: csv
    timestamp: ts
    key: [unit]
    target: late
    labels: {joinBy: requestId, maturity: 3d}
    schema:
      heat: {type: float, min: -30, max: 50}
      shift: {type: category, values: [early, night]}
      late: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: accuracy}
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = 86400.0


@pytest.fixture
def model() -> ContinuousModel:
    return load(SPEC)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(), "s3://state/default", "plant", cache=tmp_path)


@pytest.fixture
def log(state: State) -> Callable[..., None]:
    """Puts lines into the log as one more segment of a writer."""
    written: dict[str, int] = {}

    def put(*lines: PredictionLine | Label, writer: str = "v1-a") -> None:
        number = written[writer] = written.get(writer, -1) + 1
        body = b"".join(line.to_json() + b"\n" for line in lines)
        state.bucket.create(state.layout.predictions(writer, number), body)

    return put


def answer(id: str, said: bool = True, age_days: float = 10, **more: object) -> PredictionLine:
    at = NOW.timestamp() - age_days * DAY
    values = {"at": at, "version": 1, "seconds": 0.01, "rows": 1, "predictions": [said], "scores": [[0.5, 0.5]]}
    values |= {"features": {"heat": [1.5], "shift": ["night"]}, "passed": {}}
    return PredictionLine(id=id, **(values | more))  # type: ignore[arg-type]


def label(id: str, value: object = True, days_ago: float = 1, came: float | None = None, **more: object) -> Label:
    at = NOW.timestamp() - days_ago * DAY
    return Label(id=id, value=value, at=at, received=came or at, **more)  # type: ignore[arg-type]


def labels_of(table: pl.DataFrame) -> dict[str, object]:
    return dict(zip(table["request_id"], table["label"], strict=True))


# The whole


def test_ten_thousand_predictions_with_late_labels_are_judged_exactly(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    draw = random.Random(7)
    requests, age_of, said, chance = 10_000, {}, {}, {}
    for start in range(0, requests, 500):
        lines = []
        for number in range(start, start + 500):
            name = f"request-{number}"
            # The newest three days are a tenth of the rows.
            age_of[name], said[name], chance[name] = draw.uniform(0, 30), draw.random() < 0.5, draw.random()
            happened = NOW - timedelta(days=age_of[name])
            more = {
                "passed": {"ts": [happened.isoformat()]},
                "scores": [[1 - chance[name], chance[name]]],
                "at": happened.timestamp() + 60,
            }
            lines.append(answer(name, said[name], **more))
            if number % 3 == 0:  # a copy for the challenger, whose answers nobody sees
                lines.append(answer(name, not said[name], version=2, shadow=True, **more))
        log(*lines, writer=f"v1-{start % 1000}")

    mature = [name for name in age_of if age_of[name] > 3]
    young = [name for name in age_of if age_of[name] <= 3]
    true, sent = {}, []
    for name in draw.sample(mature, int(0.9 * len(mature))):
        true[name] = draw.random() < 0.4
        first = Label(id=name, value=true[name], at=NOW.timestamp() - 2 * DAY, received=NOW.timestamp() - DAY)
        sent.append(first)
        if draw.random() < 0.2:
            sent.append(first.model_copy(update={"received": first.received + 60}))  # sent twice
        if draw.random() < 0.1:  # corrected: true at a later time, whenever it comes
            true[name] = not true[name]
            sent.append(first.model_copy(update={"value": true[name], "at": first.at + 5, "received": draw.random()}))
    draw.shuffle(sent)
    third = len(sent) // 3
    log(*sent[:third], writer="v1-feedback")  # Seldon's feedback, the API, and the API again
    state.labels.add(sent[third : 2 * third])
    begin = time.thread_time()
    table = joined(state, model, NOW)
    first_look = time.thread_time() - begin
    state.labels.add(sent[2 * third :])
    before = judged(joined(state, model, NOW), model)

    # Early labels tell of the late units first: a figure over them would be far too bad, or too good.
    early = [name for name in young if said[name]]
    state.labels.add([Label(id=name, value=True, at=NOW.timestamp(), received=NOW.timestamp()) for name in early])
    table = joined(state, model, NOW)
    after = judged(table, model)

    names = sorted(true)
    y = np.array([true[name] for name in names], dtype=float)
    values = np.array([said[name] for name in names], dtype=float)
    scores = np.array([[1 - chance[name], chance[name]] for name in names])
    offline = Prediction(values, scores, True, 2)
    assert before == after
    assert after == {name: METRICS[name].compute(y, offline) for name in ("accuracy", "log_loss", "roc_auc")}
    assert len(early) > 200
    shown = own_rows(table).filter(~pl.col("mature") & pl.col("label").is_not_null())
    assert shown.height == len(early)
    assert first_look < 3  # seconds of the processor; about 0.7, most of it to parse 17,000 lines


def judged(table: pl.DataFrame, model: ContinuousModel) -> dict[str, float]:
    """The performance of what the gateway returned, on mature labels; rows in a fixed order so that sums agree."""
    rows = own_rows(table).filter(pl.col("mature") & pl.col("label").is_not_null()).sort("request_id")
    y = truth(rows, model.spec.data)
    values = tables.truth(rows.select(pl.col("prediction").alias("late")), model.spec.data)
    prediction = Prediction(values, rows.select("score_0", "score_1").to_numpy(), True, 2)
    return {name: METRICS[name].compute(y, prediction) for name in ("accuracy", "log_loss", "roc_auc")}


# One thing at a time


def test_the_last_label_by_its_own_time_counts_whichever_came_last(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a"))
    state.labels.add([label("a", False, days_ago=1), label("a", True, days_ago=2)])

    assert labels_of(joined(state, model, NOW)) == {"a": False}


def test_at_the_same_label_time_the_one_that_came_last_counts(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a"))
    state.labels.add([label("a", False, came=20.0), label("a", True, came=10.0)])
    assert labels_of(joined(state, model, NOW)) == {"a": False}
    state.labels.add([label("a", True, came=20.0)])
    assert labels_of(joined(state, model, NOW)) == {"a": True}


def test_a_correction_of_a_row_that_was_read_long_ago_counts(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a"))
    state.labels.add([label("a", True, days_ago=5)])
    first = joined(state, model, NOW)
    state.labels.add([label("a", False, days_ago=4)])
    second = joined(state, model, NOW)

    assert (labels_of(first), labels_of(second)) == ({"a": True}, {"a": False})
    assert second["label_received"].item() == first["label_received"].item()  # its place in the order stays


def test_a_label_may_come_before_its_prediction(state: State, model: ContinuousModel, log: Callable[..., None]) -> None:
    state.labels.add([label("a", False)])
    assert joined(state, model, NOW).height == 0
    log(answer("a"))

    assert labels_of(joined(state, model, NOW)) == {"a": False}


def test_each_row_of_a_request_has_its_own_label(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    two = {"rows": 2, "predictions": [True, False], "scores": None, "features": {"heat": [1, 2]}, "passed": {}}
    log(answer("a", **two))
    state.labels.add([label("a", False, row=1)])

    table = joined(state, model, NOW)
    assert table.select("row", "prediction", "label").rows() == [(0, True, None), (1, False, False)]


@pytest.mark.parametrize("wrong", ["perhaps", 7, None, [], {"a": 1}, float("nan")])
def test_a_label_that_the_target_cannot_have_is_never_joined_and_is_counted(
    state: State, model: ContinuousModel, log: Callable[..., None], wrong: object
) -> None:
    log(answer("a"), label("a", wrong, days_ago=0), label("a", "yes", days_ago=1))

    table = joined(state, model, NOW)
    assert labels_of(table) == {"a": True}
    assert joined_of(state, model).wrong.total() == 1


def test_age_counts_from_the_event_where_the_request_told_it_else_from_the_request(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    old, young = (NOW - timedelta(days=5)).isoformat(), (NOW - timedelta(days=1)).isoformat()
    log(
        answer("told old", age_days=0, passed={"ts": [old]}),
        answer("told young", age_days=9, passed={"ts": [young]}),
        answer("old", age_days=3),
        answer("young", age_days=2.99),
    )

    table = joined(state, model, NOW)
    mature = dict(zip(table["request_id"], table["mature"], strict=True))
    assert mature == {"told old": True, "told young": False, "old": True, "young": False}
    assert joined(state, model, NOW + timedelta(days=3))["mature"].all()


def test_of_a_request_that_the_gateway_asked_twice_the_last_answer_was_returned(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a", version=2, age_days=5.001), answer("a", False, version=1, age_days=5), answer("a", shadow=True))

    assert own_rows(joined(state, model, NOW)).select("version", "prediction").rows() == [(1, False)]


def test_the_same_line_twice_is_one_row(state: State, model: ContinuousModel, log: Callable[..., None]) -> None:
    log(answer("a"), answer("a"))
    joined(state, model, NOW)
    log(answer("a"), writer="v1-b")

    assert joined(state, model, NOW).height == 1


def test_by_key_a_label_joins_every_row_of_that_key_however_it_is_written(
    state: State, log: Callable[..., None]
) -> None:
    model = load(SPEC.replace("joinBy: requestId", "joinBy: key"))
    log(answer("a", passed={"unit": [7]}), answer("b", passed={"unit": ["7"]}), answer("c", passed={"unit": ["8"]}))
    log(answer("d", passed={}), answer("e", passed={"unit": [None]}))
    state.labels.add([Label(key=["7"], value=False, at=5.0, received=5.0)])

    assert labels_of(joined(state, model, NOW)) == {"a": False, "b": False, "c": None, "d": None, "e": None}


def test_a_failure_is_no_row_and_is_kept_apart(state: State, model: ContinuousModel, log: Callable[..., None]) -> None:
    log(answer("a", kind="failure", predictions=[], scores=None, error="boom"), answer("b"))

    assert joined(state, model, NOW)["request_id"].to_list() == ["b"]
    assert joined_of(state, model).failures["error"].to_list() == ["boom"]


def test_features_that_are_called_like_our_own_columns_are_kept_apart(state: State, log: Callable[..., None]) -> None:
    model = load(SPEC.replace("heat:", "version:").replace("shift:", "score_0:"))
    log(answer("a", features={"version": [1.5], "score_0": ["night"]}))

    table = joined(state, model, NOW)
    assert table["version"].to_list() == [1]
    assert features(table, ["version", "score_0"]).to_dicts() == [{"version": 1.5, "score_0": "night"}]


def test_rows_of_a_version_with_other_columns_stand_beside_the_others(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("a", features={"heat": [1.0], "former": ["x"]}))
    joined(state, model, NOW)
    log(answer("b", features={"heat": [2.0], "shift": ["early"]}))

    table = joined(state, model, NOW)
    assert table.select("heat", "shift", "former").rows() == [(1.0, None, "x"), (2.0, "early", None)]
    assert len(joined_of(state, model).signatures.holding(["heat"])) == 2
    assert len(joined_of(state, model).signatures.holding(["shift"])) == 1


@pytest.mark.parametrize("values", [[True], ["2.5"], [[1]], [{"a": 1}], [10**400]])
def test_a_value_that_is_no_number_is_missing_and_harms_no_other_row(
    state: State, model: ContinuousModel, log: Callable[..., None], values: list[object]
) -> None:
    log(answer("odd", features={"heat": values, "shift": ["night"]}), answer("sound"))

    table = joined(state, model, NOW)
    assert table.filter(pl.col("request_id") == "sound")["heat"].to_list() == [1.5]


def test_a_line_with_columns_of_unequal_length_is_left_out(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(answer("damaged", features={"heat": [1.0, 2.0]}), answer("sound"))

    assert joined(state, model, NOW)["request_id"].to_list() == ["sound"]


def test_only_so_many_rows_are_remembered_and_the_oldest_go_first(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    log(*(answer(f"r{n}", age_days=n) for n in range(30)))
    table = Joined(state, model, keep_rows=20)
    table.refresh()

    assert table.forgotten == 10
    assert set(table.frame(NOW)["request_id"]) == {f"r{n}" for n in range(20)}


def test_while_the_store_is_down_what_was_read_stays(tmp_path: Path, model: ContinuousModel) -> None:
    buckets = MemoryBuckets()
    state = State.open(buckets, "s3://state/default", "plant", cache=tmp_path)
    state.bucket.create(state.layout.predictions("w", 0), answer("a").to_json())
    table = Joined(state, model)
    table.refresh()

    def down(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store did not answer")

    buckets.fail = down
    with pytest.raises(Unavailable):
        table.refresh()
    buckets.fail = None

    assert table.frame(NOW).height == 1
    assert not table.refresh()


@pytest.mark.parametrize(
    "change",
    [{"at": float("inf")}, {"at": 1e30}, {"at": -1e30}, {"received": 1e30}, {"row": 10**30}, {"row": -1}],
)
def test_a_label_with_a_time_or_row_that_cannot_be_harms_no_other(
    state: State, model: ContinuousModel, log: Callable[..., None], change: dict[str, float]
) -> None:
    log(answer("a"), answer("damaged", at=1e30))
    state.bucket.create(
        state.layout.labels("w/" + "0" * 20),
        json.dumps({"kind": "label", "id": "a", "value": False, "at": 5.0} | change).encode(),
    )
    state.labels.add([label("a", True)])

    assert labels_of(joined(state, model, NOW)) == {"a": True}


def test_whole_numbers_and_fractions_stand_in_one_column(
    state: State, model: ContinuousModel, log: Callable[..., None]
) -> None:
    heats = [1] * 200 + [2.5, None, -3]
    lines = [answer(f"r{n}", features={"heat": [heat], "shift": ["night"]}) for n, heat in enumerate(heats)]
    log(*lines)

    assert joined(state, model, NOW)["heat"].to_list() == heats


def test_how_many_rows_are_remembered_is_the_operator_s_choice(
    state: State, model: ContinuousModel, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    log(*(answer(f"r{n}", age_days=n) for n in range(30)))
    monkeypatch.setenv("TRIMTAB_KEEP_ROWS", "20")
    assert joined(state, model, NOW).height == 20
    monkeypatch.setenv("TRIMTAB_KEEP_ROWS", "many")
    with pytest.raises(Invalid, match="TRIMTAB_KEEP_ROWS=many"):
        environment.keep_rows()
