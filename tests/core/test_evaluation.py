"""Candidate and champion on a holdout: which rows count, which metrics, which slices."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trimtab.core.errors import Invalid
from trimtab.core.evaluation import MIN_FRESH_ROWS, Evaluation, Holdout, Rival, evaluate
from trimtab.core.scoring import Prediction
from trimtab.core.spec.model import Evaluation as Policy

START = datetime(2012, 3, 1, tzinfo=UTC)
HOURS = 14 * 24
TIMES = np.array([int((START + timedelta(hours=hour)).timestamp() * 1_000_000) for hour in range(HOURS)])
TRUTH = np.random.default_rng(2).gamma(3, 30, HOURS)
POLICY = Policy(primary="mean_absolute_error", metrics=("mean_absolute_error", "r2"), margin=1.0)
HOLDOUT = Holdout(TRUTH, TIMES, START, START + timedelta(days=14), {})


def off_by(noise: float, seed: int = 0) -> Prediction:
    return Prediction(TRUTH + noise * np.random.default_rng(seed).normal(size=HOURS))


def judge(candidate, rival, holdout=HOLDOUT, policy=POLICY) -> Evaluation:
    return evaluate(holdout, candidate, rival, policy, immediate=True, seed=0)


def champion(prediction, until=START - timedelta(hours=1), note="") -> Rival:
    return Rival(6, until, prediction, note)


def test_a_much_better_candidate_is_proven_better():
    found = judge(off_by(5), champion(off_by(20, 1)))
    assert (found.result, found.state, found.compared_rows) == ("better", "champion", HOURS)
    gained = found.difference["mean_absolute_error"]
    assert gained.low < gained.point < gained.high < 0
    assert gained.point == pytest.approx(
        found.candidate["mean_absolute_error"].point - found.champion_metrics["mean_absolute_error"].point
    )


def test_a_much_worse_candidate_is_rejected():
    assert judge(off_by(20), champion(off_by(5, 1))).state == "rejected"


def test_every_reported_metric_has_an_interval():
    found = judge(off_by(5), None)
    assert set(found.candidate) == {"mean_absolute_error", "r2"}
    assert all(value.low < value.point < value.high for value in found.candidate.values())


def test_a_champion_trained_into_the_holdout_is_judged_on_newer_rows_only():
    until = START + timedelta(days=4)
    theirs = Prediction(np.where(until.timestamp() * 1e6 >= TIMES, TRUTH, TRUTH + 30))
    found = judge(off_by(5), champion(theirs, until))
    assert found.compared_rows == HOURS - 4 * 24 - 1
    assert found.champion_metrics["mean_absolute_error"].point == pytest.approx(30)
    assert found.rows == HOURS


def test_too_few_newer_rows_leave_it_undecided_without_a_figure_and_the_champion_stays():
    until = START + timedelta(hours=HOURS - MIN_FRESH_ROWS)
    found = judge(off_by(1), champion(off_by(50), until))
    assert (found.result, found.state, found.difference, found.compared_rows) == ("undecided", "rejected", {}, 0)
    assert "199 rows are newer" in found.reason


def test_exactly_enough_newer_rows_are_a_comparison():
    until = START + timedelta(hours=HOURS - MIN_FRESH_ROWS - 1)
    assert judge(off_by(1), champion(off_by(50), until)).compared_rows == MIN_FRESH_ROWS


def test_a_champion_that_cannot_predict_any_more_is_no_rival():
    found = judge(off_by(5), champion(None, note="found no column 'temp'"))
    assert (found.result, found.state, found.champion) == ("first", "champion", 6)
    assert "v6 cannot predict these rows any more: found no column 'temp'" in found.reason


def test_slices_have_both_models_and_do_not_decide():
    codes = np.where(np.arange(HOURS) % 24 < 12, 0, 1)
    codes[:5] = -1
    theirs = Prediction(np.where(codes == 0, TRUTH, TRUTH + 40))
    holdout = Holdout(TRUTH, TIMES, START, HOLDOUT.end, {"half": (codes, ("morning", "evening", "never"))})
    found = judge(off_by(5), champion(theirs), holdout)
    assert [(part.value, part.rows) for part in found.slices] == [("morning", 163), ("evening", 168)]
    assert found.slices[0].difference.low > 0
    assert found.state == "champion"


def test_metrics_of_probabilities_need_an_estimator_that_has_them():
    labels = Prediction(np.ones(HOURS), None, False, 2)
    with pytest.raises(Invalid, match="gives no scores; log_loss"):
        judge(labels, None, Holdout(np.ones(HOURS), TIMES, START, HOLDOUT.end, {}), Policy(primary="log_loss"))


def test_a_former_champion_without_probabilities_is_compared_in_what_it_gives():
    y = (TRUTH > 80).astype(float)
    ours = Prediction(y, np.stack([1 - y, y], axis=1) * 0.8 + 0.1, True, 2)
    theirs = Prediction(1 - y, None, False, 2)
    holdout = Holdout(y, TIMES, START, HOLDOUT.end, {}, (False, True))
    found = judge(ours, champion(theirs), holdout, Policy(primary="accuracy", metrics=("accuracy", "log_loss")))
    assert set(found.difference) == {"accuracy"}
    assert found.result == "better"


def test_a_classifier_shows_confusion_and_roc():
    y = (TRUTH > 80).astype(float)
    scores = np.clip(y * 0.5 + np.random.default_rng(0).random(HOURS) * 0.5, 0, 1)
    ours = Prediction((scores > 0.5).astype(float), np.stack([1 - scores, scores], axis=1), True, 2)
    found = judge(ours, None, Holdout(y, TIMES, START, HOLDOUT.end, {}, (False, True)), Policy(primary="roc_auc"))
    assert found.curves.classes == ("false", "true")
    assert sum(map(sum, found.curves.confusion)) == HOURS
    rates = np.array(found.curves.roc)[:, :2]
    assert (np.diff(rates, axis=0) >= 0).all()
    assert rates[0].tolist() == [0, 0]
    assert rates[-1].tolist() == [1, 1]
    area = np.trapezoid(rates[:, 1], rates[:, 0])
    assert area == pytest.approx(found.candidate["roc_auc"].point, abs=0.01)


def test_an_evaluation_survives_its_json():
    found = judge(off_by(5), champion(off_by(20, 1)))
    assert Evaluation.from_json(found.to_json()) == found
