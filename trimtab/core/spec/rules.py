"""
What must hold between the fields of a spec: one table, each rule a sentence that a refusal ends with.

To add a rule: a line here, and its function in contradictions_data, contradictions_policy or contradictions_rollout;
what the API server can hold by itself, in cel too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from trimtab.core.spec import contradictions_data as data
from trimtab.core.spec import contradictions_policy as policy
from trimtab.core.spec import contradictions_rollout as rollout
from trimtab.core.spec.contradictions_data import Breach
from trimtab.core.spec.document import Path
from trimtab.core.spec.model import ModelSpec
from trimtab.core.spec.model_rollout import RolloutRequest
from trimtab.core.spec.problems import Problem
from trimtab.core.spec.rollout import Rollout

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True)
class Rule(Generic[T_contra]):
    """Below which path of the spec it holds, what it says, and the function that finds each breach of it."""

    path: Path
    says: str
    breaches: Callable[[T_contra], Iterator[Breach]]

    def broken(self, spec: T_contra) -> Iterator[Problem]:
        """Every breach, with its path below `spec`."""
        for breach in self.breaches(spec):
            yield Problem(("spec", *self.path, *breach.at), f"{breach.found}; {self.says}", breach.hint)


@dataclass(frozen=True)
class _Request:
    """A ModelRollout's spec as something that has a rollout: it is one."""

    rollout: Rollout


ROLLOUT_RULES: tuple[Rule[rollout.Led], ...] = (
    Rule(("rollout", "steps"), "a step is exactly one of shadow, setWeight and pause", rollout.one_kind_of_step),
    Rule(("rollout",), "steps are those of their strategy", rollout.steps_of_strategy),
    Rule(("rollout", "steps"), "weights rise from step to step, shadow before them", rollout.weights_rise),
    Rule(("rollout", "maxDuration"), "the steps fit into maxDuration", rollout.steps_in_time),
    Rule(("rollout", "stickyHeader"), "abTest needs stickyHeader", rollout.users_named),
)
REQUEST_RULES: tuple[Rule[RolloutRequest], ...] = (
    Rule(
        (),
        "a rollout names either model, version and champion, or target.champion and target.challenger",
        rollout.one_form,
    ),
    Rule(
        (),
        "a rollout without a model has steps, and no shadow: mirrored requests are counted by the prediction log, "
        "which only models have",
        rollout.steps_without_model,
    ),
    Rule(
        ("stickyHeader",),
        "a rollout without a model knows no users: the weights of a SeldonDeployment draw for each request",
        rollout.no_users_without_model,
    ),
    Rule((), "champion and challenger are predictors of different names", rollout.predictors_differ),
)
RULES: tuple[Rule[ModelSpec], ...] = (
    Rule(("data",), "exactly one of schema and schemaRef is given", data.one_schema),
    Rule((), "a list of names holds each name once", data.names_once),
    Rule(("data",), "target, timestamp, key and exclude name different columns", data.roles_differ),
    Rule(("data", "target"), "the target is a column of the schema that can be learned", data.target_described),
    Rule(("data", "schema"), "the event time, where it is declared, has type timestamp", data.timestamp_typed),
    Rule(("data", "schema"), "a category lists its values; no other type has values", data.values_of_categories),
    Rule(("data", "schema"), "min and max belong to float and int, min at most max", data.bounds_of_numbers),
    Rule(("data", "schema"), "string and timestamp are features only of a frame", data.text_in_frames_only),
    Rule(("data",), "a model learns from at least one feature", data.some_feature),
    Rule(("data", "labels"), "joinBy: key needs a key", data.labels_joined),
    Rule(("data", "labels"), "labels and uploads lie under different prefixes", data.labels_apart),
    Rule(("triggers", "performance"), "exactly one of worseThan and dropFromBaseline", policy.performance_threshold),
    Rule(("window",), "a fixed window has a size, and no other has", policy.window_sized),
    Rule(("window",), "a dynamic window has two candidates or more, and no other has", policy.window_candidates),
    Rule(("window",), "minClassRatio is at most one over the number of classes", policy.class_ratio_reachable),
    Rule(
        ("training", "parameters"),
        "seed and threads are set by the spec, not among the parameters",
        policy.parameters_free,
    ),
    Rule(
        ("training", "resources"),
        "resources are a Pod's requests and limits: cpu, memory, and one kind of device among the limits",
        policy.resources_fit,
    ),
    Rule(("evaluation", "primary"), "the primary metric is one of metrics", policy.primary_reported),
    Rule((), "a metric fits the type of the target", policy.metrics_fit_task),
    Rule((), "a threshold lies in its metric's range", policy.floor_in_range),
    Rule(("evaluation", "margin"), "a margin is smaller than its metric's range", policy.margin_in_range),
    Rule(("evaluation", "block"), "a holdout holds at least two blocks", policy.blocks_in_holdout),
    Rule(("evaluation", "slices"), "a slice is a category or boolean column of the schema", data.slices_described),
    *ROLLOUT_RULES,
)


def broken_rules(spec: ModelSpec) -> list[Problem]:
    """Every breach of every rule, with its path below `spec`."""
    return [problem for rule in RULES for problem in rule.broken(spec)]


def broken_rules_of_rollout(spec: RolloutRequest) -> list[Problem]:
    """As `broken_rules`, for a ModelRollout, whose policy stands directly below `spec`."""
    found = [problem for rule in REQUEST_RULES for problem in rule.broken(spec)]
    for rule in ROLLOUT_RULES:
        for problem in rule.broken(_Request(spec)):
            found.append(replace(problem, parts=("spec", *problem.parts[2:])))
    return found
