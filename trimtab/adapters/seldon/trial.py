"""
One artifact tried out in the serving environment: `python -P -m trimtab.adapters.seldon.trial`, run by its interpreter.

A child of whoever checks. Commands come as lines of JSON on standard input, answers go as lines of JSON to what was
standard output; what the user's own code prints goes to standard error. It needs no store and is told no key.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import sklearn
import skops
import skops.io

from trimtab.adapters import environment, user_code
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.scoring import Prediction
from trimtab.serving.encoded import encoded
from trimtab.serving.loader import load
from trimtab.serving.predict import Classes, predict

PARENT_CHECK_SECONDS = 0.5
PACKAGES = {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "numpy": np.__version__}


@dataclass
class Loaded:
    """A fitted pipeline with what a request needs to know of it."""

    pipeline: Any
    columns: tuple[str, ...]
    classes: Classes

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Prediction:
        """Of rows as JSON gives them."""
        columns = {name: [row.get(name) for row in rows] for name in self.columns}
        return predict(self.pipeline, columns, self.classes)


class Trial:
    """The commands, by the names that `check.py` asks for them with."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    def load(self, path: str, digest: str, module: str, classes: list[Any]) -> dict[str, Any]:
        """The artifact, by its digest, with the operator's list of trusted types and the user's own module."""
        if module.partition(".")[0] != "sklearn":
            user_code.load_module(module, environment.spec_folder())
        began = time.perf_counter()
        pipeline = load(path, digest, environment.trusted_types())
        names = tuple(name for name, _, _ in pipeline.named_steps["encode"].used)
        self._loaded = Loaded(pipeline, names, tuple(classes))
        return {"seconds": time.perf_counter() - began}

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """All the rows in one request."""
        return _plain(self._model.predict(rows))

    def single(self, rows: list[dict[str, Any]], warm_up: int, requests: int, seconds: float) -> dict[str, Any]:
        """
        Requests of one row each, in turn, from JSON text to JSON text: every row's answer, and what each took.

        Stops after `seconds`, once every row had its turn.
        """
        bodies = [json.dumps(row) for row in rows]
        for body in (bodies[number % len(bodies)] for number in range(warm_up)):
            self._answer(body)
        answers, taken = [], []
        until = time.perf_counter() + seconds
        for number in range(max(requests, len(bodies))):
            began = time.perf_counter()
            answer = self._answer(bodies[number % len(bodies)])
            taken.append(time.perf_counter() - began)
            if number < len(bodies):
                answers.append(answer)
            elif time.perf_counter() > until:
                break
        return {"answers": [json.loads(answer) for answer in answers], "seconds": taken}

    def encode(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What the estimator is given of the rows, by column."""
        columns = {name: [row.get(name) for row in rows] for name in self._model.columns}
        return {"columns": encoded(self._model.pipeline, columns)}

    def _answer(self, body: str) -> str:
        return json.dumps(_plain(self._model.predict([json.loads(body)])))

    @property
    def _model(self) -> Loaded:
        if self._loaded is None:
            raise Invalid("no artifact was loaded")
        return self._loaded


def _plain(prediction: Prediction) -> dict[str, Any]:
    scores = prediction.scores
    return {
        "values": prediction.values.tolist(),
        "scores": None if scores is None else scores.tolist(),
        "probability": prediction.probability,
        "classes": prediction.classes,
    }


def main() -> None:
    """Answer until standard input ends, or the parent has."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what user code prints must not stand between the answers
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    _say(answers, {"packages": {**PACKAGES, "skops": skops.__version__}})
    trial = Trial()
    for line in sys.stdin:
        command = json.loads(line)
        _say(answers, _done(getattr(trial, command.pop("command")), command))


def _done(command: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return command(**arguments)
    except TrimtabError as error:
        return {"error": error.message, "hint": error.hint}
    except Exception as error:
        # The user's estimator may raise anything: it is the candidate that fails, not the check.
        said = (str(error) or "no reason given").splitlines()[0]
        return {"error": f"{type(error).__name__}: {said}", "hint": ""}


def _say(answers: TextIO, value: dict[str, Any]) -> None:
    # Infinity has a word in Python's JSON: both ends of this pipe are Python.
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _end_with_parent(parent: int) -> None:
    """A check that was killed leaves nobody predicting."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
