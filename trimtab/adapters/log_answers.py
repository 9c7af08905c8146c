"""What was answered, as the prediction log tells it: where no router's own log can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from trimtab.adapters.state import State
from trimtab.adapters.state.logs import read_lines
from trimtab.core.ports import Answer
from trimtab.core.predictions import PredictionLine

AT_ONCE = 4 << 20  # bytes of the log
NEVER = datetime.max.replace(tzinfo=UTC)  # so long after its time no segment was put: all are passed over unread


class LogAnswers:
    """
    `TrafficSplit.answers` from the model servers' own log.

    It knows no request that never reached a model server: Prometheus does (`adapters.prometheus`).
    """

    def __init__(self, state: State) -> None:
        self._log = state.predictions

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        """
        As `TrafficSplit.answers`. The log is read by segments, so a call may give more than `limit`.

        Raises:
            Unavailable: If the store does not answer.
        """
        if not position:
            _, reached = self._log.read({}, since=NEVER)
            return [], json.dumps(reached, sort_keys=True)
        segments, reached = self._log.segments.read(json.loads(position), limit_bytes=AT_ONCE)
        found = [
            Answer(
                at=line.at,
                version=line.version,
                failed=line.kind == "failure",
                seconds=line.seconds,
                request_id=line.id,
                teller=segment.writer,
            )
            for segment in segments
            for line in read_lines([segment])[0]
            if isinstance(line, PredictionLine) and not line.shadow
        ]
        return sorted(found, key=lambda answer: (answer.at, answer.request_id)), json.dumps(reached, sort_keys=True)
