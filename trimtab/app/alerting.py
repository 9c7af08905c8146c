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

from trimtab.adapters.alerts import Receiver
from trimtab.adapters.state import State
from trimtab.adapters.state.state import wall_clock
from trimtab.core.alerting import event_of, text
from trimtab.core.errors import Conflict, TrimtabError, Unavailable
from trimtab.core.records import JournalEntry, Record
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.rollout import Alert

LOOK_SECONDS = 1.0
PAUSES = (1.0, 5.0, 25.0)  # seconds before a message is tried again; then it is given up, and the next one has its turn
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
        alarms = model.spec.triggers.drift is not None
        self._lines = [
            Line(state, Receiver(variable), events, alarms, acts, pauses)
            for variable, events in _by_variable(model.spec.alerts).items()
        ]

    def start(self) -> None:
        for line in self._lines:
            line.start()

    def stop(self) -> None:
        for line in self._lines:
            line.end()
        for line in self._lines:
            line.join()

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be told last, a line a receiver."""
        return tuple(line.problem for line in self._lines if line.problem)


def _by_variable(alerts: Sequence[Alert]) -> Mapping[str, frozenset[str]]:
    """Events by variable; an address that is named twice gets what either asks for."""
    found: dict[str, frozenset[str]] = {}
    for alert in alerts:
        found[alert.url_from.env] = found.get(alert.url_from.env, frozenset()) | frozenset(alert.events)
    return found


class Line:
    """The thread of one receiver."""

    def __init__(
        self,
        state: State,
        receiver: Receiver,
        events: frozenset[str],
        drift_alarms: bool,
        acts: Callable[[], bool],
        pauses: Sequence[float],
    ) -> None:
        self._state = state
        self._receiver = receiver
        self._events = events
        self._drift_alarms = drift_alarms
        self._acts = acts
        self._pauses = pauses
        self._key = state.layout.current(f"alerts-{receiver.variable}")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"trimtab-alerts-{receiver.variable}", daemon=True)
        self._since = wall_clock()
        self.problem = ""

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _work(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            if not self._acts():
                continue
            try:
                self._tell_new()
            except Unavailable as error:
                log.info("alerts wait for the store: %s", error.message)
            except Conflict:
                continue  # another process told meanwhile: its position counts
            except TrimtabError as error:
                self.problem = f"alerts to {self._receiver.variable}: {error.message}"
            except Exception as error:
                # Of a receiver's library anything may come, with the address in it: only its kind is told.
                log.error("telling %s failed: %s", self._receiver.variable, type(error).__name__)
                self.problem = f"alerts to {self._receiver.variable}: unexpected {type(error).__name__}"

    def _tell_new(self) -> None:
        entries = self._state.journal.entries()
        found = self._state.bucket.find(self._key)
        if found is None:
            # The first start with this receiver: what happened before is no news.
            before = [entry.number for entry in entries if entry.recorded_at < self._since]
            self._state.bucket.create(self._key, self._body(max(before, default=0), 0))
            return
        told = Told.from_json(found.body, self._key)
        etag, given_up, reached = found.etag, told.given_up, told.number
        for entry in entries:
            if entry.number <= told.number:
                continue
            event = event_of(entry, self._drift_alarms)
            if event in self._events and event is not None:
                sent = self._send(*text(self._state.model, event, entry), entry)
                if self._ending.is_set() and not sent:
                    return  # the next start tells it
                given_up += not sent
                etag, reached = self._write(entry.number, given_up, etag), entry.number
        if entries and entries[-1].number > reached:
            self._write(entries[-1].number, given_up, etag)

    def _send(self, title: str, body: str, entry: JournalEntry) -> bool:
        """Whether it was accepted, at the latest attempt."""
        for pause in (*self._pauses, None):
            try:
                self._receiver.tell(title, body)
            except Unavailable as error:
                self.problem = f"journal entry {entry.number} could not be told: {error.message}"
            else:
                self.problem = ""
                return True
            if pause is None or self._ending.wait(pause):
                break
        log.warning("%s; given up", self.problem)
        return False

    def _write(self, number: int, given_up: int, etag: str) -> str:
        return self._state.bucket.replace(self._key, self._body(number, given_up), etag)

    @staticmethod
    def _body(number: int, given_up: int) -> bytes:
        return Told(number=number, given_up=given_up, nonce=uuid.uuid4().hex).to_json()
