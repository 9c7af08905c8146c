"""
Bad answers of a challenger whose rollout waits for people, by the prediction log.

At such a rollout the controller looks seldom. Here each new line of the log is only counted: whether the counts prove
anything is for the controller to say, which looks as soon as it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from trimtab.adapters.state import State
from trimtab.core.predictions import Position, PredictionLine
from trimtab.core.rollout.values import Phase, RolloutSpec, RolloutState

GREW = 1.25  # a count that grew by less since the last time moves no test by much
LOG_BYTES = 16 << 20  # at one look
NEVER = datetime.max.replace(tzinfo=UTC)  # so long after its time no segment was put: all are passed over unread
WAITING = (Phase.PAUSED, Phase.HELD)
Judged = Sequence[tuple[RolloutSpec, RolloutState]]


class HarmWatch:
    """Of one model; belongs to one thread."""

    def __init__(self, state: State) -> None:
        self._log = state.predictions
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was answered by now the controller has seen, or will soon."""
        self._number = 0
        self._position: Position = {}
        self._bad = self._said = 0
        self._again = False  # said once more: by then the champion has told of the same seconds

    def look(self, judged: Judged) -> bool:
        """
        Whether a challenger that waits has answered badly notably more often than when that was last said; yes again at
        the look after.

        Args:
            judged: The rollouts that count now, by number.

        Raises:
            Unavailable: If the store does not answer.
        """
        waiting = next((spec for spec, at in judged if at.phase in WAITING), None)
        if waiting is None:
            self.forget()
            return False
        if waiting.number != self._number:
            self.forget()
            self._number = waiting.number
            _, self._position = self._log.read({}, NEVER)
            return False
        lines, self._position = self._log.read(self._position, limit_bytes=LOG_BYTES)
        self._bad += sum(_is_bad(line, waiting) for line in lines)
        again, self._again = self._again, False
        if self._bad < max(self._said + 1, GREW * self._said):
            return again
        self._said, self._again = self._bad, True
        return True


def _is_bad(line: object, spec: RolloutSpec) -> bool:
    """It failed, or took longer than is accepted; nobody waits for the answer to a copy."""
    if not isinstance(line, PredictionLine) or line.version != spec.version:
        return False
    most = spec.max_latency_milliseconds
    slow = most is not None and not line.shadow and line.seconds * 1000 > most
    return line.kind == "failure" or slow
