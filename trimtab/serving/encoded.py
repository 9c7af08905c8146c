"""What an estimator is given of some rows, as plain values: to tell two readings of the same row apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab.serving.columns import Columns


def encoded(pipeline: Any, columns: Columns) -> dict[str, list[Any]]:
    """
    By column, as the pipeline's encoder makes them.

    Returns:
        Numbers, text, and None where a value is missing.
    """
    encoder = pipeline.named_steps["encode"]
    made = encoder.transform(columns)
    names = [name for name, _, _ in encoder.used]
    if isinstance(made, np.ndarray):
        return {name: [_cell(value) for value in made[:, place].tolist()] for place, name in enumerate(names)}
    return {name: [_cell(value) for value in made[name].tolist()] for name in names}


def _cell(value: Any) -> Any:
    if value is None or value != value or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value if isinstance(value, float | int | str) else str(value)
