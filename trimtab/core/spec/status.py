"""What the custom resources say of themselves: the fields of their status, and the columns that kubectl shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`, or of `kubectl get -o wide` alone."""

    title: str
    type: str
    path: str
    wide: bool = False


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _number(description: str) -> dict[str, Any]:
    return {"type": "integer", "format": "int64", "description": description}


def _time(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "date-time", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


MODEL_STATUS: dict[str, Any] = {
    "champion": _number("The version that serves."),
    "servingSince": _time("When it became champion."),
    "trainedUntil": _time("Event time of the newest row that it learned from."),
    "challenger": _number("The version that is to prove itself."),
    "run": _text("The decision that is being executed."),
    "runId": _text("Its run in Kubeflow Pipelines."),
    "runSince": _time("When that run was started."),
    "waiting": _text("Why there is no run."),
    "waitingUntil": _time("What is waited for, where it is a moment."),
    "rollout": _text("The ModelRollout that goes on."),
    "rolloutPhase": _text("Its phase."),
    "rolloutWeightPercent": _number("The share of the traffic that the challenger answers, in per cent."),
    "lastRun": _text("The last decision that ended."),
    "lastRunEnded": _time("When it ended."),
    "uploads": {
        "type": "object",
        "additionalProperties": {"type": "integer", "format": "int64"},
        "description": "Uploads by what became of them.",
    },
    "decisions": _number("Decisions so far."),
    "nextMove": _text("What a person should do; empty when nothing."),
    "problems": _texts("What does not work just now."),
    "anomalies": _texts("What is out of the ordinary in what is served."),
}
ROLLOUT_STATUS: dict[str, Any] = {
    "phase": {
        "type": "string",
        "description": "Pending, Shadow, Canary, Paused, Held (not enough evidence), Promoted, RolledBack (harm "
        "proven), Aborted, Superseded or Error (could not measure or act).",
    },
    "step": _number("The step it is in, from 1."),
    "steps": _number("Steps in all."),
    "weightPercent": _number("The share of the traffic that the challenger answers, in per cent."),
    "shadow": {"type": "boolean", "description": "Whether the challenger gets a copy of the traffic."},
    "champion": _text("Who answers the rest."),
    "challenger": _text("Who is to take over."),
    "reason": _text("Why it stands where it does."),
    "started": _time("When it was taken up."),
    "ended": _time("When it ended."),
    "evidence": _text("Where all that was measured stands."),
    "tests": _texts("How far each test is, with its e-value."),
}
# What serves, how far the rollout is, and why.
MODEL_COLUMNS = (
    Column("Champion", "integer", ".status.champion"),
    Column("Run", "string", ".status.run"),
    Column("Rollout", "string", ".status.rollout"),
    Column("Phase", "string", ".status.rolloutPhase"),
    Column("Weight", "integer", ".status.rolloutWeightPercent"),
    Column("Waiting", "string", ".status.waiting"),
    Column("Accepted", "string", ".status.conditions[?(@.type=='Accepted')].status"),
    Column("Why", "string", ".status.conditions[?(@.type=='Accepted')].message", wide=True),
    Column("Next", "string", ".status.nextMove", wide=True),
    Column("Age", "date", ".metadata.creationTimestamp"),
)
ROLLOUT_COLUMNS = (
    Column("Phase", "string", ".status.phase"),
    Column("Champion", "string", ".status.champion"),
    Column("Challenger", "string", ".status.challenger"),
    Column("Weight", "integer", ".status.weightPercent"),
    Column("Step", "integer", ".status.step"),
    Column("Of", "integer", ".status.steps"),
    Column("Reason", "string", ".status.reason"),
    Column("Evidence", "string", ".status.evidence", wide=True),
    Column("Age", "date", ".metadata.creationTimestamp"),
)
