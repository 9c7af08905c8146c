"""
A recipe fitted on some rows, and the digest of what came out; in a process of its own, to see whether it is the same.

`python -P -m trimtab.adapters.fitting` reads one JSON object from standard input: `spec` (YAML text), `folder` of the
user's modules, `rows` (a parquet file); it prints the artifact's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import polars as pl

from trimtab.adapters import columns as tables
from trimtab.adapters import estimators
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.spec import load
from trimtab.core.spec.model import ContinuousModel
from trimtab.serving import artifact, assembly


def fit_rows(model: ContinuousModel, rows: pl.DataFrame, spec_folder: str) -> Any:
    """
    The spec's pipeline, fitted on labelled rows.

    Raises:
        Invalid: If the estimator cannot be built or refuses the rows: what it said.
    """
    data, training = model.spec.data, model.spec.training
    columns = tables.schema_columns(data)
    pipeline = assembly.assemble(columns, estimators.build(training, spec_folder), training.input)
    target = tables.labels(tables.truth(rows, data), tables.classes(data))
    try:
        return assembly.fit(pipeline, tables.to_columns(rows, columns), target, training.threads)
    except (TrimtabError, MemoryError):
        raise
    except Exception as error:
        raise Invalid(
            f"{training.estimator} failed on {rows.height} rows: {type(error).__name__}: {error}",
            "look at training.parameters and at the columns' types",
        ) from error


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the user's code prints is not the digest
    asked = json.load(sys.stdin)
    pipeline = fit_rows(load(asked["spec"]), pl.read_parquet(asked["rows"], glob=False), asked["folder"])
    said.write(hashlib.sha256(artifact.dumps(pipeline)).hexdigest())
    said.close()


if __name__ == "__main__":
    main()
