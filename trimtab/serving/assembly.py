"""
The one pipeline that is trained, stored and served: encoder, what the estimator needs besides, the estimator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from trimtab.serving.columns import Columns
from trimtab.serving.encoder import Encoder

SchemaColumns = tuple[tuple[str, str, tuple[str, ...]], ...]


def assemble(columns: SchemaColumns, estimator: Any, output: str) -> Pipeline:
    """
    The unfitted pipeline.

    With `output` "matrix", an estimator that knows which columns are categories is told so (unless its parameters
    say something themselves); for every other, categories are one-hot encoded (unseen and missing: all zeros), and
    missing numbers are filled with the median where the estimator's tags refuse NaN. With "frame" the estimator
    gets the frame and nothing is added.
    """
    encoder = Encoder(columns, output)
    if output == "frame":
        return Pipeline([("encode", encoder), ("estimate", estimator)])
    if _takes_categories(estimator):
        _tell_categories(encoder, estimator)
        return Pipeline([("encode", encoder), ("estimate", estimator)])
    prepare = _preparation(encoder, estimator)
    steps = [("encode", encoder), *([("prepare", prepare)] if prepare is not None else []), ("estimate", estimator)]
    return Pipeline(steps)


def fit(pipeline: Pipeline, columns: Columns, y: NDArray[Any], threads: int) -> Pipeline:
    """Fit in place with at most `threads` threads in BLAS and OpenMP, whatever the machine offers; returns it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=threads):
        return pipeline.fit(columns, y)


def _takes_categories(estimator: Any) -> bool:
    return "categorical_features" in estimator.get_params(deep=False)


def _tell_categories(encoder: Encoder, estimator: Any) -> None:
    parameters = estimator.get_params(deep=False)
    # A bin a value: a category with more values than bins is left as a number in the schema's order.
    bins = parameters.get("max_bins", 255)
    mask = [kind == "category" and len(values) <= bins for _, kind, values in encoder.used]
    if parameters["categorical_features"] in (None, "from_dtype") and any(mask):
        estimator.set_params(categorical_features=mask)


def _preparation(encoder: Encoder, estimator: Any) -> Any:
    """One-hot encoding and imputation as the estimator's tags demand, or None when nothing is needed."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.utils import get_tags

    tags = get_tags(estimator).input_tags
    categories = [index for index, is_category in enumerate(encoder.categorical) if is_category]
    numbers = [index for index, is_category in enumerate(encoder.categorical) if not is_category]
    if tags.allow_nan and not categories:
        return None
    codes = [np.arange(len(encoder.used[index][2]), dtype=np.float64) for index in categories]
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers:
        fill = "passthrough" if tags.allow_nan else SimpleImputer(strategy="median", keep_empty_features=True)
        parts.append(("numbers", fill, numbers))
    if categories:
        one_hot = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=bool(tags.sparse))
        parts.append(("categories", one_hot, categories))
    return ColumnTransformer(parts, sparse_threshold=0.3 if tags.sparse else 0.0)
