"""What a report tells of a rollout, as values: the weights it took, the evidence beneath, and what users saw of it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from trimtab.core.records import Record

TESTS = ("errors", "mirrored", "latency", "loss", "harmless")
NAMES = {  # of each test, as a reader understands it
    "errors": "failures",
    "mirrored": "failures on copies",
    "latency": "slowness",
    "loss": "worse predictions",
    "harmless": "harmlessness",
}


class Standing(Record):
    """Where one test stood: natural logs of its e-value and of the e-value that proves."""

    log_e: float
    log_needed: float
    champion_units: int = 0
    champion_mean: float | None = None
    challenger_units: int = 0
    challenger_mean: float | None = None

    @property
    def share(self) -> float:
        """
        The e-value as a share of the one that proves, as a natural log: 0 and more is proof.

        >>> round(Standing(log_e=3.0, log_needed=5.0).share, 6)
        -2.0
        """
        return self.log_e - self.log_needed


class Sample(Record):
    """A rollout as the controller saw it at one moment."""

    at: datetime  # stream time
    weight_percent: int
    shadow: bool
    tests: dict[str, Standing] = Field(default_factory=dict)  # by name, of TESTS


class Line(Record):
    """A count that grows over stream time."""

    name: str
    points: tuple[tuple[datetime, float], ...]


class RolloutStory(Record):
    """One rollout, from its proposal to its end."""

    letter: str  # by which the year's plot names it
    name: str  # bikeshare-v7
    version: int
    champion: int
    title: str  # a few words: `becomes slow`
    what: str  # one sentence: what is the matter with this challenger, which the platform was not told
    phase: str  # it ended in: Promoted | RolledBack | ...
    metric: str  # that decided: errors | latency | loss
    verdict: str  # one sentence with its numbers
    kept: bool  # it ended as it should
    began: datetime  # stream time
    ended: datetime
    labels: tuple[datetime, ...] = ()  # stream times at which labels came
    seconds: float  # wall
    requests: int  # that users made while it went on
    answered: int  # of them by the challenger
    bad: int  # of those, answers that users were the worse for
    bad_what: str  # what that is: `failed` | `slower than 50 ms` | `further off than the champion's`
    samples: tuple[Sample, ...]
    tally_title: str = ""
    tally: tuple[Line, ...] = ()  # of what decided: the challenger's, the champion's or what is accepted
    fixed: str = ""  # what a canary with fixed thresholds would have done with the same answers, if it was computed

    @property
    def promoted(self) -> bool:
        return self.phase == "Promoted"


def outcome(story: RolloutStory) -> str:
    """
    How it ended, in two words.

    >>> outcome(RolloutStory.model_construct(phase="RolledBack"))
    'rolled back'
    """
    return {"Promoted": "promoted", "RolledBack": "rolled back"}.get(story.phase, story.phase.lower())
