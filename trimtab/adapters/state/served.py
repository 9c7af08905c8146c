"""Who answered the traffic last, by the router's own word: one compare-and-swapped object."""

from __future__ import annotations

import uuid

from trimtab.adapters.state.layout import Layout
from trimtab.core.errors import Conflict, Fenced
from trimtab.core.ports import Bucket
from trimtab.core.rollout.serving import Served


class ServedState:
    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._key = layout.current("serving")

    def read(self) -> Served | None:
        found = self._bucket.find(self._key)
        return None if found is None else Served.from_json(found.body, self._key)

    def save(self, served: Served) -> Served:
        """
        Write it in place of the one it was made from, whose nonce it carries.

        Raises:
            Fenced: If a controller of a later epoch has written.
            Conflict: If it changed meanwhile: read again.
        """
        found = self._bucket.find(self._key)
        held = None if found is None else Served.from_json(found.body, self._key)
        if held is not None and held.epoch > served.epoch:
            raise Fenced(f"another process (epoch {held.epoch}; here {served.epoch}) says who serves")
        if (held.nonce if held else "") != served.nonce:
            raise Conflict(f"{self._key} changed while it was being decided on")
        written = served.model_copy(update={"nonce": uuid.uuid4().hex})
        if found is None:
            self._bucket.create(self._key, written.to_json())
        else:
            self._bucket.replace(self._key, written.to_json(), found.etag)
        return written
