"""
Contradictions within and between triggers, window, training and evaluation.

Each function answers one rule of `rules.RULES`: it yields what was found and the next move, for each breach.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from math import isfinite

from trimtab.core.metrics import METRICS, Metric, Task
from trimtab.core.spec.contradictions_data import Breach
from trimtab.core.spec.document import Path
from trimtab.core.spec.model import ModelSpec
from trimtab.core.spec.resources import unfit
from trimtab.core.spec.units import format_duration

# What the spec sets elsewhere, by the name of the parameter that estimators have for it.
SET_BY_SPEC = {"random_state": "training.seed", "n_jobs": "training.threads"}


def window_sized(spec: ModelSpec) -> Iterator[Breach]:
    window = spec.window
    if window.strategy == "fixed" and window.size is None:
        yield Breach("found strategy: fixed without size", "add size, such as 26w, or write strategy: all")
    if window.strategy != "fixed" and window.size is not None:
        hint = "write strategy: fixed, or remove size"
        yield Breach(f"found size with strategy: {window.strategy}", hint, ("size",))


def window_candidates(spec: ModelSpec) -> Iterator[Breach]:
    window = spec.window
    if window.strategy == "dynamic" and len(set(window.candidates)) < 2:
        yield Breach(f"found {len(window.candidates)} candidates", "write candidates: [8w, 26w]", ("candidates",))
    if window.strategy != "dynamic" and window.candidates:
        hint = "write strategy: dynamic, or remove candidates"
        yield Breach(f"found candidates with strategy: {window.strategy}", hint, ("candidates",))


def class_ratio_reachable(spec: ModelSpec) -> Iterator[Breach]:
    ratio = spec.window.min_class_ratio
    if not ratio or _task(spec) is None:
        return
    if _task(spec) == "regression":
        hint = "remove it, or declare the target as boolean or category"
        yield Breach(f"found {ratio:g} for a regression", hint, ("minClassRatio",))
        return
    classes = len(spec.data.described[spec.data.target].values) or 2
    if ratio > 1 / classes:
        hint = f"lower it to {1 / classes:.2g} or less"
        yield Breach(f"found {ratio:g} for {classes} classes", hint, ("minClassRatio",))


def parameters_free(spec: ModelSpec) -> Iterator[Breach]:
    for name in spec.training.parameters:
        setting = SET_BY_SPEC.get(name.rpartition("__")[2])
        if setting is not None:
            yield Breach(f"found {name}", f"remove it and write {setting}, which sets it everywhere", (name,))


def resources_fit(spec: ModelSpec) -> Iterator[Breach]:
    yield from unfit(spec.training.resources)


def primary_reported(spec: ModelSpec) -> Iterator[Breach]:
    evaluation = spec.evaluation
    if evaluation.metrics and evaluation.primary not in evaluation.metrics:
        hint = f"add {evaluation.primary} to metrics"
        yield Breach(f"{evaluation.primary} is not among {', '.join(evaluation.metrics)}", hint)


def metrics_fit_task(spec: ModelSpec) -> Iterator[Breach]:
    task = _task(spec)
    if task is None:
        return
    fitting = ", ".join(name for name, metric in METRICS.items() if metric.task == task)
    column = spec.data.described[spec.data.target]
    named: list[tuple[Path, str]] = [(("evaluation", "primary"), spec.evaluation.primary)]
    named += [(("evaluation", "metrics", index), name) for index, name in enumerate(spec.evaluation.metrics)]
    if spec.triggers.performance is not None:
        named.append((("triggers", "performance", "metric"), spec.triggers.performance.metric))
    for at, name in named:
        if METRICS[name].task != task:
            found = f"{name} judges a {METRICS[name].task}, and the target {spec.data.target} is {column.type}"
            yield Breach(found, f"take one for a {task}: {fitting}", at)


def floor_in_range(spec: ModelSpec) -> Iterator[Breach]:
    evaluation = spec.evaluation
    if evaluation.floor is not None:
        yield from _in_range(METRICS[evaluation.primary], evaluation.floor, ("evaluation", "floor"))
    performance = spec.triggers.performance
    if performance is not None and performance.worse_than is not None:
        at: Path = ("triggers", "performance", "worseThan")
        yield from _in_range(METRICS[performance.metric], performance.worse_than, at)


def margin_in_range(spec: ModelSpec) -> Iterator[Breach]:
    metric = METRICS[spec.evaluation.primary]
    width = metric.high - metric.low
    if isfinite(width) and spec.evaluation.margin >= width:
        hint = f"{metric.name} runs from {metric.low:g} to {metric.high:g}: a margin is a small part of it, such as .01"
        yield Breach(f"found {spec.evaluation.margin:g}", hint)


def blocks_in_holdout(spec: ModelSpec) -> Iterator[Breach]:
    holdout, block = spec.evaluation.holdout, spec.evaluation.block
    if isinstance(holdout, timedelta) and holdout < 2 * block:
        found = f"found blocks of {format_duration(block)} in a holdout of {format_duration(holdout)}"
        yield Breach(found, "shorten block or lengthen holdout; ten blocks or more make good intervals")


def performance_threshold(spec: ModelSpec) -> Iterator[Breach]:
    performance = spec.triggers.performance
    if performance is None:
        return
    given = [value for value in (performance.worse_than, performance.drop_from_baseline) if value is not None]
    if len(given) != 1:
        hint = "write worseThan: a value of the metric, or dropFromBaseline: a distance"
        yield Breach("found both" if given else "found neither", hint)


def _task(spec: ModelSpec) -> Task | None:
    """The task, where the schema is there and describes a target that can be learned."""
    data = spec.data
    if data.columns is None or data.target not in data.columns:
        return None
    return None if data.columns[data.target].type in ("string", "timestamp") else data.task


def _in_range(metric: Metric, value: float, at: Path) -> Iterator[Breach]:
    if not metric.low <= value <= metric.high:
        hint = f"{metric.name} runs from {metric.low:g} to {metric.high:g}"
        yield Breach(f"found {value:g}", hint, at)
