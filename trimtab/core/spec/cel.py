"""
The rules of `rules.RULES` that the API server can hold by itself, in CEL: with them `kubectl apply` refuses what
`trimtab check` refuses, in the same sentence.

What it cannot state stays with the controller, which says it in the condition Accepted: names compared across a
thousand columns cost more than a rule may, and an estimator's parameters are not typed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trimtab.core.metrics import METRICS
from trimtab.core.spec import contradictions_data as data
from trimtab.core.spec import contradictions_policy as policy
from trimtab.core.spec import contradictions_rollout as rollout
from trimtab.core.spec.rules import REQUEST_RULES, ROLLOUT_RULES, RULES

SECONDS = "{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}"


@dataclass(frozen=True, slots=True)
class Validation:
    """Where below `spec` it holds (`*`: every item), the expression, and what a refusal says."""

    path: tuple[str, ...]
    expression: str
    message: str


def seconds(text: str) -> str:
    """
    A duration's length, as an expression.

    >>> seconds("self.block")  # doctest: +ELLIPSIS
    "int(self.block.substring(0, size(self.block) - 1)) * {'s': 1, ...}[self.block.substring(size(self.block) - 1)]"
    """
    return f"int({text}.substring(0, size({text}) - 1)) * {SECONDS}[{text}.substring(size({text}) - 1)]"


def _names(values: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


def _given(field: str) -> str:
    return f"has(self.{field})"


def _once(field: str) -> str:
    return f"!has(self.{field}) || self.{field}.all(one, self.{field}.exists_one(other, other == one))"


def _within(metric: str, value: str, by_width: bool = False) -> str:
    """The value lies in the metric's range; or, `by_width`, is smaller than it."""
    ranges = defaultdict(list)
    for each in METRICS.values():
        ranges[each.low, each.high].append(each.name)
    parts = []
    for (low, high), names in ranges.items():
        bounds = [f"{value} >= {low:.1f}"] if low != float("-inf") else []
        bounds += [f"{value} <= {high:.1f}"] if high != float("inf") else []
        if by_width:
            bounds = [f"{value} < {high - low:.1f}"] if high - low != float("inf") else []
        if bounds:
            parts.append(f"(!({metric} in {_names(names)}) || ({' && '.join(bounds)}))")
    return " && ".join(parts)


def _fits(metric: str) -> str:
    """The metric judges what the target is."""
    classes = _names([name for name, each in METRICS.items() if each.task == "classification"])
    column = "self.data.schema[self.data.target].type"
    described = "has(self.data.schema) && self.data.target in self.data.schema"
    learned = f"{column} in ['boolean', 'category', 'float', 'int']"
    return f"!({described} && {learned}) || (({column} in ['boolean', 'category']) == ({metric} in {classes}))"


HIGHEST = "self.filter(step, has(step.setWeight)).map(step, step.setWeight)"
SHADOWS_FIRST = "self.filter(step, !has(step.pause)).map(step, has(step.setWeight) ? step.setWeight : 0).isSorted()"
STRATEGY = (
    "self.strategy == 'immediate' ? size(self.steps) == 0"
    " : self.strategy == 'canary' ? self.steps.exists(step, has(step.setWeight))"
    " : self.strategy == 'shadow' ? size(self.steps) > 0 && self.steps.all(step, has(step.shadow))"
    " : size(self.steps.filter(step, has(step.setWeight))) == 1"
)
IN_TIME = (  # without filter: of what it leaves, the server's estimate of a rule's cost knows no length
    f"self.steps.map(step, has(step.minDuration) ? {seconds('step.minDuration')} : 0).sum()"
    f" <= {seconds('self.maxDuration')}"
)
ONE_KIND = "[has(self.shadow), has(self.setWeight), has(self.pause)].filter(given, given).size() == 1"
OWN_GATES = "has(self.setWeight) || !(has(self.minRequests) || has(self.minDuration))"
LIMITS_OF_NUMBERS = (
    "self.type in ['float', 'int'] ? !has(self.min) || !has(self.max) || self.min <= self.max"
    " : !has(self.min) && !has(self.max)"
)
ROLES = (
    "self.target != self.timestamp && !(self.target in self.key) && !(self.target in self.exclude)"
    " && !(self.timestamp in self.exclude) && !self.key.exists(name, name in self.exclude)"
)
DESCRIBED = (
    "!has(self.schema) || (self.target in self.schema"
    " && self.schema[self.target].type in ['boolean', 'category', 'float', 'int']"
    " && !(self.schema[self.target].type == 'category' && size(self.schema[self.target].values) == 1))"
)
TYPED = (
    "!has(self.schema) || self.timestamp == self.target || !(self.timestamp in self.schema)"
    " || self.schema[self.timestamp].type == 'timestamp'"
)
APART = (
    "!has(self.labels.source)"
    " || !(self.labels.source.startsWith(self.source) || self.source.startsWith(self.labels.source))"
)
SLICED = (
    "!has(self.data.schema) || self.evaluation.slices.all(name, name != self.data.target"
    " && name in self.data.schema && self.data.schema[name].type in ['boolean', 'category'])"
)
OF_CLASSES = (
    "self.window.minClassRatio == 0.0 || !has(self.data.schema) || !(self.data.target in self.data.schema)"
    " || self.data.schema[self.data.target].type in ['string', 'timestamp']"
    " || (self.data.schema[self.data.target].type in ['boolean', 'category'] && self.window.minClassRatio"
    " <= 1.0 / double([size(self.data.schema[self.data.target].values), 2].max()))"
)
OTHER = "name == self.data.target || name == self.data.timestamp || name in self.data.key || name in self.data.exclude"
NUMBERS_AND_CODES = (
    "self.training.input == 'frame' || !has(self.data.schema) || self.data.schema.all(name,"
    f" !(self.data.schema[name].type in ['string', 'timestamp']) || {OTHER})"
)
LEARNS = f"!has(self.data.schema) || !self.data.schema.all(name, {OTHER})"
BLOCKS = f"!self.holdout.matches('^[0-9]+[smhdw]$') || {seconds('self.holdout')} >= 2 * {seconds('self.block')}"
ONE_FORM = (
    "(has(self.model) && has(self.version) && has(self.champion)"
    " && !has(self.target.champion) && !has(self.target.challenger))"
    " || (!has(self.model) && !has(self.version) && !has(self.champion)"
    " && has(self.target.champion) && has(self.target.challenger))"
)
WITHOUT_MODEL = "has(self.model) || (size(self.steps) > 0 && !self.steps.exists(step, has(step.shadow)))"
DIFFERENT = (
    "!has(self.target.challenger) || !has(self.target.champion)"
    " || self.target.challenger.predictor.name != self.target.champion"
)
PERFORMANCE = "!has(self.triggers.performance) || "
OF_ROLLOUT = ("rollout",)

