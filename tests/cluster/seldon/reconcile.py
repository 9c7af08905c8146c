"""One pass over one SeldonDeployment, in the order in which Seldon's operator goes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from seldon import conditions
from seldon.deployments import LAST_APPLIED, Engine, deployments
from seldon.predictors import defaulted, predictor_service
from seldon.routes import destination_rule, endpoints, services, virtual_service
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, SELDON_DEPLOYMENT, SERVICE, VIRTUAL_SERVICE, Kind
from trimtab.core.errors import Conflict, TrimtabError

DESTINATION_RULE = Kind("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules")
MANAGER = "manager"  # the operator's binary goes by that name
AGAIN_SECONDS = 0.05
log = logging.getLogger("seldon")

# What the operator believes of a Deployment's status, which may be old; None: it has seen none.
Believed = Callable[[Object], dict[str, Any]]
Tell = Callable[[Object, str, str, str], None]  # sdep, type, reason, message


@dataclass
class Pass:
    """
    What came of it.

    Attributes:
        again: Look once more, whether or not anything changes.
        failed: Why it ended early: to be tried again, less and less often.
    """

    again: bool = False
    failed: str = ""
    wrote: list[str] = field(default_factory=list)


class Reconciler:
    """
    Brings what belongs to a SeldonDeployment to what its spec says. Never writes the spec, only its status.

    Args:
        believed: The status of a Deployment as the operator knows it.
        tell: An Event.
    """

    def __init__(self, api: Api, engine: Engine, believed: Believed, tell: Tell) -> None:
        self._api = api
        self._engine = engine
        self._believed = believed
        self._tell = tell

    def __call__(self, sdep: Object) -> Pass:
        done = Pass()
        status = copy.deepcopy(sdep.get("status") or {})
        try:
            self._act(sdep, status, done)
        except TrimtabError as error:
            # What stood before the failing object was written, and stays.
            done.failed = error.message
            status |= {"state": "Failed", "description": error.message}
            self._tell(sdep, "Warning", "InternalError", error.message)
        self._write(sdep, status, done)
        for reason in done.wrote:
            self._tell(sdep, "Normal", reason, "")
        self._tell(sdep, "Normal", "Updated", "Updated SeldonDeployment")
        return done

    def _act(self, sdep: Object, status: dict[str, Any], done: Pass) -> None:
        predictors = defaulted(sdep)
        conditions.set_always(status)
        all_there = self._services(sdep, predictors, status, done)
        conditions.set_services(status, all_there)
        seen, steady = self._deployments(sdep, predictors, status, done)
        conditions.set_deployments(status, seen)
        ready = steady and all_there and all(conditions.is_ready(each) for each in seen)
        if ready:
            unchanged = self._routes(sdep, predictors, done)
            conditions.set_routes(status, unchanged)
            self._clean_up(sdep, predictors, status, done)
        status["address"] = {"url": f"http://{endpoints(sdep, predictors[0])['httpEndpoint']}/api/v1.0/predictions"}
        stuck = any(conditions.is_stuck(each) for each in seen)
        status.pop("description", None)
        status["state"] = "Available" if ready else "Failed" if stuck else "Creating"
        if stuck and not ready:
            status["description"] = conditions.STUCK
        conditions.set_ready(status)

    # What it makes

    def _services(self, sdep: Object, predictors: list[dict[str, Any]], status: dict[str, Any], done: Pass) -> bool:
        all_there = True
        told = status.setdefault("serviceStatus", {})
        for predictor in predictors:
            for wanted in services(sdep, predictor):
                name = wanted["metadata"]["name"]
                found = self._api.find(SERVICE, sdep["metadata"]["namespace"], name)
                if found and found["spec"].get("selector") != wanted["spec"]["selector"]:
                    # A selector of somebody else's: the Service is made anew.
                    self._api.delete(SERVICE, sdep["metadata"]["namespace"], name)
                    done.wrote.append("DeleteService")
                    found = None
                if found is None:
                    self._api.create(SERVICE, owned(wanted, sdep))
                    done.wrote.append("CreateService")
                    all_there = False
                else:
                    self._correct(SERVICE, found, wanted["spec"], done)
                    told[name] = {"svcName": name}
            own = predictor_service(sdep["metadata"]["name"], predictor)
            if own in told:
                told[own] = endpoints(sdep, predictor)
        return all_there

    def _deployments(
        self, sdep: Object, predictors: list[dict[str, Any]], status: dict[str, Any], done: Pass
    ) -> tuple[list[dict[str, Any]], bool]:
        """Their statuses as believed, and whether nothing had to be written."""
        steady, seen = True, []
        told = status.setdefault("deploymentStatus", {})
        namespace = sdep["metadata"]["namespace"]
        for number, wanted in enumerate(self._wanted(sdep, predictors)):
            name = wanted["metadata"]["name"]
            found = self._api.find(DEPLOYMENT, namespace, name)
            if found and found["spec"]["selector"] != wanted["spec"]["selector"]:
                self._api.delete(DEPLOYMENT, namespace, name, "Foreground")
                done.wrote.append("DeleteDeployment")
                self._refuse_deleted(namespace, name)
                found = None
            if found is None:
                self._api.create(DEPLOYMENT, owned(wanted, sdep))
                done.wrote.append("CreateDeployment")
                steady = False
                seen.append({})
                continue
            if self._correct_deployment(found, wanted, done):
                steady = False
            # P3: read right after the write, when the Deployment's controller has not looked at it yet.
            believed = self._believed(found)
            seen.append(believed)
            told[name] = conditions.counts(believed)
            if number == 0:
                status.pop("replicas", None)
                if believed.get("replicas"):
                    status["replicas"] = believed["replicas"]
        return seen, steady

    def _wanted(self, sdep: Object, predictors: list[dict[str, Any]]) -> Iterator[Object]:
        for predictor in predictors:
            yield from deployments(sdep, predictor, self._engine)

    def _refuse_deleted(self, namespace: str, name: str) -> None:
        """Foreground deletion keeps the name until the pods are gone."""
        if self._api.find(DEPLOYMENT, namespace, name):
            raise Conflict(f'object is being deleted: deployments.apps "{name}" already exists')

    def _correct_deployment(self, found: Object, wanted: Object, done: Pass) -> bool:
        applied = wanted["metadata"]["annotations"]
        held = found["metadata"].get("annotations") or {}
        hot = "replicas" not in wanted["spec"] and found["metadata"]["generation"] > 1
        same = held.get(LAST_APPLIED) == applied[LAST_APPLIED] and covers(found["spec"], wanted["spec"])
        if same and not hot:
            return False
        body = copy.deepcopy(found)
        spec = copy.deepcopy(wanted["spec"])
        if "replicas" not in spec:
            spec["replicas"] = found["spec"].get("replicas", 1)
        if hot:
            # P4: replicas that nobody sets are written again and again from the first update on. Which field the real
            # one changes each time was not seen; this one does no harm.
            spec["revisionHistoryLimit"] = 11 if found["spec"].get("revisionHistoryLimit") == 10 else 10
            done.again = True
        body["spec"] = spec
        body["metadata"]["annotations"] = {**held, **applied}
        body["metadata"]["labels"] = {**(found["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
        written = self._api.replace(DEPLOYMENT, body)
        if written["metadata"]["generation"] == found["metadata"]["generation"]:
            return False
        done.wrote.append("UpdateDeployment")
        return not hot  # and its state says Available all the while

    def _routes(self, sdep: Object, predictors: list[dict[str, Any]], done: Pass) -> bool:
        """VirtualService and DestinationRules; whether the VirtualService was as it should be."""
        namespace = sdep["metadata"]["namespace"]
        wanted = virtual_service(sdep, predictors)
        found = self._api.find(VIRTUAL_SERVICE, namespace, wanted["metadata"]["name"])
        unchanged = found is not None
        if found is None:
            self._api.create(VIRTUAL_SERVICE, owned(wanted, sdep))
            done.wrote.append("CreateVirtualService")
        elif found["spec"] != wanted["spec"]:
            # Whose it was does not matter: the spec is overwritten, the owner stays.
            self._api.replace(VIRTUAL_SERVICE, {**found, "spec": wanted["spec"]})
            done.wrote.append("UpdateVirtualService")
            unchanged = False
        for predictor in predictors:
            rule = destination_rule(sdep, predictor)
            held = self._api.find(DESTINATION_RULE, namespace, rule["metadata"]["name"])
            if held is None:
                self._api.create(DESTINATION_RULE, owned(rule, sdep))
                done.wrote.append("CreateDestinationRule")
            elif held["spec"] != rule["spec"]:
                self._api.replace(DESTINATION_RULE, {**held, "spec": rule["spec"]})
        return unchanged

    def _clean_up(self, sdep: Object, predictors: list[dict[str, Any]], status: dict[str, Any], done: Pass) -> None:
        """What the status names and the spec does not: Deployments first, their Services once those are gone."""
        namespace = sdep["metadata"]["namespace"]
        wanted = {each["metadata"]["name"] for each in self._wanted(sdep, predictors)}
        lingering = False
        for name in [name for name in status["deploymentStatus"] if name not in wanted]:
            found = self._api.find(DEPLOYMENT, namespace, name)
            if found is None:
                del status["deploymentStatus"][name]
                continue
            lingering = True
            if "deletionTimestamp" not in found["metadata"]:
                self._api.delete(DEPLOYMENT, namespace, name, "Foreground")
                done.wrote.append("DeleteDeployment")
        kept = {each["metadata"]["name"] for predictor in predictors for each in services(sdep, predictor)}
        for name in [name for name in status["serviceStatus"] if name not in kept]:
            if not lingering:
                self._api.delete(SERVICE, namespace, name)
                done.wrote.append("DeleteService")
                del status["serviceStatus"][name]

    # How it writes

    def _correct(self, kind: Kind, found: Object, spec: dict[str, Any], done: Pass) -> None:
        if not covers(found["spec"], spec):
            self._api.replace(kind, {**found, "spec": {**found["spec"], **spec}})
            done.wrote.append(f"Update{kind.name}")

    def _write(self, sdep: Object, status: dict[str, Any], done: Pass) -> None:
        if status == sdep.get("status"):
            return
        try:
            self._api.replace(SELDON_DEPLOYMENT, {**sdep, "status": status}, "status")
        except TrimtabError as error:
            done.again = True
            self._tell(sdep, "Warning", "UpdateFailed", error.message)


def owned(body: Object, sdep: Object) -> Object:
    """With the SeldonDeployment as its controller."""
    owner = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "name": sdep["metadata"]["name"],
        "uid": sdep["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}}


def covers(found: Any, wanted: Any) -> bool:
    """
    Whether everything wanted is there; what the API server filled in does not count.

    >>> covers({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}), covers({"a": [1, 2]}, {"a": [1]})
    (True, False)
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(covers(*pair) for pair in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)
