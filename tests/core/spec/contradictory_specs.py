"""A sound spec, and the edits that make it contradict itself: of use on a laptop and at an API server."""

from __future__ import annotations

SOUND = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: flights}
spec:
  data:
    source: s3://flights/landing/
    format: parquet
    timestamp: ts
    key: [id]
    target: delayed
    exclude: [dep_delay]
    labels: {joinBy: requestId, maturity: 0s}
    schema:
      carrier: {type: category, values: [AA, DL, UA]}
      distance: {type: float, min: 0, max: 6000}
      delayed: {type: boolean}
    quality: {maxInvalidRowRatio: 0.01}
  triggers:
    upload: {minNewRows: 5000, settle: 30s}
    schedule: {cron: "0 3 * * 1", timeZone: Etc/UTC}
    performance: {metric: roc_auc, worseThan: 0.65}
    cooldown: 6h
  window: {strategy: fixed, size: 26w, minClassRatio: 0.05}
  training:
    estimator: sklearn.ensemble:HistGradientBoostingClassifier
    parameters: {max_iter: 200}
    seed: 0
  evaluation:
    holdout: 2w
    metrics: [roc_auc, log_loss]
    primary: roc_auc
    floor: 0.6
    margin: 0.01
    block: 1d
    slices: [carrier]
  rollout:
    strategy: canary
    steps: [{shadow: {minRequests: 500}}, {setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 10m}]
    maxDuration: 24h
  alerts: [{urlFrom: {env: SLACK_URL}, events: [drift]}]
"""


def edited(*changes: tuple[str, str]) -> str:
    """The sound spec with pieces of its text replaced, each of which must stand in it once."""
    text = SOUND
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the sound spec"
        text = text.replace(old, new)
    return text


CANARY = "strategy: canary"
STEPS = "[{shadow: {minRequests: 500}}, {setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 10m}]"
PARAMETERS = "parameters: {max_iter: 200}"
COLUMNS = """\
    schema:
      carrier: {type: category, values: [AA, DL, UA]}
      distance: {type: float, min: 0, max: 6000}
      delayed: {type: boolean}
