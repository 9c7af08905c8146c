"""
What every step of the training pipeline stands in: the state opened, the spec read, its earlier conclusion found.

A step that concluded once is done: repeated after a crash, or in the next attempt of the run, it returns at once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trimtab.adapters import environment, s3, specs
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.core.errors import Conflict, Fenced, Invalid, NotFound, TrimtabError, Unavailable
from trimtab.core.ports import Buckets
from trimtab.core.records import Decision, Outcome
from trimtab.core.spec.model import ContinuousModel

# What may go well when the same step is tried again. Everything else is wrong with the data, the spec or the code.
TRANSIENT = (Unavailable, Conflict, Fenced, OSError, MemoryError)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class Step:
    """One step of one run. `done` is what it concluded earlier, None when it has not."""

    name: str
    model: ContinuousModel
    spec_text: str
    buckets: Buckets
    state: State
    run_key: str
    done: dict[str, Any] | None

    @cached_property
    def decision(self) -> Decision:
        """The decision this run executes. Raises NotFound when there is none by the run key."""
        for decision in self.state.decisions.all():
            if decision.run_key == self.run_key:
                return decision
        raise NotFound(
            f"found no decision with run key {self.run_key[:12]} for {self.state.model}",
            "start runs with an empty run_key, or with the one that the decision holds",
        )

    def recipe(self) -> str:
        """The training digest as spec, code and scikit-learn are now."""
        from importlib.metadata import version

        from trimtab.adapters.estimators import code_digest
        from trimtab.core.spec.digests import training_digest

        code = code_digest(self.model.spec.training, self.spec_folder)
        return training_digest(self.model, code, version("scikit-learn"))

    def hold_to_recipe(self) -> None:
        """
        Refuse to fit by another recipe than the decision's: its version would tell of code that it was not made by.

        Raises:
            Invalid: If the user's module or scikit-learn changed between the decision and this attempt.
        """
        if (found := self.recipe()) != self.decision.training_digest:
            raise Invalid(
                f"the training code is not what decision {self.decision.number} was made for: its training digest is "
                f"{found[:12]} now, and was {self.decision.training_digest[:12]}",
                f"nothing to do where the platform runs: the change starts a run of its own; else `trimtab run "
                f"{self.model.name}`",
            )

    @property
    def result(self) -> dict[str, Any]:
        """What the step concluded, now or earlier."""
        assert self.done is not None, f"step {self.name} has not concluded"
        return self.done

    def conclude(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what the step concluded; where another attempt concluded first, that counts."""
        self.done = self.state.data.put_step(self.run_key, self.name, value)
        return self.done

    def earlier(self, step: str) -> dict[str, Any]:
        """What an earlier step of this run concluded. Raises NotFound when it has not."""
        found = self.state.data.step(self.run_key, step)
        if found is None:
            raise NotFound(f"step {self.name} needs what {step} concluded, and it has not", "run the whole pipeline")
        return found

    def key(self) -> str:
        """Where in the state this step's conclusion stands."""
        return self.state.layout.step(self.run_key, self.name)

    def hand_on(self, artifact: Any, key: str, about: Mapping[str, Any]) -> None:
        """
        Write one of KFP's output artifacts: where in the state the thing stands, and what is to be seen of it.

        The artifact keeps the address that KFP gave it, with this small file there: KFP's launcher stores what it
        finds below the run's pipeline root, and fails a step whose artifact stands anywhere else.
        """
        told = {"address": self.state.uri(key), **{name: value for name, value in about.items() if value is not None}}
        _write(artifact, told, json.dumps(told, indent=1))

    def hand_on_page(self, artifact: Any, card: str, about: Mapping[str, Any] | None = None) -> None:
        """The same of a page, which stands in the artifact itself: KFP shows it."""
        told = {"address": self.state.uri(self.state.layout.card(card)), "digest": card, **(about or {})}
        _write(artifact, told, self.state.data.card(card))

    def end_run(self, **outcome: Any) -> Outcome:
        """Conclude the decision; the first outcome counts. Takes Outcome's fields but those every step knows."""
        return self.state.decisions.conclude(
            Outcome(
                number=self.decision.number,
                run_key=self.run_key,
                decided_at=self.decision.decided_at,
                recorded_at=self.now(),
                **outcome,
            )
        )

    @property
    def trusted_types(self) -> tuple[str, ...]:
        return environment.trusted_types()

    @property
    def spec_folder(self) -> str:
        return environment.spec_folder()

    @staticmethod
    def now() -> datetime:
        """The wall clock, for `recorded_at` only."""
        return wall_clock()

    @staticmethod
    def say(line: str) -> None:
        """One line for the run's log."""
        print(line, flush=True)


@contextmanager
def step(name: str, model: str, spec: str, state: str, run_key: str) -> Iterator[Step]:
    """
    Run one step's body.

    What cannot go well by repeating is written down as the run's `failure` before it is raised, so that nobody tries
    again; what may, is only raised.

    Args:
        name: Under which its conclusion is kept.
        model: Name of the ContinuousModel.
        spec: Its YAML text or s3:// address.
        state: `s3://BUCKET/NAMESPACE`.
        run_key: Of the decision; empty only for the step that makes the decision.
    """
    opened, run, began = None, None, time.perf_counter()
    try:
        buckets = s3.connect()
        opened = State.open(buckets, state, model)
        text, parsed = specs.fetch(spec, lambda: buckets)
        if parsed.name != model:
            raise Invalid(f"the run is for {model}, and its spec describes {parsed.name}", "start it with one name")
        _limit_threads(parsed.spec.training.threads)
        done = opened.data.step(run_key, name) if run_key else None
        run = Step(name, parsed, text, buckets, opened, run_key, done)
        yield run
    except TRANSIENT:
        raise
    except Exception as error:
        known = run.run_key if run else run_key
        if opened is not None and known:
            opened.data.put_step(known, "failure", failure(name, error, time.perf_counter() - began))
        raise


def failure(name: str, error: Exception, seconds: float) -> dict[str, Any]:
    """What is kept of an error that repeating would only repeat; the seconds it cost count against the budget."""
    said = str(error) if isinstance(error, TrimtabError) else f"{type(error).__name__}: {error}"
    return {"step": name, "permanent": True, "error": said, "seconds": seconds}


def _limit_threads(threads: int) -> None:
    """Before NumPy and scikit-learn are imported, which read these once."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


def _write(artifact: Any, told: Mapping[str, Any], text: str) -> None:
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    artifact.metadata.update(told)
