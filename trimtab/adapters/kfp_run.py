"""How a run stands, by KFP's record of it."""

from __future__ import annotations

from trimtab.adapters.kfp_rest import Json
from trimtab.core.ports import RunPhase, RunStatus

PHASES = {
    "PENDING": RunPhase.PENDING,
    "RUNNING": RunPhase.RUNNING,
    "PAUSED": RunPhase.RUNNING,
    "CANCELING": RunPhase.RUNNING,  # it ends as FAILED, when its Workflow has
    "SUCCEEDED": RunPhase.SUCCEEDED,
    "SKIPPED": RunPhase.SUCCEEDED,
    "FAILED": RunPhase.FAILED,
    "CANCELED": RunPhase.FAILED,
}
ENDED = (RunPhase.SUCCEEDED, RunPhase.FAILED)


def status_of(run: Json) -> RunStatus:
    """
    How a run stands, by KFP's record of it.

    KFP leaves a state out before Argo has set one. The first end in its history stands.

    >>> status_of({"run_id": "r"}).phase
    <RunPhase.PENDING: 'pending'>
    >>> status_of({"run_id": "r", "state": "FAILED", "state_history": [{"state": "SUCCEEDED"}, {}]}).phase
    <RunPhase.SUCCEEDED: 'succeeded'>
    """
    phases = [PHASES.get(each.get("state", ""), RunPhase.PENDING) for each in run.get("state_history", [])]
    phases.append(PHASES.get(run.get("state", ""), RunPhase.PENDING))
    phase = next((each for each in phases if each in ENDED), phases[-1])
    return RunStatus(str(run["run_id"]), phase, _error(run) if phase is RunPhase.FAILED else "")


def _error(run: Json) -> str:
    """One line: what KFP says, else which steps failed; the step's own reason stands in the state."""
    if message := (run.get("error") or {}).get("message"):
        return str(message).splitlines()[0]
    tasks = (run.get("run_details") or {}).get("task_details") or []
    failed = {str(each.get("display_name", "")) for each in tasks if each.get("state") == "FAILED"}
    steps = sorted(name for name in failed if name and not _is_frame(name, run))
    if steps:
        return f"{', '.join(steps)} failed in KFP"
    return "the run failed in KFP, or was terminated there"


def _is_frame(name: str, run: Json) -> bool:
    """Whether a node is none of the steps: the whole, a pod of its own, or what prepares one."""
    spec: Json = run.get("pipeline_spec") or {}
    pipeline = (spec.get("pipeline_spec") or spec).get("pipelineInfo", {}).get("name", "")
    whole = bool(pipeline) and name.startswith(f"{pipeline}-")
    return whole or name in ("root", "executor") or name.endswith("-driver")
