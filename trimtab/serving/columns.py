"""Features as the serving code takes them, by name; apart from the encoder, which needs scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, Any]  # arrays or series by name; a data frame of pandas or polars works as one


@dataclass(frozen=True, slots=True)
class Coded:
    """A category column by code: `values[code]`, and a code below 0 for missing. Cheaper than the words themselves."""

    codes: NDArray[np.integer[Any]]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)
