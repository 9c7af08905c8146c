"""
Rollouts: what each is to do, what people asked of it, and how far it is.

The first never changes and is numbered. People write the second, the controller alone the third; both are
compare-and-swapped, so that no wish is lost and a controller that was replaced cannot write over its successor.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from trimtab.adapters.state.layout import Layout
from trimtab.adapters.state.numbered import Numbered
from trimtab.adapters.state.objects import Objects
from trimtab.core.errors import Conflict, Fenced, NotFound
from trimtab.core.rollout.values import Asked, Phase, RolloutSpec, RolloutState

ATTEMPTS = 20  # each refusal means that another writer got on
WRITTEN_LATE = timedelta(hours=1)  # what was decided at the last moment of a probation is in the store by then


class Rollouts:
    def __init__(self, objects: Objects, layout: Layout, now: Callable[[], datetime]) -> None:
        self._bucket = objects.bucket
        self._layout = layout
        self._now = now
        self._specs = Numbered(objects, layout, "rollouts", RolloutSpec)
        self._ended: dict[int, RolloutState] = {}

    # What they are to do

    def all(self) -> list[RolloutSpec]:
        """By number, ascending, without gaps."""
        return list(self._specs.all().values())

    def find(self, number: int) -> RolloutSpec | None:
        return self._specs.find(number)

    def propose(self, spec: RolloutSpec) -> RolloutSpec:
        """
        Write a rollout under the next number.

        The same one is proposed once: by the same run, or without a run for the same version, against the same
        champion. Who proposes it again gets the first.

        Args:
            spec: With number 0; without a name it gets one from the model's and the version's.
        """
        first: list[RolloutSpec] = []

        def numbered(number: int, known: dict[int, RolloutSpec]) -> RolloutSpec | None:
            wanted = (spec.run_key, spec.version, spec.champion)
            first[:] = [each for each in known.values() if (each.run_key, each.version, each.champion) == wanted]
            if first:
                return None
            if spec.name:
                return spec.model_copy(update={"number": number})
            times = sum(1 for each in known.values() if each.version == spec.version) + 1
            name = f"{spec.model}-v{spec.version}" + (f"-{times}" if times > 1 else "")
            return spec.model_copy(update={"number": number, "name": name})

        return self._specs.append(numbered, ATTEMPTS) or first[0]

    # What people asked

    def asked(self, number: int) -> Asked:
        found = self._bucket.find(self._layout.rollout(number, "asked"))
        return Asked(number=number) if found is None else Asked.from_json(found.body, f"what was asked of {number}")

    def ask(self, number: int, change: Callable[[Asked], Asked]) -> Asked:
        """
        Add a wish to what was asked: `change` makes the new one of the old, and may raise.

        Raises:
            NotFound: If there is no such rollout.
            Conflict: If others wrote first each time.
        """
        if self._specs.find(number) is None:
            raise NotFound(f"found no rollout {number} of {self._layout.model}", "trimtab status shows those there are")
        key = self._layout.rollout(number, "asked")
        for _ in range(ATTEMPTS):
            found = self._bucket.find(key)
            before = Asked(number=number) if found is None else Asked.from_json(found.body, key)
            after = change(before).model_copy(update={"number": number, "nonce": uuid.uuid4().hex})
            try:
                if found is None:
                    self._bucket.create(key, after.to_json())
                else:
                    self._bucket.replace(key, after.to_json(), found.etag)
            except Conflict:
                continue
            return after
        raise Conflict(f"others wrote what is asked of rollout {number} {ATTEMPTS} times in a row", "try again")

    # How far they are

    def state(self, number: int) -> RolloutState | None:
        """None before the controller took it up. One that has ended for good is read once."""
        found = self._bucket.find(self._layout.rollout(number, "state"))
        return None if found is None else RolloutState.from_json(found.body, f"the state of rollout {number}")

    def states(self) -> dict[int, RolloutState | None]:
        """Of every rollout by number; those known to have ended are asked again only while they may be taken back."""
        found: dict[int, RolloutState | None] = {}
        for spec in self.all():
            known = self._ended.get(spec.number)
            state = known or self.state(spec.number)
            if state is not None and known is None and self._is_final(spec, state):
                self._ended[spec.number] = state
            found[spec.number] = state
        return found

    def _is_final(self, spec: RolloutSpec, state: RolloutState) -> bool:
        """Whether nothing of it is written any more: a promotion may be taken back on probation."""
        # Its last split is confirmed after its end. Another thread may look in between, and who kept that state would
        # give the leader one that can never be written again.
        if state.epochs and state.epochs[-1].confirmed_from is None:
            return False
        if state.phase is not Phase.PROMOTED or not spec.policy.probation:
            return state.phase.ended
        return state.ended is not None and self._now() > state.ended + spec.policy.probation + WRITTEN_LATE

    def save(self, state: RolloutState) -> RolloutState:
        """
        Write how far a rollout is, in place of the state that this one was made from (it carries that one's nonce).

        Raises:
            Fenced: If a controller of a later epoch has written.
            Conflict: If the state in the store is not the one this was made from: read again and decide again.
        """
        key = self._layout.rollout(state.number, "state")
        found = self._bucket.find(key)
        held = None if found is None else RolloutState.from_json(found.body, key)
        if held is not None and held.epoch > state.epoch:
            raise Fenced(f"rollout {state.number} is led by another process (epoch {held.epoch}; here {state.epoch})")
        if (held.nonce if held else "") != state.nonce:
            raise Conflict(f"rollout {state.number} of {self._layout.model} changed while it was being decided on")
        written = state.model_copy(update={"nonce": uuid.uuid4().hex})
        if found is None:
            self._bucket.create(key, written.to_json())
        else:
            self._bucket.replace(key, written.to_json(), found.etag)
        return written
