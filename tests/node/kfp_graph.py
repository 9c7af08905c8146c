"""
A run's pipeline as KFP's driver reads it: which tasks may start now, each with its inputs, and whether the run ended.

Nothing is remembered between two looks: what the tasks so far put out, and what the pipeline says, is all there is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]
PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] == (true|false|-?\d+(?:\.\d+)?|'[^']*')")


@dataclass(frozen=True)
class Inputs:
    parameters: Json = field(default_factory=dict)
    artifacts: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How one component ended; what it put out, where it succeeded."""

    succeeded: bool
    parameters: Json = field(default_factory=dict)
    artifacts: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One component that is to be executed once. `path` names it in the run, from the outermost condition inwards."""

    path: Path
    executor: str
    component: Json
    inputs: Inputs

    @property
    def name(self) -> str:
        return self.path[-1]

    def filled(self, text: str) -> str:
        """With the task's parameters in their places."""
        return PARAMETER.sub(lambda found: written(self.inputs.parameters[found[1]]), text)


@dataclass
class Look:
    """What is to be started, and how tasks stand by name: waiting, running, succeeded, skipped, failed."""

    ready: list[Task] = field(default_factory=list)
    states: dict[Path, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Of the run: as in KFP the tasks beside a failed one still finish."""
        states = set(self.states.values())
        if self.ready or states & {"running", "waiting"}:
            return "running"
        return "failed" if "failed" in states else "succeeded"


@dataclass(frozen=True)
class Graph:
    """One run's pipeline."""

    spec: Json
    parameters: Json

    def look(self, outcomes: Mapping[Path, Outcome | None]) -> Look:
        """
        How the run stands.

        Args:
            outcomes: Of the tasks that were started; None while one runs.
        """
        root, found = self.spec["root"], Look()
        inputs = self._with_defaults(root, Inputs(dict(self.parameters)))
        self._walk(root["dag"]["tasks"], inputs, (), outcomes, found)
        return found

    def _walk(
        self, tasks: Json, inputs: Inputs, path: Path, outcomes: Mapping[Path, Outcome | None], found: Look
    ) -> str:
        """Look at one DAG; how it stands as a whole."""
        ended: dict[str, Outcome] = {}
        mine: dict[str, str] = {}
        for name in TopologicalSorter({name: set(_needed(task)) for name, task in tasks.items()}).static_order():
            task, place = tasks[name], (*path, name)
            before = {mine[each] for each in _needed(task)}
            if before & {"failed", "skipped"}:
                state = "skipped"
            elif before - {"succeeded"}:
                state = "waiting"
            else:
                state = self._task(task, place, _resolved(task, inputs, ended), outcomes, found)
                if state == "succeeded" and (outcome := outcomes.get(place)) is not None:
                    ended[name] = outcome
            mine[name] = found.states[place] = state
        states = set(mine.values())
        return next((each for each in ("running", "waiting", "failed") if each in states), "succeeded")

    def _task(
        self, task: Json, place: Path, inputs: Inputs, outcomes: Mapping[Path, Outcome | None], found: Look
    ) -> str:
        component = self.spec["components"][task["componentRef"]["name"]]
        if not holds(task.get("triggerPolicy", {}).get("condition", ""), inputs.parameters):
            return "skipped"
        inputs = self._with_defaults(component, inputs)
        if "dag" in component:
            return self._walk(component["dag"]["tasks"], inputs, place, outcomes, found)
        if place not in outcomes:
            found.ready.append(Task(place, component["executorLabel"], component, inputs))
            return "running"
        outcome = outcomes[place]
        if outcome is None:
            return "running"
        return "succeeded" if outcome.succeeded else "failed"

    @staticmethod
    def _with_defaults(component: Json, inputs: Inputs) -> Inputs:
        known = component.get("inputDefinitions", {}).get("parameters", {})
        defaults = {name: each["defaultValue"] for name, each in known.items() if "defaultValue" in each}
        return Inputs({**defaults, **inputs.parameters}, inputs.artifacts)


def _needed(task: Json) -> Iterator[str]:
    """Names of the tasks of the same DAG that come first."""
    yield from task.get("dependentTasks", ())
    inputs = task.get("inputs", {})
    for each in inputs.get("parameters", {}).values():
        if "taskOutputParameter" in each:
            yield each["taskOutputParameter"]["producerTask"]
    for each in inputs.get("artifacts", {}).values():
        if "taskOutputArtifact" in each:
            yield each["taskOutputArtifact"]["producerTask"]


def _resolved(task: Json, outer: Inputs, ended: Mapping[str, Outcome]) -> Inputs:
    inputs, found = task.get("inputs", {}), Inputs({}, {})
    constants = {}
    for name, each in inputs.get("parameters", {}).items():
        if "componentInputParameter" in each:
            if each["componentInputParameter"] in outer.parameters:
                found.parameters[name] = outer.parameters[each["componentInputParameter"]]
        elif "taskOutputParameter" in each:
            source = each["taskOutputParameter"]
            found.parameters[name] = ended[source["producerTask"]].parameters[source["outputParameterKey"]]
        else:
            constants[name] = each["runtimeValue"]["constant"]
    for name, constant in constants.items():
        if isinstance(constant, str):
            constant = PARAMETER.sub(lambda match: written(found.parameters[match[1]]), constant)
        found.parameters[name] = constant
    for name, each in inputs.get("artifacts", {}).items():
        if "componentInputArtifact" in each:
            found.artifacts[name] = outer.artifacts[each["componentInputArtifact"]]
        else:
            source = each["taskOutputArtifact"]
            found.artifacts[name] = ended[source["producerTask"]].artifacts[source["outputArtifactKey"]]
    return found


def holds(condition: str, parameters: Json) -> bool:
    """
    Whether a task's condition does, of the one form that `dsl.If(output == constant)` compiles to.

    >>> holds("inputs.parameter_values['a-b'] == true", {"a-b": True})
    True
    """
    if not condition:
        return True
    found = CONDITION.fullmatch(condition)
    if found is None:
        raise ValueError(f"this driver does not understand the condition {condition!r}")
    literal = json.loads(found[2].replace("'", '"'))
    return bool(parameters[found[1]] == literal)


def written(value: Any) -> str:
    """A parameter's value inside a text, as KFP writes it."""
    return value if isinstance(value, str) else json.dumps(value)
