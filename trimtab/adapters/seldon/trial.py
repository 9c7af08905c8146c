"""
One artifact tried out in the serving environment: `python -P -m trimtab.adapters.seldon.trial`, run by its interpreter.

It answers by what the model server answers by: the request's body read and checked, predicted, written, logged.

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
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np
import sklearn
import skops
import skops.io

from trimtab.adapters import environment, user_code
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.spec import load as load_spec
from trimtab.serving import seldon_payload
from trimtab.serving.answering import Answering, Asked, Reply, parse
from trimtab.serving.encoded import encoded
from trimtab.serving.loader import load
from trimtab.serving.meters import Meters
from trimtab.serving.served import Served

OK = 200
PARENT_CHECK_SECONDS = 0.5
PACKAGES = {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "numpy": np.__version__}


class Trial:
    """The commands, by the names that `check.py` asks for them with; rows come as JSON objects."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._answering: Answering | None = None
        self._lines: list[bytes] = []  # of the prediction log

    def load(self, path: str, digest: str, spec: str) -> dict[str, Any]:
        """The artifact, by its digest, with the operator's list of trusted types and the user's own module."""
        model = load_spec(spec)
        module = model.spec.training.estimator.partition(":")[0]
        if module.partition(".")[0] != "sklearn":
            user_code.load_module(module, environment.spec_folder())
        began = time.perf_counter()
        self._pipeline = load(path, digest, environment.trusted_types())
        served = Served(model.name, 0, model.spec.data, self._pipeline)
        served.warm_up()
        self._answering = Answering(served, self._lines.extend, Meters(1, {}))
        return {"seconds": time.perf_counter() - began}

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """All the rows in one request."""
        return self._answered(_body(rows))

    def single(self, rows: list[dict[str, Any]], warm_up: int, requests: int, seconds: float) -> dict[str, Any]:
        """
        Requests of one row each, in turn, from the body's bytes to the answer's: every row's answer, and the seconds.

        Stops after `seconds`, once every row had its turn.
        """
        bodies = [_body([row]) for row in rows]
        for number in range(warm_up):
            self._answered(bodies[number % len(bodies)])
        answers, taken = [], []
        until = time.perf_counter() + seconds
        for number in range(max(requests, len(bodies))):
            body = bodies[number % len(bodies)]
            began = time.perf_counter()
            reply = self._ask(body)
            taken.append(time.perf_counter() - began)
            line = self._kept(reply)
            if number < len(bodies):
                answers.append(line)
            elif time.perf_counter() > until:
                break
        return {"answers": answers, "seconds": taken}

    def encode(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What the estimator is given of the rows, by column."""
        schema = self._loaded.served.schema
        checked = schema.check(seldon_payload.read({"jsonData": rows}, schema.features, schema.known))
        return {"columns": encoded(self._pipeline, schema.arrays(checked.encoded))}

    def _answered(self, body: bytes) -> dict[str, Any]:
        return self._kept(self._ask(body))

    def _ask(self, body: bytes) -> Reply:
        return self._loaded.predict(lambda: parse(body), Asked("check"))

    def _kept(self, reply: Reply) -> dict[str, Any]:
        """What the log keeps of an answer, which is what the answer says. Raises Invalid if it says none."""
        if reply.code != OK:
            raise Invalid(str(json.loads(reply.body)["status"]["info"]))
        line: dict[str, Any] = json.loads(self._lines.pop())
        return {"predictions": line["predictions"], "scores": line["scores"]}

    @property
    def _loaded(self) -> Answering:
        if self._answering is None:
            raise Invalid("no artifact was loaded")
        return self._answering


def _body(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"jsonData": rows}, allow_nan=False).encode()


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