"""

# Replacements in the sound spec; then path, found, hint as they are told.
CONTRADICTIONS = {
    "schema and schemaRef": (
        [("    schema:\n", "    schemaRef: s3://flights/schema.yaml\n    schema:\n")],
        ("spec.data", "found both; exactly one of schema and schemaRef", "remove schemaRef"),
    ),
    "neither schema nor schemaRef": (
        [(COLUMNS, "")],
        ("spec.data", "found neither", "`trimtab init FILE`"),
    ),
    "a column twice": (
        [("exclude: [dep_delay]", "exclude: [dep_delay, dep_delay]")],
        ("spec.data.exclude", "found dep_delay 2 times", "keep one"),
    ),
    "a category's value twice": (
        [("[AA, DL, UA]", "[AA, DL, AA]")],
        ("spec.data.schema.carrier.values", "found AA 2 times", "keep one"),
    ),
    "the target as event time": (
        [("timestamp: ts", "timestamp: delayed")],
        ("spec.data.target", "target and timestamp are both delayed", "name the column to predict"),
    ),
    "the target as key": (
        [("key: [id]", "key: [delayed]")],
        ("spec.data.key", "key holds the target delayed", "before its label"),
    ),
    "the target excluded": (
        [("exclude: [dep_delay]", "exclude: [delayed]")],
        ("spec.data.exclude", "exclude holds delayed, which is target", "remove delayed from exclude"),
    ),
    "the event time excluded": (
        [("exclude: [dep_delay]", "exclude: [ts]")],
        ("spec.data.exclude", "exclude holds ts, which is timestamp", "never features anyway"),
    ),
    "a target that is misspelt": (
        [("target: delayed", "target: delay")],
        ("spec.data.target", "delay is not in the schema", "did you mean delayed?"),
    ),
    "a target of text": (
        [("delayed: {type: boolean}", "delayed: {type: string}")],
        ("spec.data.target", "delayed has type string", "boolean or category"),
    ),
    "a target of one class": (
        [("delayed: {type: boolean}", "delayed: {type: category, values: [late]}")],
        ("spec.data.target", "delayed has a single class, late", "list the other classes"),
    ),
    "an event time that is a number": (
        [("delayed: {type: boolean}", "delayed: {type: boolean}\n      ts: {type: int}")],
        ("spec.data.schema.ts.type", "ts has type int", "the event time needs none"),
    ),
    "a category without values": (
        [("{type: category, values: [AA, DL, UA]}", "{type: category}")],
        ("spec.data.schema.carrier", "found a category without values", "values: [a, b]"),
    ),
    "values of a number": (
        [("{type: float, min: 0, max: 6000}", "{type: float, values: [near, far]}")],
        ("spec.data.schema.distance.values", "found values on type float", "type: category"),
    ),
    "onNew of a number": (
        [("{type: float, min: 0, max: 6000}", "{type: float, onNew: missing}")],
        ("spec.data.schema.distance.onNew", "found onNew on type float", "remove onNew"),
    ),
    "bounds of a boolean": (
        [("delayed: {type: boolean}", "delayed: {type: boolean, max: 1}")],
        ("spec.data.schema.delayed", "found min or max on type boolean", "remove them"),
    ),
    "bounds the wrong way round": (
        [("min: 0, max: 6000", "min: 6000, max: 0")],
        ("spec.data.schema.distance.min", "found min 6000 above max 0", "swap the two"),
    ),
    "text in a matrix": (
        [("delayed: {type: boolean}", "delayed: {type: boolean}\n      remark: {type: string}")],
        ("spec.data.schema.remark.type", "remark is a feature of type string", "training.input: frame"),
    ),
    "nothing to learn from": (
        [("exclude: [dep_delay]", "exclude: [dep_delay, carrier, distance]"), ("slices: [carrier]", "slices: []")],
        ("spec.data.schema", "no column of the schema is left as a feature", "add the columns to learn from"),
    ),
    "labels joined by no key": (
        [("joinBy: requestId", "joinBy: key"), ("key: [id]", "key: []")],
        ("spec.data.labels.joinBy", "joinBy: key and an empty key", "spec.data.key"),
    ),
    "labels among the uploads": (
        [("joinBy: requestId", "source: s3://flights/landing/labels/")],
        ("spec.data.labels.source", "inside or around s3://flights/landing/", "a prefix of their own"),
    ),
    "two thresholds": (
        [("worseThan: 0.65", "worseThan: 0.65, dropFromBaseline: 0.03")],
        ("spec.triggers.performance", "found both; exactly one of worseThan and dropFromBaseline", "a distance"),
    ),
    "no threshold": (
        [(", worseThan: 0.65", "")],
        ("spec.triggers.performance", "found neither", "worseThan: a value of the metric"),
    ),
    "a threshold beyond the metric": (
        [("worseThan: 0.65", "worseThan: 65")],
        ("spec.triggers.performance.worseThan", "found 65", "roc_auc runs from 0 to 1"),
    ),
    "a fixed window without size": (
        [(", size: 26w", "")],
        ("spec.window", "found strategy: fixed without size", "add size, such as 26w"),
    ),
    "a size of everything": (
        [("strategy: fixed", "strategy: all")],
        ("spec.window.size", "found size with strategy: all", "strategy: fixed"),
    ),
    "a dynamic window with one candidate": (
        [("strategy: fixed, size: 26w", "strategy: dynamic, candidates: [8w]")],
        ("spec.window.candidates", "found 1 candidates", "candidates: [8w, 26w]"),
    ),
    "candidates of a fixed window": (
        [("size: 26w", "size: 26w, candidates: [8w, 26w]")],
        ("spec.window.candidates", "found candidates with strategy: fixed", "strategy: dynamic"),
    ),
    "classes of a regression": (
        [
            ("delayed: {type: boolean}", "delayed: {type: float}"),
            ("metrics: [roc_auc, log_loss]", "metrics: [r2]"),
            ("primary: roc_auc", "primary: r2"),
            ("metric: roc_auc", "metric: r2"),
        ],
        ("spec.window.minClassRatio", "found 0.05 for a regression", "remove it"),
    ),
    "a class ratio that three classes cannot have": (
        [
            ("delayed: {type: boolean}", "delayed: {type: category, values: [early, fair, late]}"),
            ("minClassRatio: 0.05", "minClassRatio: 0.4"),
        ],
        ("spec.window.minClassRatio", "found 0.4 for 3 classes", "lower it to 0.33 or less"),
    ),
    "a seed among the parameters": (
        [(PARAMETERS, "parameters: {random_state: 3}")],
        ("spec.training.parameters.random_state", "found random_state", "write training.seed"),
    ),
    "threads of a step among the parameters": (
        [(PARAMETERS, "parameters: {forest__n_jobs: -1}")],
        ("spec.training.parameters.forest__n_jobs", "found forest__n_jobs", "write training.threads"),
    ),
    "resources of no Pod": (
        [(PARAMETERS, f"{PARAMETERS}\n    resources: {{request: {{cpu: 2}}}}")],
        ("spec.training.resources.request", "found {'cpu': 2}; resources are a Pod's", "requests and limits"),
    ),
    "resources of no quantity": (
        [(PARAMETERS, f"{PARAMETERS}\n    resources: {{limits: {{memory: 4GB}}}}")],
        ("spec.training.resources.limits.memory", "found '4GB'", "500m, 2 or 4Gi"),
    ),
    "a primary metric that is not reported": (
        [("metrics: [roc_auc, log_loss]", "metrics: [log_loss]")],
        ("spec.evaluation.primary", "roc_auc is not among log_loss", "add roc_auc to metrics"),
    ),
    "a metric of numbers for classes": (
        [("metrics: [roc_auc, log_loss]", "metrics: [roc_auc, r2]")],
        ("spec.evaluation.metrics[1]", "r2 judges a regression, and the target delayed is boolean", "roc_auc, "),
    ),
    "a floor out of range": (
        [("floor: 0.6", "floor: 60")],
        ("spec.evaluation.floor", "found 60; a threshold lies in its metric's range", "roc_auc runs from 0 to 1"),
    ),
    "a margin as wide as the metric": (
        [("margin: 0.01", "margin: 1")],
        ("spec.evaluation.margin", "found 1; a margin is smaller than its metric's range", "such as .01"),
    ),
    "blocks longer than the holdout": (
        [("block: 1d", "block: 2w")],
        ("spec.evaluation.block", "found blocks of 2w in a holdout of 2w", "shorten block"),
    ),
    "a slice of a number": (
        [("slices: [carrier]", "slices: [distance]")],
        ("spec.evaluation.slices[0]", "distance has type float", "take one of: carrier"),
    ),
    "a slice that is misspelt": (
        [("slices: [carrier]", "slices: [carier]")],
        ("spec.evaluation.slices[0]", "carier is not in the schema", "did you mean carrier?"),
    ),
    "a slice by the target": (
        [("slices: [carrier]", "slices: [delayed]")],
        ("spec.evaluation.slices[0]", "delayed is the target", "take one of: carrier"),
    ),
    "a step of two kinds": (
        [("{setWeight: 5}", "{setWeight: 5, pause: {}}")],
        ("spec.rollout.steps[1]", "found setWeight and pause", "write one of"),
    ),
    "an empty step": (
        [("{setWeight: 5}", "{}")],
        ("spec.rollout.steps[1]", "found none of them", "{setWeight: 5}"),
    ),
    "requests of a pause": (
        [("{pause: {}}", "{pause: {}, minRequests: 5}")],
        ("spec.rollout.steps[2]", "found minRequests or minDuration beside pause", "remove minRequests"),
    ),
    "steps of an immediate rollout": (
        [(CANARY, "strategy: immediate")],
        ("spec.rollout.steps", "found steps with strategy: immediate", "strategy: canary"),
    ),
    "a canary without weights": (
        [(STEPS, "[{shadow: {minRequests: 5}}]")],
        ("spec.rollout.steps", "found canary without a setWeight step", "strategy: shadow"),
    ),
    "a shadow with weights": (
        [(CANARY, "strategy: shadow")],
        ("spec.rollout.steps", "found shadow with other steps", "strategy: canary"),
    ),
    "an A/B test with two weights": (
        [(CANARY, "strategy: abTest\n    stickyHeader: x-user")],
        ("spec.rollout.steps", "found abTest with 2 setWeight steps", "keep one"),
    ),
    "an A/B test without users": (
        [(CANARY, "strategy: abTest"), (STEPS, "[{setWeight: 50}]")],
        ("spec.rollout.stickyHeader", "found strategy: abTest and no stickyHeader", "x-user-id"),
    ),
    "weights that fall": (
        [("{setWeight: 5}", "{setWeight: 60}")],
        ("spec.rollout.steps[3].setWeight", "found 50 after 60", "order the weights upwards"),
    ),
    "a shadow after a weight": (
        [("{pause: {}}", "{shadow: {}}")],
        ("spec.rollout.steps[2]", "found shadow after a weight", "move the shadow step to the front"),
    ),
    "steps longer than the rollout": (
        [("minDuration: 10m", "minDuration: 25h")],
        ("spec.rollout.maxDuration", "the steps take at least 25h", "raise maxDuration above 25h"),
    ),
}

SOUND_ROLLOUT = """\
apiVersion: trimtab.dev/v1alpha1
kind: ModelRollout
metadata: {name: iris-canary}
spec:
  strategy: canary
  steps: [{setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 10m}]
  maxDuration: 24h
  target:
    seldonDeployment: iris
    champion: main
    challenger: {predictor: {name: canary, graph: {name: model}}}
