"""What was read of the state's immutable objects, compressed between looks: hundreds of models stay small."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping

from trimtab.adapters.state import State


class Remembered:
    """One model's. The ledger is left out: `ArrivalsSoFar` keeps it, cut to what decisions need."""

    def __init__(self) -> None:
        self._packed = b""
        self._number = 0

    def bodies(self) -> Mapping[str, bytes]:
        """By key."""
        if not self._packed:
            return {}
        found: dict[str, bytes] = pickle.loads(zlib.decompress(self._packed))  # noqa: S301  (packed by this process)
        return found

    def keep(self, state: State) -> None:
        """What the state has read by now."""
        ledger = state.layout.ledger()
        bodies = {key: body for key, body in state.objects.known().items() if not key.startswith(ledger)}
        if len(bodies) != self._number:
            self._packed, self._number = zlib.compress(pickle.dumps(bodies), 6), len(bodies)
