"""How many requests a model is asked just now, from its prediction log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trimtab.core.predictions import PredictionLine

if TYPE_CHECKING:
    from trimtab.adapters.state import State

# The last minutes, where they say something; else a day, for a model that is seldom asked.
WINDOWS = (timedelta(minutes=15), timedelta(days=1))
ENOUGH = 100
LEAST_SECONDS = 60.0  # of a log that has just begun


def requests_per_hour(state: State, now: datetime) -> float | None:
    """
    Requests an hour, of all variants together, copies for a shadow left out; None where none were logged for a day.

    Raises:
        Unavailable: If the store does not answer.
    """
    for window in WINDOWS:
        since = now - window
        lines, _ = state.predictions.read({}, since=since)
        at = [line.at for line in lines if isinstance(line, PredictionLine) and not line.shadow]
        times = [moment for moment in at if moment >= since.timestamp()]
        if len(times) >= ENOUGH or (times and window == WINDOWS[-1]):
            pieces = state.predictions.segments.pieces().values()
            older = any(piece.modified < since for held in pieces for piece in held)
            seconds = window.total_seconds() if older else now.timestamp() - min(times)
            return 3600 * len(times) / max(seconds, LEAST_SECONDS)
    return None
