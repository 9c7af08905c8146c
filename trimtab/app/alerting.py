"""
Alerts: the journal read behind the loop's back, each event told to each receiver.

A thread a receiver, so that a dead one holds up neither the loop nor the others. How far it has told stands in the
store: after a restart it goes on from there, and only a kill in the instant between sending and writing tells twice.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trimtab.adapters.alerts import Receiver
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.core.alerting import event_of, text
from trimtab.core.errors import Conflict, TrimtabError, Unavailable
from trimtab.core.records import JournalEntry, Record
from trimtab.core.spec.model import ContinuousModel

LOOK_SECONDS = 1.0
PAUSES = (1.0, 5.0, 25.0)  # seconds before a message is tried again; then it is given up, and the next one has its turn
AWAY_SECONDS = 5.0  # before a store that did not answer is asked again
STOP_SECONDS = 15.0  # a message that is being sent ends by its own time limits
log = logging.getLogger("trimtab.alerts")


class Told(Record):
    """`current/alerts-VARIABLE.json`: the journal's entries up to `number` were told, or given up."""

    number: int
    given_up: int = 0
    nonce: str = ""


class Alerting:
    """
    All receivers of one model, from `start` to `stop`.

    Args:
        state: The model's.
        model: The spec.
        acts: Whether this process works for the model; others stay silent.
        pauses: Before each further attempt, seconds.

    Raises:
        Invalid: If a variable that the spec names is not set, or holds no address.
    """

    def __init__(
        self, state: State, model: ContinuousModel, acts: Callable[[], bool], pauses: Sequence[float] = PAUSES
    ) -> None:
        self._acts = acts
        self._ending = threading.Event()
        self._lines = [Line(variable, lambda: state, asked, pauses) for variable, asked in asked_of(model).items()]
        for line in self._lines:
            line.open()
        self._threads = [
            threading.Thread(target=self._work, args=(line,), name=f"trimtab-alerts-{line.variable}", daemon=True)
            for line in self._lines
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(STOP_SECONDS)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be told last, a line a receiver."""
        return tuple(line.problem for line in self._lines if line.problem)

    def _work(self, line: Line) -> None:
        pause: float | None = None
        while not self._ending.wait(LOOK_SECONDS if pause is None else pause):
            pause = line.look() if self._acts() else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What one receiver is told: these events; and what of drift is one of them, as `core.alerting.event_of` says."""

    events: frozenset[str]
    drift_alarms: bool


def asked_of(model: ContinuousModel) -> Mapping[str, Asked]:
    """By variable; an address that is named twice gets what either asks for."""
    alarms = model.spec.triggers.drift is not None
    found: dict[str, Asked] = {}
    for alert in model.spec.alerts:
        before = found.get(alert.url_from.env, Asked(frozenset(), alarms))
        found[alert.url_from.env] = Asked(before.events | frozenset(alert.events), alarms)
    return found


class Line:
    """
    What is told to one receiver of one model, look by look; used by one thread at a time.

    Args:
        variable: Of the environment, which holds the address.
        state: Gives the model's.
        words: A message as its readers type its commands.
        pauses: Before each further attempt, seconds.

    Attributes:
        asked: May change between two looks.
        problem: What could not be told last; empty when the last message was accepted.
    """

    def __init__(
        self,
        variable: str,
        state: Callable[[], State],
        asked: Asked,
        pauses: Sequence[float] = PAUSES,
        words: Callable[[str], str] = str,
    ) -> None:
        self.variable = variable
        self.asked = asked
        self._state = state
        self._pauses = pauses
        self._words = words
        self._receiver: Receiver | None = None
        self._tries = 0  # of the message that was not accepted
        self._since = wall_clock()
        self.problem = ""

    def open(self) -> Receiver:
        """
        The receiver, from the first call on.

        Raises:
            Invalid: If the variable is not set, or holds no address.
        """
        self._receiver = self._receiver or Receiver(self.variable)
        return self._receiver

    def look(self) -> float | None:
        """
        Tell what was journalled since the last look, oldest first.

        Returns:
            In how many seconds to try again what was not accepted, or could not be read; None: nothing waits.
        """
        try:
            return self._tell_new(self.open(), self._state())
        except Unavailable as error:
            log.info("alerts wait for the store: %s", error.message)
            return AWAY_SECONDS
        except Conflict:
            return LOOK_SECONDS  # another process told meanwhile: its position counts
        except TrimtabError as error:
            self.problem = f"alerts to {self.variable}: {error.message}"
        except Exception as error:
            # Of a receiver's library anything may come, with the address in it: only its kind is told.
            log.error("telling %s failed: %s", self.variable, type(error).__name__)
            self.problem = f"alerts to {self.variable}: unexpected {type(error).__name__}"
        return None

    def _tell_new(self, receiver: Receiver, state: State) -> float | None:
        key = state.layout.current(f"alerts-{self.variable}")
        found = state.bucket.find(key)
        if found is None:
            # The first start with this receiver: what happened before is no news.
            state.bucket.create(key, _body(state.journal.last_before(self._since), 0))
            return 0.0
        told = Told.from_json(found.body, key)
        etag, given_up, reached = found.etag, told.given_up, told.number
        last = reached
        for entry in state.journal.after(told.number):
            last = entry.number
            event = event_of(entry, self.asked.drift_alarms)
            if event is None or event not in self.asked.events:
                continue
            pause = self._send(receiver, *text(state.model, event, entry), entry)
            if pause is not None:
                return pause
            given_up += bool(self.problem)
            etag, reached = state.bucket.replace(key, _body(entry.number, given_up), etag), entry.number
        if last > reached:
            state.bucket.replace(key, _body(last, given_up), etag)
        return None

    def _send(self, receiver: Receiver, title: str, body: str, entry: JournalEntry) -> float | None:
        """In how many seconds it is tried again; None once it was accepted, or given up with a `problem`."""
        try:
            receiver.tell(title, self._words(body))
        except Unavailable as error:
            self.problem = f"journal entry {entry.number} could not be told: {error.message}"
        else:
            self.problem, self._tries = "", 0
            return None
        if self._tries < len(self._pauses):
            self._tries += 1
            return self._pauses[self._tries - 1]
        log.warning("%s; given up", self.problem)
        self._tries = 0
        return None


def _body(number: int, given_up: int) -> bytes:
    return Told(number=number, given_up=given_up, nonce=uuid.uuid4().hex).to_json()
