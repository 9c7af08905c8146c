"""
The check that an artifact passes before it may serve: loaded in the serving environment, sent rows it has not learned
as a client would send them, it gives the trainer's predictions, many at once and one alone, and soon enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters.json_rows import telling, to_json_rows
from trimtab.adapters.models import predict_rows
from trimtab.adapters.seldon.check import GET_ONE, NO_ENVIRONMENT, Refused, ServingProcess, interpreter
from trimtab.core.errors import Invalid
from trimtab.core.scoring import Prediction
from trimtab.core.serving_check import ServingCheck, compare, differing_inputs, percentile_milliseconds
from trimtab.core.spec.dump import dump
from trimtab.core.spec.model import ContinuousModel
from trimtab.serving.encoded import encoded
from trimtab.serving.predict import Classes

ROWS = 300  # predicted in one request
SINGLE_ROWS = 100  # predicted alone, and compared too
WARM_UP, REQUESTS = 20, 300  # of one row; 300 have three beyond their 99th percentile
SECONDS = 2.0  # for the timed requests, where a model is slow
ROUNDS = 3  # a neighbour on the machine makes latencies longer, never shorter: the best round counts


@dataclass(frozen=True)
class Served:
    """What answers in the serving environment, and the model it is to be checked for; no process, no check."""

    model: ContinuousModel
    process: ServingProcess | None

    def check(self, pipeline: Any, artifact: Path, digest: str, rows: pl.DataFrame) -> ServingCheck:
        """
        Check one artifact.

        Args:
            pipeline: The trainer's own, of which the artifact was written.
            artifact: The file.
            digest: Its SHA-256.
            rows: Rows of a dataset, best those it has not learned; some hundred of them are taken.

        Raises:
            Invalid: If the serving environment is damaged, or holds another scikit-learn than this one.
            Unavailable: If the process was killed or did not start in time.
        """
        limit = self.model.spec.evaluation.max_latency_p99_milliseconds
        made = partial(ServingCheck, limit_milliseconds=limit)
        if self.process is None:
            return made(made=False, note=f"{NO_ENVIRONMENT}; {GET_ONE}")
        if rows.is_empty():
            return made(made=False, note="there is no row to predict")
        packages = self._packages(self.process)
        try:
            found = self._measured(self.process, pipeline, artifact, digest, rows)
        except Refused as error:
            hint = f"; {error.hint}" if error.hint else ""
            return made(made=True, packages=packages, problem=f"it cannot be served: {error.message}{hint}")
        return made(made=True, packages=packages, **found)

    def _packages(self, process: ServingProcess) -> dict[str, str]:
        import sklearn

        packages = process.packages()
        if packages["scikit-learn"] != sklearn.__version__:
            raise Invalid(
                f"{process.python} holds scikit-learn {packages['scikit-learn']}, and models are trained with "
                f"{sklearn.__version__}: what one writes the other may read otherwise",
                "build the serving environment anew: delete its folder, then `make demo` or `make test` builds it",
            )
        return packages

    def _measured(
        self, process: ServingProcess, pipeline: Any, artifact: Path, digest: str, rows: pl.DataFrame
    ) -> dict[str, Any]:
        data = self.model.spec.data
        classes = tables.classes(data)
        process.ask("load", path=str(artifact), digest=digest, spec=dump(self.model))
        chosen = telling(rows, data, ROWS)
        sent = to_json_rows(chosen, data.features)
        ours = _answerable(predict_rows(pipeline, chosen, data))
        served = _prediction([process.ask("predict", rows=sent)], classes)
        difference, largest = compare(ours, served, classes)
        found = {"rows": chosen.height, "largest_difference": largest}
        if difference is not None:
            where = self._inputs(process, pipeline, chosen, sent, difference.row)
            return found | {"problem": self._differs(difference, chosen, "", where)}
        few = np.unique(np.linspace(0, chosen.height - 1, min(SINGLE_ROWS, chosen.height)).astype(int))
        alone, taken = self._alone(process, [sent[place] for place in few])
        picked = np.zeros(chosen.height, dtype=bool)
        picked[few] = True
        difference, apart = compare(ours.rows(picked), alone, classes)
        found |= {
            "largest_difference": max(largest, apart),
            "requests": len(taken),
            "p50_milliseconds": percentile_milliseconds(taken, 50),
            "p99_milliseconds": percentile_milliseconds(taken),
        }
        if difference is not None:
            what = f" when asked for one row alone; of {chosen.height} together they are right"
            return found | {"problem": self._differs(difference, chosen.filter(picked), what, "")}
        slow = self._slow(percentile_milliseconds(taken), len(taken))
        return found | {"problem": slow, "too_slow": bool(slow)}

    def _alone(self, process: ServingProcess, sent: list[dict[str, Any]]) -> tuple[Prediction, list[float]]:
        """Answers to requests of one row, and the seconds they took in the best round."""
        limit = self.model.spec.evaluation.max_latency_p99_milliseconds
        best: list[float] = []
        answers: list[dict[str, Any]] = []
        for _ in range(ROUNDS):
            found = process.ask("single", rows=sent, warm_up=WARM_UP, requests=REQUESTS, seconds=SECONDS)
            answers = answers or found["answers"]
            if not best or percentile_milliseconds(found["seconds"]) < percentile_milliseconds(best):
                best = found["seconds"]
            if limit is None or percentile_milliseconds(best) <= limit:
                break
        return _prediction(answers, tables.classes(self.model.spec.data)), best

    def _slow(self, p99: float, requests: int) -> str:
        limit = self.model.spec.evaluation.max_latency_p99_milliseconds
        if limit is None or p99 <= limit:
            return ""
        return (
            f"too slow in the serving environment: p99 {p99:.3g} ms over {requests} requests of one row, and "
            f"evaluation.maxLatencyP99Milliseconds is {limit:g}; take a smaller model, or allow more"
        )

    def _differs(self, found: Any, rows: pl.DataFrame, what: str, where: str) -> str:
        when = rows[self.model.spec.data.timestamp][found.row]
        return (
            f"predicts otherwise in the serving environment{what}: {found.rows} of {rows.height} rows differ, most the "
            f"row of {when:%Y-%m-%d %H:%M:%S}, whose {found.output} is {found.ours:.12g} where it was trained and "
            f"{found.served:.12g} there{where}"
        )

    def _inputs(
        self, process: ServingProcess, pipeline: Any, rows: pl.DataFrame, sent: list[dict[str, Any]], place: int
    ) -> str:
        """Whether the row was read otherwise, and then which fields."""
        there = process.ask("encode", rows=[sent[place]])["columns"]
        own = tables.to_columns(rows[[place]], pipeline.named_steps["encode"].columns)
        lines = differing_inputs(_first(encoded(pipeline, own)), _first(there))
        if lines:
            return f"; read otherwise: {'; '.join(lines[:5])}"
        return "; every field of it is read alike, so the estimator itself depends on where it runs"


@contextmanager
def started(model: ContinuousModel, spec_folder: str = "", trusted_types: Iterable[str] = ()) -> Iterator[Served]:
    """
    The serving environment, starting up while the caller goes on; ended with the context.

    Raises:
        Invalid: If there is none, and the spec limits the latency that only it can measure.
    """
    python = interpreter(model)
    if python is None:
        yield Served(model, None)
        return
    with ServingProcess(python, spec_folder, trusted_types) as process:
        yield Served(model, process)


def _answerable(said: Prediction) -> Prediction:
    """What an answer holds of a prediction: scores only where they are probabilities."""
    return said if said.probability else Prediction(said.values, None, False, said.classes)


def _prediction(answers: list[dict[str, Any]], classes: Classes) -> Prediction:
    """Of one answer, or of several put together; a class that the schema does not know is no answer."""
    said = [value for answer in answers for value in answer["predictions"]]
    place = {value: float(code) for code, value in enumerate(classes)}
    values = np.array([place[value] for value in said] if classes else said, dtype=np.float64)
    if answers[0]["scores"] is None:
        return Prediction(values, None, False, len(classes))
    scores = np.array([row for answer in answers for row in answer["scores"]], dtype=np.float64)
    return Prediction(values, scores, True, len(classes))


def _first(columns: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: values[0] for name, values in columns.items()}
