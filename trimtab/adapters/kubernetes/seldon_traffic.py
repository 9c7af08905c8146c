"""
Traffic by a SeldonDeployment: `TrafficSplit` over the predictors that Seldon's operator runs and Istio routes to.

Each call of `want` makes one write at most, guarded by what was read; what it leads to is seen at a later look.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, POD, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from trimtab.adapters.kubernetes.seldon_deployment import (
    deployments_of,
    failing_of,
    found_of,
    is_ambassadors,
    is_down,
    short,
)
from trimtab.adapters.kubernetes.seldon_marks import (
    BOOK,
    is_marked,
    marked,
    noted,
    refuse_strangers,
    unchanged,
    written,
)
from trimtab.core.errors import Conflict, Invalid, NotFound
from trimtab.core.ports import Answer, Serving, ServingSeen
from trimtab.core.rollout.predictor_writes import next_write
from trimtab.core.rollout.predictors import Body, Found, Split, Write, routed
from trimtab.core.spec.in_cluster import NO_USERS, NO_USERS_HINT
from trimtab.core.split import check

MANAGER = "trimtab-controller"
log = logging.getLogger("trimtab.seldon")


class Predictors(Protocol):
    """The predictors of trimtab's versions."""

    def name(self, version: int) -> str:
        """Of that version's predictor."""

    def number(self, name: str) -> int | None:
        """The version of a predictor; None for somebody else's."""

    def template(self, version: int) -> Body:
        """A predictor that is to be added. Raises Invalid when it cannot be made."""

    def deployment(self) -> Object | None:
        """A new SeldonDeployment without predictors; None where an existing one is worked on."""


class Answers(Protocol):
    """Where requests that were answered are read; as `TrafficSplit.answers`."""

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]: ...


