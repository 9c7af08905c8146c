"""
Labels as they come to a running platform: by the API, and as files under `labels.source`.

Beside them the logs are kept small: one thread looks for files and, by a lease of its own, compacts segments.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from polars.exceptions import PanicException

from trimtab.adapters.labels import LabelFile, known_label_files, label_file_id, list_label_files, take_in_labels
from trimtab.adapters.state.compaction import compact_leased
from trimtab.adapters.state.lease import Lease
from trimtab.core.errors import Invalid, TrimtabError, Unavailable
from trimtab.core.labels import read_label
from trimtab.core.spec.units import split_s3

if TYPE_CHECKING:
    from trimtab.adapters.state import State
    from trimtab.core.ports import Buckets, Clock
    from trimtab.core.predictions import Label
    from trimtab.core.spec.model import ContinuousModel, Data

COMPACTION_SECONDS = 60.0
STOP_SECONDS = 30.0
EXAMPLE = (
    '{"labels": [{"requestId": "ID OF THE REQUEST", "row": 0, "TARGET": VALUE, "labelTime": "2026-03-01T12:00:00Z"}]}'
)
log = logging.getLogger("trimtab.labels")


def parse_labels(body: bytes, data: Data, received: datetime) -> list[Label]:
    """
    The labels of a request's body; all of them, or none where one is wrong.

    Raises:
        Invalid: Says which label and field, what was found and what was needed.
    """
    needed = f"needed {EXAMPLE.replace('TARGET', data.target)}"
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"found no JSON ({error}); {needed}", "row and labelTime may be left out") from error
    items = found.get("labels") if isinstance(found, dict) else None
    if not isinstance(items, list) or not items:
        raise Invalid(f"found no list of labels; {needed}", "row and labelTime may be left out")
    labels = []
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise Invalid(f"labels[{place}]: found {str(item)[:80]!r}; {needed}")
        try:
            labels.append(read_label(item, data, received))
        except Invalid as error:
            hint = f"{error.hint}; nothing of this request was kept".removeprefix("; ")
            raise Invalid(f"labels[{place}].{error.message}", hint) from error
    return labels


class Labels:
    """
    Takes labels in from `start` to `stop`, and keeps the logs small meanwhile.

    Args:
        owner: Unique to the process.
        seconds: Between two looks at `labels.source`.
        tell: Is told of what goes wrong and comes right again, in one line.
    """

    def __init__(
        self,
        state: State,
        buckets: Buckets,
        model: ContinuousModel,
        clock: Clock,
        owner: str,
        seconds: float,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self._state = state
        self._buckets = buckets
        self._model = model
        self._clock = clock
        self._owner = owner
        self._seconds = seconds
        self._tell = tell
        self._known: set[str] | None = None
        self._lease = Lease(state.bucket, state.layout.current("compaction"), _wall)
        self._compacted = time.monotonic()
        self._problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trimtab-labels", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the file that is being read, at most."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def add(self, body: bytes) -> int:
        """
        Keep the labels of a request; returns how many. Safe in any thread.

        Raises:
            Invalid: As `parse_labels`; nothing was kept.
            Unavailable: If the store does not answer: send the same again, what was kept twice counts once.
        """
        return self._state.labels.add(parse_labels(body, self._model.spec.data, _wall()))

    def look(self) -> list[LabelFile]:
        """
        Take in the files that are new, oldest first.

        Raises:
            Unavailable: If the store does not answer; the next look begins again.
        """
        source = self._model.spec.data.labels.source
        if source is None:
            return []
        if self._known is None:
            self._known = known_label_files(self._state)
        bucket, taken = split_s3(source)[0], []
        listing = sorted(list_label_files(self._buckets, self._model), key=lambda info: (info.modified, info.key))
        for info in listing:
            name = label_file_id(bucket, info)
            if name in self._known or self._stopping.is_set():
                continue
            try:
                record = take_in_labels(self._state, self._buckets, self._model, info, _wall())
            except TrimtabError:
                raise
            except (Exception, PanicException) as error:
                # Whatever a file can do to a parser or to memory: it must not stop the files behind it. The next
                # start tries it again.
                log.exception("taking in %s failed", info.key)
                self._tell(f"labels: {info.key} cannot be read: {type(error).__name__}: {error}"[:300])
                record = None
            self._known.add(name)
            if record is not None:
                taken.append(record)
                self._journal(record)
        return taken

    def compact(self) -> None:
        """One pass over both logs, unless another process is at it. Raises Unavailable."""
        logs = (self._state.predictions.segments, self._state.labels.segments)
        compact_leased(logs, self._lease, self._owner, _wall)

    def _journal(self, record: LabelFile) -> None:
        told = record.model_dump(mode="json", by_alias=True, exclude={"id", "recorded_at"})
        kind = "quarantined" if record.refused else "ingested"
        self._state.journal.tell(f"labels/{record.id}", kind, record.sentence(), told, self._clock.now())

    def _work(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self.look()
                if time.monotonic() - self._compacted > COMPACTION_SECONDS:
                    self.compact()
                    self._compacted = time.monotonic()
                if self._problem:
                    self._tell("labels: it works again")
                self._problem = ""
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Say so once; the next look begins again."""
        if not isinstance(error, TrimtabError):
            log.error("unexpected", exc_info=error)
        problem = error.message if isinstance(error, TrimtabError) else f"unexpected {type(error).__name__}: {error}"
        if not self._problem:
            again = "trying again" if isinstance(error, Unavailable) else "until that is mended, no label is taken in"
            self._tell(f"labels: {problem.splitlines()[0]}; {again}")
        self._problem = problem


def _wall() -> datetime:
    return datetime.now(UTC)
