"""Holding a model's lease: who holds it acts, everybody else stands by."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from trimtab.adapters.state.lease import Lease
from trimtab.core.errors import Fenced, TrimtabError

LEASE_SECONDS = 10.0  # a killed process holds the model up for at most so long
STOP_SECONDS = 5.0
log = logging.getLogger("trimtab.tenure")


class Tenure:
    """
    The lease of one model for one owner, renewed by a thread of its own: reading a large file must not lose it.

    Args:
        lost: Is called, from whichever thread notices, when another process has taken the lease.
    """

    def __init__(self, lease: Lease, owner: str, lost: Callable[[Fenced], None]) -> None:
        self._lease = lease
        self.owner = owner
        self._lost = lost
        self._epoch: int | None = None
        self.problem = ""  # why the last renewal failed: while nothing comes in, the only sign of a store in trouble
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="trimtab-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def held(self) -> bool:
        return self._epoch is not None

    @property
    def epoch(self) -> int | None:
        """Of the lease while it is held: whoever takes it later has a higher one."""
        return self._epoch

    def take(self) -> bool:
        """
        Take the lease if it is free; whether this owner has it now.

        Raises:
            Unavailable: If the store does not answer.
        """
        self._epoch = self._lease.acquire(self.owner, LEASE_SECONDS)
        return self.held

    def holder(self) -> str:
        """Who has it, for people."""
        who = self._lease.who()
        return who.owner if who else "another process"

    def lose(self, fenced: Fenced) -> None:
        """Another process has it: stop acting."""
        self._epoch = None
        self._lost(fenced)

    def end(self) -> None:
        """Give it back, if the store answers; else it runs out by itself."""
        self._ending.set()
        self._thread.join(STOP_SECONDS)
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return
        try:
            self._lease.release(self.owner, epoch)
        except TrimtabError as error:
            log.info("the lease was not given back: %s", error)

    def _keep(self) -> None:
        while not self._ending.wait(LEASE_SECONDS / 3):
            epoch = self._epoch
            if epoch is None:
                continue
            try:
                self._lease.renew(self.owner, epoch, LEASE_SECONDS)
                self.problem = ""
            except Fenced as fenced:
                self.problem = ""
                self.lose(fenced)
            except TrimtabError as error:
                # Nobody else can take it either while the store is away; the next renewal tells whether somebody did.
                self.problem = str(error)
                log.info("the lease could not be renewed: %s", error)
