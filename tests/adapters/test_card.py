"""The model card: what it tells, that it is safe, and that it is the same each time."""

import json
import re
from datetime import UTC, datetime

import pytest

from trimtab.adapters import card
from trimtab.core.bootstrap import Interval
from trimtab.core.card import describe
from trimtab.core.curves import Curves
from trimtab.core.evaluation import Evaluation, SliceResult
from trimtab.core.records import ModelVersion

MAY, JUNE = datetime(2012, 5, 1, tzinfo=UTC), datetime(2012, 6, 1, tzinfo=UTC)
EVIL = "</script><b>x"


def version(**changes) -> ModelVersion:
    judged = Evaluation(
        result="better",
        state="champion",
        reason="proven better than v6: roc_auc +0.05 (between +0.01 and +0.09)",
        primary="roc_auc",
        greater_is_better=True,
        champion=6,
        holdout_start=MAY,
        holdout_end=JUNE,
        rows=5000,
        compared_rows=4000,
        blocks=14,
        block_seconds=86400,
        confidence=0.95,
        margin=0.01,
        floor=0.6,
        candidate={"roc_auc": Interval(point=0.81, low=0.78, high=0.84), "f1": Interval(point=0.5)},
        champion_metrics={"roc_auc": Interval(point=0.76, low=0.7, high=0.8), "f1": Interval(point=None)},
        difference={"roc_auc": Interval(point=0.05, low=0.01, high=0.09), "f1": Interval(point=None)},
        slices=(SliceResult(column="carrier", value=EVIL, rows=300, candidate=Interval(point=0.7)),),
        curves=Curves(classes=("false", "true"), confusion=((4000, 100), (200, 700)), roc=()),
    )
    lineage = {
        "decision": 9,
        "reason": "upload",
        "decidedAt": JUNE.isoformat(),
        "entries": ["e1"],
        "partitions": ["p" * 64, "q" * 64],
        "window": {
            "why": "the newest 182 days before a holdout of 14 days",
            "cut": MAY.isoformat(),
            "end": JUNE.isoformat(),
            "classShares": {"false": 0.8, "true": 0.2},
        },
        "parameters": {"max_iter": 200},
        "code": "",
        "packages": {"python": "3.11.9", "scikit-learn": "1.9.1"},
    }
    values = {
        "number": 7,
        "run_key": "b" * 64,
        "artifact": "a" * 64,
        "evaluated_artifact": "c" * 64,
        "dataset": "d" * 64,
        "training_digest": "t" * 64,
        "spec": "5" * 64,
        "trained_from": MAY,
        "trained_until": JUNE,
        "rows": 12345,
        "estimator": "sklearn.ensemble:HistGradientBoostingClassifier",
        "seed": 17,
        "metrics": {"roc_auc": 0.81},
        "evaluation": judged.model_dump(mode="json", by_alias=True),
        "reference": "f" * 64,
        "lineage": lineage,
        "training_seconds": 12.5,
        "fits": 2,
        "recorded_at": JUNE,
    }
    return ModelVersion(**(values | changes))


@pytest.mark.parametrize(
    "told",
    [
        "flights/v7",
        "proven better than v6",
        "12,345 rows",
        "0.78 to 0.84",
        "0.01 to 0.09",
        "2 in 12.5 s",
        "a" * 64,
        "c" * 64,
        "d" * 64,
        "t" * 64,
        "scikit-learn 1.9.1",
        "max_iter: 200",
        "the newest 182 days",
        "4,000",
        "false 80.0 %",
    ],
)
def test_the_card_tells(told):
    assert told in card.render("flights", version())


def test_nothing_is_fetched_and_no_value_becomes_markup():
    page = card.render("flights", version())
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert page.count("<script") == page.count("</script>") == 1
    assert EVIL not in page


def test_the_same_version_has_the_same_card_whenever_it_is_written():
    assert card.render("flights", version()) == card.render("flights", version(recorded_at=MAY, card="x"))


def test_the_page_holds_the_cards_json():
    page = card.render("flights", version())
    embedded = re.search(r'<script type="application/json" id="card">(.*?)</script>', page, re.DOTALL)
    assert json.loads(embedded[1]) == describe("flights", version())


def test_a_first_model_has_no_column_for_a_champion():
    judged = version().evaluation | {"champion": None, "championMetrics": {}, "difference": {}, "slices": []}
    page = card.render("flights", version(evaluation=judged))
    assert "difference" not in re.sub(r"<script.*", "", page, flags=re.DOTALL)
    assert "By slice" not in page
