"""
Decisions to train, who executes each, and how it ended.

A decision is one create-only object, its outcome another. Between them stands the claim, the one object here that
changes: it is compare-and-swapped, and its epoch tells an owner that lost it to stop.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.numbered import Numbered
from trimtab.adapters.state.objects import Objects
from trimtab.core.errors import Conflict, Fenced
from trimtab.core.records import Claim, Decision, Outcome

SWAPS = 5  # attempts at a claim that only its owner and one who takes it over may write


class Decisions:
    def __init__(self, objects: Objects, layout: Layout) -> None:
        self._bucket = objects.bucket
        self._layout = layout
        self._decisions = Numbered(objects, layout, "decisions", Decision)
        self._outcomes = Numbered(objects, layout, "outcomes", Outcome)

    def all(self) -> list[Decision]:
        """By number, ascending, without gaps."""
        return list(self._decisions.all().values())

    def find(self, number: int) -> Decision | None:
        return self._decisions.find(number)

    def propose(self, decision: Decision) -> Decision:
        """
        Write the decision under its number.

        Raises:
            Conflict: If another decision took the number: read again and decide again.
        """
        self._decisions.create(decision.number, decision)
        return decision

    def conclude(self, outcome: Outcome) -> Outcome:
        """Write how the decision ended; where an outcome stands already, that one counts and is returned."""
        try:
            self._outcomes.create(outcome.number, outcome)
        except Conflict:
            first = self._outcomes.find(outcome.number)
            assert first is not None
            return first
        return outcome

    def outcome(self, number: int) -> Outcome | None:
        return self._outcomes.find(number)

    def outcomes(self) -> dict[int, Outcome]:
        return self._outcomes.all()

    # The claim

    def claim(self, number: int) -> Claim | None:
        found = self._bucket.find(self._layout.numbered("claims", number))
        return None if found is None else Claim.from_json(found.body, f"the claim of decision {number}")

    def take(
        self,
        number: int,
        owner: str,
        run_id_of: Callable[[int], str],
        lease_seconds: float,
        now: datetime,
        adopt: bool = False,
    ) -> Claim:
        """
        Claim the decision, or take over a claim whose lease or back-off has ended.

        A take-over raises epoch and attempt; with `adopt` the attempt and its run id stay: the former owner died, and
        what became of its run is still to be seen. One's own claim that was taken and not yet submitted is
        returned as it is: the answer to taking it was lost.

        Args:
            owner: Unique to the process.
            run_id_of: The run id of an attempt.
            now: Wall clock.

        Raises:
            Conflict: If another owner's lease holds, a back-off has not ended, or another took it in this instant.
        """
        key = self._layout.numbered("claims", number)
        until = now + timedelta(seconds=lease_seconds)
        found = self._bucket.find(key)
        if found is None:
            claim = Claim(
                number=number,
                owner=owner,
                epoch=1,
                attempt=1,
                state="claimed",
                run_id=run_id_of(1),
                lease_until=until,
                nonce=uuid.uuid4().hex,
            )
            self._bucket.create(key, claim.to_json())
            return claim
        held = Claim.from_json(found.body, key)
        if held.lease_until > now:
            if held.owner == owner and held.state == "claimed" and held.retry_after is None:
                return held
            what = "waits to be tried again" if held.retry_after else f"is held by {held.owner}"
            raise Conflict(f"decision {number} {what} until {held.lease_until:%Y-%m-%d %H:%M:%S} UTC")
        attempt = held.attempt if adopt else held.attempt + 1
        claim = held.model_copy(
            update={
                "owner": owner,
                "epoch": held.epoch + 1,
                "attempt": attempt,
                "state": held.state if adopt else "claimed",
                "run_id": held.run_id if adopt else run_id_of(attempt),
                "lease_until": until,
                "retry_after": None,
                "nonce": uuid.uuid4().hex,
            }
        )
        self._bucket.replace(key, claim.to_json(), found.etag)
        return claim

    def renew(self, claim: Claim, lease_seconds: float, now: datetime) -> Claim:
        """Hold it for longer. Raises Fenced when another took it over."""
        return self._swap(claim, lease_until=now + timedelta(seconds=lease_seconds))

    def submitted(self, claim: Claim) -> Claim:
        """The run of this attempt has been started. Raises Fenced when another took the claim over."""
        return self._swap(claim, state="submitted")

    def back_off(self, claim: Claim, retry_after: datetime) -> Claim:
        """
        Let go of it until `retry_after` (wall clock); from then on anybody may take it for the next attempt.

        Raises:
            Fenced: If another took it over.
        """
        return self._swap(claim, retry_after=retry_after, lease_until=retry_after)

    def _swap(self, claim: Claim, **changes: Any) -> Claim:
        key = self._layout.numbered("claims", claim.number)
        for _ in range(SWAPS):
            found = self._bucket.get(key)
            held = Claim.from_json(found.body, key)
            if (held.owner, held.epoch) != (claim.owner, claim.epoch):
                raise Fenced(
                    f"decision {claim.number} was taken over by {held.owner} (epoch {held.epoch}); "
                    f"{claim.owner} held epoch {claim.epoch}"
                )
            changed = held.model_copy(update={**changes, "nonce": uuid.uuid4().hex})
            try:
                self._bucket.replace(key, changed.to_json(), found.etag)
            except Conflict:
                # This owner's other thread, or one who takes it over: the next reading tells.
                continue
            return changed
        raise Conflict(f"the claim of decision {claim.number} changed {SWAPS} times while it was being written")