"""


def edited_rollout(*changes: tuple[str, str]) -> str:
    """As `edited`, of the sound ModelRollout."""
    text = SOUND_ROLLOUT
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the sound ModelRollout"
        text = text.replace(old, new)
    return text


FREE = "    champion: main\n    challenger: {predictor: {name: canary, graph: {name: model}}}\n"
WEIGHTS = "[{setWeight: 5}, {pause: {}}, {setWeight: 50, minDuration: 10m}]"
# Replacements in the sound ModelRollout; then path, found, hint as they are told.
CONTRADICTORY_ROLLOUTS = {
    "of a model and of predictors": (
        [("spec:\n", "spec:\n  model: iris\n  version: 7\n  champion: 6\n")],
        ("spec", "found model and version and champion and target.champion and target.challenger", "trimtab"),
    ),
    "half of a form": (
        [(FREE, ""), ("spec:\n", "spec:\n  model: iris\n  version: 7\n")],
        ("spec", "found model and version; a rollout names either model, version and champion, or", "trimtab"),
    ),
    "of nothing": (
        [(FREE, "")],
        ("spec", "found none of them; a rollout names either", "name both predictors"),
    ),
    "predictors without steps": (
        [("strategy: canary", "strategy: immediate"), (WEIGHTS, "[]")],
        ("spec.steps", "found no steps; a rollout without a model has steps", "[{setWeight: 10}]"),
    ),
    "a shadow of predictors": (
        [("{setWeight: 5}", "{shadow: {}}")],
        ("spec.steps[0]", "found a shadow step; a rollout without a model has steps, and no shadow", "small setWeight"),
    ),
    "one predictor twice": (
        [("name: canary,", "name: main,")],
        ("spec.target.challenger.predictor.name", "found main as champion and as challenger", "a name of its own"),
    ),
    "a step of two kinds": (
        [("{setWeight: 5}", "{setWeight: 5, pause: {}}")],
        ("spec.steps[0]", "found setWeight and pause; a step is exactly one of", "write one of"),
    ),
    "steps of an immediate rollout": (
        [("strategy: canary", "strategy: immediate")],
        ("spec.steps", "found steps with strategy: immediate", "strategy: canary"),
    ),
    "weights that fall": (
        [("{setWeight: 5}", "{setWeight: 60}")],
        ("spec.steps[2].setWeight", "found 50 after 60", "order the weights upwards"),
    ),
    "steps longer than the rollout": (
        [("minDuration: 10m", "minDuration: 25h")],
        ("spec.maxDuration", "the steps take at least 25h", "raise maxDuration above 25h"),
    ),
    "users of predictors": (
        [("strategy: canary", "strategy: canary\n  stickyHeader: x-user-id")],
        ("spec.stickyHeader", "found x-user-id; a rollout without a model knows no users", "leave it out"),
    ),
    "an A/B test without users": (
        [("strategy: canary", "strategy: abTest"), (WEIGHTS, "[{setWeight: 50}]")],
        ("spec.stickyHeader", "found strategy: abTest and no stickyHeader", "x-user-id"),
    ),
}
