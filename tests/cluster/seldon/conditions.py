"""The status of a SeldonDeployment, made piece by piece from the one before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

STUCK = "Deployment is no longer progressing and not available."
ALWAYS = {
    "HpasReady": "No HPAs defined",
    "KedaReady": "No KEDA resources defined",
    "PdbsReady": "No PDBs defined",
}


def is_ready(status: dict[str, Any]) -> bool:
    """A Deployment in the operator's eyes: neither generations nor updated replicas are looked at."""
    return status.get("readyReplicas", 0) > 0 and not status.get("unavailableReplicas")


def is_stuck(status: dict[str, Any]) -> bool:
    """Neither available nor progressing any longer."""
    return all(_truth(status, kind) == "False" for kind in ("Available", "Progressing"))


def _truth(status: dict[str, Any], kind: str) -> str:
    return next((each["status"] for each in status.get("conditions", []) if each["type"] == kind), "")


def set_condition(status: dict[str, Any], kind: str, true: bool, reason: str = "", message: str = "") -> None:
    """Alphabetical order; the moment changes with the status alone."""
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    before = conditions.get(kind, {})
    said = "True" if true else "False"
    moment = before.get("lastTransitionTime") if before.get("status") == said else None
    found = {
        "type": kind,
        "status": said,
        "lastTransitionTime": moment or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }
    conditions[kind] = found
    status["conditions"] = [conditions[name] for name in sorted(conditions)]


def set_always(status: dict[str, Any]) -> None:
    for kind, reason in ALWAYS.items():
        set_condition(status, kind, True, reason)


def set_services(status: dict[str, Any], all_there: bool) -> None:
    reason = "All services created" if all_there else "Not all services created"
    set_condition(status, "ServicesReady", all_there, reason)


def set_deployments(status: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """By the Available condition of the first that is not ready, else of the first; absent until there is one."""
    with_conditions = [each for each in found if each.get("conditions")]
    if not with_conditions:
        return
    unready = [each for each in with_conditions if not is_ready(each)]
    told = (unready or with_conditions)[0]
    available = next((each for each in told["conditions"] if each["type"] == "Available"), {})
    ready = all(is_ready(each) for each in found)
    set_condition(status, "DeploymentsReady", ready, available.get("reason", ""), available.get("message", ""))


def set_routes(status: dict[str, Any], unchanged: bool) -> None:
    """Not until all Deployments were ready for the first time."""
    reason = "All VirtualServices created" if unchanged else "Not all VirtualServices created"
    set_condition(status, "istioVirtualServicesReady", unchanged, reason)
    set_condition(status, "AmbassadorMappingsReady", True, "No Ambassador Mappaings defined")


def set_ready(status: dict[str, Any]) -> None:
    """When every other is true, and those of routes and Deployments are there at all."""
    others = {each["type"]: each["status"] for each in status.get("conditions", []) if each["type"] != "Ready"}
    needed = ("DeploymentsReady", "ServicesReady", "istioVirtualServicesReady")
    set_condition(
        status, "Ready", all(name in others for name in needed) and all(each == "True" for each in others.values())
    )


def counts(status: dict[str, Any]) -> dict[str, int]:
    """As `deploymentStatus` has them: zeros are left out."""
    return {name: status[name] for name in ("replicas", "availableReplicas") if status.get(name)}
