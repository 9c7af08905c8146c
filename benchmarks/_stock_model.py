"""The peer of serving_throughput.py: the plainest model class of Seldon's documentation, over the same artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trimtab.serving.loader import load


class StockModel:
    """Run by `seldon-core-microservice benchmarks._stock_model.StockModel`; the artifact's path and digest are told."""

    def __init__(self) -> None:
        self._pipeline: Any = None

    def load(self) -> None:
        self._pipeline = load(Path(os.environ["STOCK_ARTIFACT"]), os.environ["STOCK_DIGEST"])

    def predict(self, X: Any, names: list[str], meta: Any = None) -> Any:  # noqa: N803 - Seldon's own name
        columns = {name: X[:, place] for place, name in enumerate(names)}
        return self._pipeline.predict(columns)
