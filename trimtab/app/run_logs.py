"""Where a run's log stands: in the launcher's folder here while it runs, in the state once it has ended."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from trimtab.adapters.kfp import LocalLauncher
from trimtab.adapters.state import State
from trimtab.app import settings
from trimtab.app.opening import Platform
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.ports import RunPhase

FORM = re.compile(r"(?:(?P<model>[a-z0-9][-a-z0-9]*)/)?(?P<number>[1-9][0-9]*)")
WHOLE = 1_000_000  # lines


@dataclass(frozen=True)
class LogOf:
    """The log of one run of a model."""

    state: State
    run_id: str

    @classmethod
    def find(cls, platform: Platform, run: str, model: str | None = None) -> LogOf:
        """
        The log that `5`, `flights/5` or a run id names.

        Raises:
            Invalid: If the text is none of these.
            NotFound: If there is no such decision or run.
        """
        numbered = FORM.fullmatch(run)
        if numbered is not None:
            return cls._of_decision(platform.state(numbered["model"] or model), int(numbered["number"]))
        try:
            run_id = str(uuid.UUID(run))
        except ValueError:
            raise Invalid(
                f"found {run!r}; a run reads as the number of its decision, NAME/NUMBER, or a run id",
                "`trimtab history` lists the decisions",
            ) from None
        for name in [model] if model else platform.models():
            log = cls(platform.state(name), run_id)
            if log._stored() is not None or log._local() is not None:
                return log
        raise NotFound(
            f"found no run {run_id}", "`trimtab history` lists the decisions; a number will do: trimtab logs 1"
        )

    @classmethod
    def _of_decision(cls, state: State, number: int) -> LogOf:
        decisions = {decision.number for decision in state.decisions.all()}
        if number not in decisions:
            there_are = f"there are 1 to {max(decisions)}" if decisions else "there is none yet"
            raise NotFound(
                f"found no decision {number} of {state.model}; {there_are}", f"trimtab history {state.model}"
            )
        claim = state.decisions.claim(number)
        if claim is None:
            raise NotFound(
                f"decision {number} of {state.model} has not been started by this platform",
                "a run started through the SDK shows its log in the Kubeflow UI",
            )
        return cls(state, claim.run_id)

    def lines(self) -> list[str]:
        """
        What was printed so far, oldest first.

        Raises:
            NotFound: If it stands neither here nor in the state.
        """
        stored = self._stored()
        if stored is not None:
            return stored
        local = self._local()
        if local is None:
            raise NotFound(
                f"found no log of run {self.run_id} here",
                "it is kept in the state when the run has ended; until then it stands where the platform runs",
            )
        return local.logs(self.run_id, WHOLE)

    def ended(self) -> bool:
        """Whether nothing more will be printed."""
        local = self._local()
        found = local.look_up(self.run_id) if local else None
        return found is None or found.phase in (RunPhase.SUCCEEDED, RunPhase.FAILED)

    def _stored(self) -> list[str] | None:
        text = self.state.data.log(self.run_id)
        return None if text is None else text.splitlines()

    def _local(self) -> LocalLauncher | None:
        """The launcher of the nearest `.trimtab`, if it has this run."""
        env = settings.nearest(Path.cwd())
        if env is None or not (env.parent / "runs" / self.run_id / "request.json").exists():
            return None
        return LocalLauncher(env.parent / "runs", "")
