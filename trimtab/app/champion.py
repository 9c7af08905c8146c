"""The live champion, loaded once a version and shared: intake judges uploads with it, the monitor measures it."""

from __future__ import annotations

import threading

from trimtab.adapters.models import Champion, load_champion
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid


class LiveChampion:
    """
    Whoever the registry names now. Safe in many threads: who asks while it is being loaded waits for that one load.

    Attributes:
        problem: Why it cannot judge; empty while it can.
    """

    def __init__(self, state: State, trusted_types: tuple[str, ...] = (), spec_folder: str = "") -> None:
        self._state = state
        self._trusted_types = trusted_types
        self._spec_folder = spec_folder
        self._loaded: Champion | None = None
        self._lock = threading.Lock()
        self.problem = ""

    def get(self) -> Champion | None:
        """
        The champion; None where there is none, or it cannot be loaded.

        Raises:
            Unavailable: If the store does not answer.
        """
        manifest = self._state.registry.manifest()
        number = manifest.champion if manifest else None
        with self._lock:
            if number is None:
                self._loaded, self.problem = None, ""
            elif self._loaded is None or self._loaded.version.number != number:
                try:
                    self._loaded = load_champion(self._state, self._trusted_types, self._spec_folder)
                    self.problem = ""
                except Invalid as error:
                    self._loaded, self.problem = None, f"v{number} cannot judge new rows: {error.message}"
            return self._loaded
