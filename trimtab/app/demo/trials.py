"""
The demo's four challengers under traffic, and the spec as a user would edit it for each.

Between them the year's promotions are immediate. A trial begins after a fortnight's file has landed and ends with its
rollout; then the spec is put back, or that of the next trial takes its place.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

SLOW_MILLISECONDS = 50.0
SHADOW_REQUESTS = 60
QUARTER_REQUESTS = 20
# 5 % of failures at half of the traffic, accepted .5 %, take up to 200 requests of the challenger's: see
# benchmarks/sequential_tests.py for what the best possible test needs.
HALF_REQUESTS = 215
ROLLOUT: dict[str, Any] = {
    "strategy": "canary",
    "steps": [
        {"shadow": {"minRequests": SHADOW_REQUESTS}},
        {"setWeight": 25, "minRequests": QUARTER_REQUESTS},
        {"setWeight": 50, "minRequests": HALF_REQUESTS},
    ],
    "analysis": {
        "alpha": 0.05,
        "maxErrorRatioIncrease": 0.005,
        "maxLatencyExceedanceIncrease": 0.02,
        "maxLossIncrease": 0.02,
    },
    "maxDuration": "30m",
    "keepPrevious": "1m",
}
IMMEDIATE: dict[str, Any] = {"strategy": "immediate"}


@dataclass(frozen=True)
class Trial:
    """
    One challenger that is put under traffic.

    Attributes:
        after: Number of the fortnight whose file has landed when the spec is edited; 1 is the first of 2012.
        through: The fortnight by whose end it has to be over.
        estimator: In place of the spec's; empty: the spec's own, trained when it falls due.
        ends: The phase that its rollout must end in.
        metric: What has to decide.
        bad: What an answer is of which users are the worse.
    """

    name: str
    after: int
    through: int
    title: str
    what: str
    estimator: str
    ends: Literal["Promoted", "RolledBack"]
    metric: Literal["errors", "latency", "loss"]
    bad: str = ""


TRIALS = (
    Trial(
        "good",
        5,
        8,
        "learned the newest weeks",
        "The same recipe on newer rows, as every month. This time it has to prove itself before it answers everybody.",
        "",
        "Promoted",
        "loss",
    ),
    Trial(
        "slow",
        7,
        9,
        "becomes slow",
        "It remembers its answers. Once that memory is full, making room takes longer than predicting; until then, and "
        "in the check before serving, it is as fast as any.",
        "troubled:RemembersAnswers",
        "RolledBack",
        "latency",
        f"slower than {SLOW_MILLISECONDS:g} ms",
    ),
    Trial(
        "failing",
        10,
        12,
        "fails one request in twenty",
        "Its table by hour and heat ends where its rows end, and the quick way for a single row forgot that. The first "
        "hot afternoons of the year raise KeyError.",
        "troubled:LiftsByHourAndHeat",
        "RolledBack",
        "errors",
        "failed, and the champion answered",
    ),
    Trial(
        "worse",
        19,
        20,
        "predicts worse",
        "Beside the model of everything it fits one a season, and was refitted on the last day of summer. The holdout "
        "lay in summer, where it is good; it has never seen the season that comes.",
        "troubled:ModelForEachSeason",
        "RolledBack",
        "loss",
        "further off than the champion",
    ),
)
TRUSTED = tuple(trial.estimator.replace(":", ".") for trial in TRIALS if trial.estimator)  # as the operator would


def edited(text: str, trial: Trial | None) -> str:
    """The spec for a trial, or with immediate promotions for None; comments and order stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(text)
    spec = document["spec"]
    spec["rollout"] = ROLLOUT if trial is not None else IMMEDIATE
    if trial is not None:
        spec["evaluation"]["maxLatencyP99Milliseconds"] = SLOW_MILLISECONDS
        if trial.estimator:
            spec["training"]["estimator"] = trial.estimator
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()