class SeldonTraffic:
    """
    The traffic of one SeldonDeployment.

    Args:
        name: Of the SeldonDeployment.
        predictors: Its versions.
        answers: What they answered.
    """

    told_apart = True  # by the predictors' own logs or counters

    def __init__(self, api: Api, namespace: str, name: str, predictors: Predictors, answers: Answers) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._predictors = predictors
        self._answers = answers

    # The port

    def want(self, serving: Serving) -> None:
        """
        As `TrafficSplit.want`: the next write towards it, if one may be made now.

        Raises:
            Invalid: If Istio does not route to it, users are to keep their variant, the SeldonDeployment is not the
                model's, or the webhook refuses the write.
        """
        check(serving)
        if serving.sticky_header and serving.challenger is not None:
            raise Invalid(f"found rollout.stickyHeader: {serving.sticky_header}; {NO_USERS}", NO_USERS_HINT)
        resource, new = self._resource(), self._predictors.deployment()
        if resource is None and new is None:
            raise Invalid(
                f"found no SeldonDeployment {self._name} in namespace {self._namespace}",
                "the rollout works on one that exists: apply it first",
            )
        if resource is not None and new is not None:
            refuse_strangers(resource, new)
        found = None if resource is None else self._found(resource)
        split = self._split(serving)
        write = next_write(found, split, serving)
        if write is None:
            return
        try:
            self._make(resource, new, write)
            log.info("%s/%s: %s", self._namespace, self._name, write.what)
        except (Conflict, NotFound) as error:
            # Another wrote first: the next look sees what there is now.
            log.debug("%s/%s: %s was not written: %s", self._namespace, self._name, write.what, error.message)

    def seen(self) -> ServingSeen:
        """As `TrafficSplit.seen`. Raises Invalid if Istio does not route to it."""
        resource = self._resource()
        if resource is None:
            return ServingSeen(None, frozenset(), {}, {})
        deployments = self._deployments()
        found = self._found(resource, deployments)
        ready = {number for name in found.rolled_out if (number := self._predictors.number(name)) is not None}
        # A champion alone that is well: nothing is asked of its pods.
        pods = self._pods() if len(found.predictors) > 1 or not ready else []
        return ServingSeen(
            route=self._route(found, ready),
            ready=frozenset(ready),
            failing=self._failing(resource, found, deployments, pods),
            restarts=self._restarts(found, pods),
            down=self._down(resource, found, deployments),
        )

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        return self._answers.answers(position, limit)

    # Reading

    def _resource(self) -> Object | None:
        found = self._api.find(SELDON_DEPLOYMENT, self._namespace, self._name)
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def _deployments(self) -> list[Object]:
        return self._api.list(DEPLOYMENT, self._namespace, labels=f"seldon-deployment-id={self._name}")[0]

    def _pods(self) -> list[Object]:
        return self._api.list(POD, self._namespace, labels=f"seldon-deployment-id={self._name}")[0]

    def _found(self, resource: Object, deployments: Sequence[Object] | None = None) -> Found:
        service = self._api.find(VIRTUAL_SERVICE, self._namespace, short(self._name))
        if is_ambassadors(resource, service):
            raise Invalid(
                f"SeldonDeployment {self._name} is available and no VirtualService routes to it: trimtab moves traffic "
                "through Istio only",
                "run Seldon's operator with ISTIO_ENABLED=true; with Ambassador weights are not confirmed",
            )
        return found_of(resource, self._deployments() if deployments is None else deployments, service)

    def _route(self, found: Found, ready: set[int]) -> Serving | None:
        numbers = {name: number for name in found.names if (number := self._predictors.number(name)) is not None}
        route = routed(found, numbers)
        if route is None:
            return None
        champion, challenger, weight, shadow = route
        header = found.book.asked.sticky_header if found.book.asked else ""
        return Serving(champion, challenger, weight, shadow, header, tuple(sorted(ready)))

    def _failing(
        self, resource: Object, found: Found, deployments: Sequence[Object], pods: Iterable[Object]
    ) -> Mapping[int, str]:
        failing = {}
        for predictor in found.predictors:
            number = self._predictors.number(predictor["name"])
            if number is None or predictor["name"] in found.rolled_out:
                continue
            made = deployments_of(resource, predictor, deployments)
            names = {each["metadata"]["name"] for each in made}
            own = [pod for pod in pods if any(pod["metadata"]["name"].startswith(f"{name}-") for name in names)]
            why = failing_of(made, own)
            if not made and (resource.get("status") or {}).get("state") == "Failed":
                why = str(resource["status"].get("description", ""))[:300]
            if why:
                failing[number] = why
        return failing

    def _down(self, resource: Object, found: Found, deployments: Sequence[Object]) -> frozenset[int]:
        down = set()
        for predictor in found.predictors:
            number = self._predictors.number(predictor["name"])
            if number is not None and is_down(deployments_of(resource, predictor, deployments)):
                down.add(number)
        return frozenset(down)

    def _restarts(self, found: Found, pods: Iterable[Object]) -> Mapping[int, int]:
        by_label = {(each.get("labels") or {}).get("version", each["name"]): each["name"] for each in found.predictors}
        restarts: dict[int, int] = {}
        for pod in pods:
            name = by_label.get((pod["metadata"].get("labels") or {}).get("version", ""))
            number = self._predictors.number(name) if name else None
            if number is not None:
                ended = (pod.get("status") or {}).get("containerStatuses") or ()
                restarts[number] = restarts.get(number, 0) + sum(each.get("restartCount", 0) for each in ended)
        return restarts

    # Writing

    def _split(self, serving: Serving) -> Split:
        name = self._predictors.name
        versions = {name(version): version for version in (*serving.versions, serving.champion)}
        if serving.challenger is not None:
            versions[name(serving.challenger)] = serving.challenger
        return Split(
            champion=name(serving.champion),
            challenger=name(serving.challenger) if serving.challenger is not None else None,
            weight_percent=serving.weight_percent if serving.challenger is not None else 0,
            shadow=serving.shadow,
            running=tuple(versions),
            template=lambda name: self._predictors.template(versions[name]),
        )

    def _make(self, resource: Object | None, new: Object | None, write: Write) -> None:
        if resource is None:
            assert new is not None  # asked before
            self._refuse_orphan(new)
            new["spec"]["predictors"] = list(write.create)
            new["metadata"].setdefault("annotations", {})[BOOK] = written(write.book)
            try:
                self._api.create(SELDON_DEPLOYMENT, new, manager=MANAGER)
            except NotFound as error:
                said = f"cannot make SeldonDeployment {self._name} in namespace {self._namespace}: {error.message}"
                raise Invalid(said, "docs/kubernetes.md says how Seldon Core 1.17 is installed") from error
            return
        notes = noted(resource, write)
        if new is not None and not is_marked(resource):
            notes += marked(resource)
        if not notes and all(operation["op"] == "test" for operation in write.operations):
            return
        operations = [*unchanged(resource), *write.operations, *notes]
        self._api.patch(SELDON_DEPLOYMENT, self._namespace, self._name, operations, manager=MANAGER)

    def _refuse_orphan(self, new: Object) -> None:
        """A model that was deleted took its SeldonDeployment with it: another would start pods that nobody owns."""
        for owner in new["metadata"].get("ownerReferences") or ():
            found, _ = self._api.list(MODEL, self._namespace, fields=f"metadata.name={owner['name']}")
            standing = [each["metadata"] for each in found if each["metadata"]["uid"] == owner["uid"]]
            if not standing or standing[0].get("deletionTimestamp"):
                raise Invalid(
                    f"{owner['kind']} {owner['name']} is gone from namespace {self._namespace}: it serves nobody"
                )