# By the function that finds a breach in Python: where the rule stands here, and as what.
EXPRESSIONS: dict[Callable[..., Iterator[data.Breach]], tuple[tuple[tuple[str, ...], str], ...]] = {
    data.one_schema: ((("data",), "has(self.schema) != has(self.schemaRef)"),),
    data.names_once: (
        (("data",), _once("key")),
        (("data",), _once("exclude")),
        (("evaluation",), _once("metrics")),
        (("evaluation",), _once("slices")),
    ),
    data.roles_differ: ((("data",), ROLES),),
    data.target_described: ((("data",), DESCRIBED),),
    data.timestamp_typed: ((("data",), TYPED),),
    data.values_of_categories: (
        (
            ("data", "schema", "*"),
            "self.type == 'category' ? size(self.values) > 0 : size(self.values) == 0 && self.onNew != 'missing'",
        ),
    ),
    data.bounds_of_numbers: ((("data", "schema", "*"), LIMITS_OF_NUMBERS),),
    data.labels_joined: ((("data",), "self.labels.joinBy != 'key' || size(self.key) > 0"),),
    data.labels_apart: ((("data",), APART),),
    policy.performance_threshold: ((("triggers", "performance"), "has(self.worseThan) != has(self.dropFromBaseline)"),),
    policy.window_sized: ((("window",), "(self.strategy == 'fixed') == has(self.size)"),),
    policy.window_candidates: (
        (("window",), "self.strategy == 'dynamic' ? size(self.candidates) >= 2 : size(self.candidates) == 0"),
    ),
    policy.primary_reported: ((("evaluation",), "size(self.metrics) == 0 || self.primary in self.metrics"),),
    policy.metrics_fit_task: (
        ((), _fits("self.evaluation.primary")),
        ((), f"self.evaluation.metrics.all(metric, {_fits('metric')})"),
        ((), PERFORMANCE + f"({_fits('self.triggers.performance.metric')})"),
    ),
    policy.floor_in_range: (
        (("evaluation",), f"!has(self.floor) || ({_within('self.primary', 'self.floor')})"),
        (("triggers", "performance"), f"!has(self.worseThan) || ({_within('self.metric', 'self.worseThan')})"),
    ),
    policy.margin_in_range: ((("evaluation",), _within("self.primary", "self.margin", by_width=True)),),
    policy.class_ratio_reachable: (((), OF_CLASSES),),
    data.text_in_frames_only: (((), NUMBERS_AND_CODES),),
    data.some_feature: (((), LEARNS),),
    policy.blocks_in_holdout: ((("evaluation",), BLOCKS),),
    data.slices_described: (((), SLICED),),
    rollout.one_kind_of_step: (
        ((*OF_ROLLOUT, "steps", "*"), ONE_KIND),
        ((*OF_ROLLOUT, "steps", "*"), OWN_GATES),
    ),
    rollout.steps_of_strategy: ((OF_ROLLOUT, STRATEGY),),
    rollout.weights_rise: (
        ((*OF_ROLLOUT, "steps"), f"{HIGHEST}.all(one, {HIGHEST}.exists_one(other, other == one))"),
        ((*OF_ROLLOUT, "steps"), SHADOWS_FIRST),
    ),
    rollout.steps_in_time: ((OF_ROLLOUT, IN_TIME),),
    rollout.users_named: ((OF_ROLLOUT, "self.strategy != 'abTest' || has(self.stickyHeader)"),),
    rollout.one_form: (((), ONE_FORM),),
    rollout.steps_without_model: (((), WITHOUT_MODEL),),
    rollout.no_users_without_model: (((), "has(self.model) || !has(self.stickyHeader)"),),
    rollout.predictors_differ: (((), DIFFERENT),),
}
RULES_OF_MODEL = tuple(
    Validation(path, expression, rule.says) for rule in RULES for path, expression in EXPRESSIONS.get(rule.breaches, ())
)
RULES_OF_ROLLOUT = (
    *(
        Validation(path[len(OF_ROLLOUT) :], expression, rule.says)
        for rule in ROLLOUT_RULES
        for path, expression in EXPRESSIONS[rule.breaches]
    ),
    *(
        Validation(path, expression, rule.says)
        for rule in REQUEST_RULES
        for path, expression in EXPRESSIONS[rule.breaches]
    ),
)
