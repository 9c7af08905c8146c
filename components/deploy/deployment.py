"""What a registered version meets: a rollout, or nothing where the alias has moved already."""

from __future__ import annotations

from typing import Any

from trimtab.adapters.proposals import propose
from trimtab.adapters.steps import Step


def deploy_run(run: Step) -> dict[str, Any]:
    """
    Propose the rollout of the run's version, if it came out as the challenger; the step does not wait for it.

    Returns:
        `rollout` (0: none), `name` and `reason` for the step to keep.
    """
    registered = run.earlier("register")
    state, reason = registered["state"], registered["reason"]
    if state != "challenger":
        return {"rollout": 0, "name": "", "reason": f"no rollout: the run ended as {state}"}
    version = run.state.registry.version(registered["version"])
    champion = version.evaluation["champion"]
    spec = propose(run.state, run.model, version, champion, f"v{version.number} is challenger: {reason}", run.now)
    steps = len(spec.policy.steps)
    said = f"{spec.name}: v{version.number} beside v{champion}, {spec.policy.strategy} in {steps} steps"
    return {"rollout": spec.number, "name": spec.name, "reason": said}
