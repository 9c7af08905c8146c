"""What `core.trigger.decide` takes and gives, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from trimtab.core.spec.model import Triggers

Reason = Literal["onDemand", "trainingDigest", "performance", "drift", "schedule", "upload"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the spec says about when to train."""

    name: str
    triggers: Triggers
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One ingested object that no training run was offered yet."""

    entry: str  # ledger id
    seen: datetime  # wall clock
    rows: int  # valid rows with a target
    matures: datetime | None = None  # policy clock: when its newest label may be trusted; None: at once


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, whoever started it."""

    number: int
    reason: str
    training_digest: str
    started: datetime  # policy clock
    ended: datetime | None = None  # policy clock
    outcome: str = ""  # empty while it goes on
    training_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sign:
    """
    What was measured and speaks for training: drift, or a champion proven worse.

    Attributes:
        ids: Name the evidence; a sign none of whose ids is new has fired before.
        sentence: What was found, with figures.
        figures: The numbers, for the decision's evidence.
    """

    ids: tuple[str, ...]
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a decision is made from; `core.observation.observe` gathers it from the state's records."""

    wall: datetime
    training_digest: str  # of the spec and code as they are now
    arrivals: tuple[Arrival, ...] = ()  # in order of arrival
    arriving: tuple[datetime, ...] = ()  # wall clock: when objects were seen that are not taken in yet
    runs: tuple[Run, ...] = ()  # by number
    requests: tuple[str, ...] = ()  # runs asked for by `trimtab run` and not answered yet
    ingested: int = 0  # objects with labelled rows, offered or not
    since: datetime | None = None  # policy clock: when the first object was taken in
    champion: int | None = None  # version
    champion_digest: str = ""  # training digest of the champion
    drift: tuple[Sign, ...] = ()  # of uploads, and of what the model is asked
    performance: Sign | None = None
    spent: frozenset[str] = frozenset()  # ids of the evidence that runs were started on
    rollout: str = ""  # the rollout that answers users with its challenger; empty while none does
    fix_data: str = ""  # why the newest report says that the data has to be fixed; empty when it does not


@dataclass(frozen=True, slots=True)
class StartRun:
    """Train now, on everything that has arrived; `entries` are the objects that this run is the first to be offered."""

    reason: Reason
    entries: tuple[str, ...]
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Something would fire and is held back. `until` is on the named clock; None: until something else happens."""

    until: datetime | None
    reason: str
    clock: Literal["policy", "wall"] = "policy"


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing calls for a run."""

    reason: str


Verdict = StartRun | Wait | Ignore
