"""Which rollout without a model works on a SeldonDeployment: an annotation there, so that it is one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.conditions import Condition
from trimtab.adapters.kubernetes.kinds import MODEL_LABEL, SELDON_DEPLOYMENT
from trimtab.adapters.kubernetes.seldon_marks import CLAIM
from trimtab.app.cluster.free_request import CHALLENGER, CHAMPION, names_of
from trimtab.app.cluster.resources import MANAGER, annotations_of
from trimtab.core.errors import Conflict, NotFound, TrimtabError


class Refusal(TrimtabError):
    """The rollout cannot be led: for good, or until something else has come or gone."""

    def __init__(self, reason: str, message: str, hint: str, waits: bool = False) -> None:
        super().__init__(message, hint)
        self.condition = Condition("Accepted", "False", reason, str(self))
        self.waits = waits


@dataclass(frozen=True, slots=True)
class Claim:
    """A rollout's claim on a SeldonDeployment of its namespace."""

    namespace: str
    seldon_deployment: str
    rollout: str
    uid: str

    def __str__(self) -> str:
        return f"{self.rollout}/{self.uid}"


class Claims:
    def __init__(self, api: Api) -> None:
        self._api = api

    @staticmethod
    def of(rollout: Object) -> Claim:
        """What the rollout claims, or would."""
        meta = rollout["metadata"]
        return Claim(meta["namespace"], rollout["spec"]["target"]["seldonDeployment"], meta["name"], meta["uid"])

    def all(self, namespaces: Iterable[str]) -> list[Claim]:
        """Of these namespaces; of all without any."""
        found = []
        for namespace in list(namespaces) or [""]:
            try:
                deployments, _ = self._api.list(SELDON_DEPLOYMENT, namespace)
            except NotFound:
                return []  # there is no such kind here
            for each in deployments:
                name, _, uid = annotations_of(each).get(CLAIM, "").partition("/")
                if uid:
                    meta = each["metadata"]
                    found.append(Claim(meta["namespace"], meta["name"], name, uid))
        return found

    def is_held(self, rollout: Object) -> bool:
        """Whether the SeldonDeployment is there and says so."""
        claim = self.of(rollout)
        found = self._api.find(SELDON_DEPLOYMENT, claim.namespace, claim.seldon_deployment)
        return found is not None and annotations_of(found).get(CLAIM) == str(claim)

    def take(self, rollout: Object, names: Mapping[int, str]) -> None:
        """
        Claim the SeldonDeployment; nothing changes where it is claimed already.

        Raises:
            Refusal: If it is not there, is a model's, is another rollout's, or has no such champion.
            Conflict: If another wrote first: call again.
        """
        claim = self.of(rollout)
        found = self._api.find(SELDON_DEPLOYMENT, claim.namespace, claim.seldon_deployment)
        where = f"SeldonDeployment {claim.seldon_deployment}"
        if found is None:
            raise Refusal(
                "NoSeldonDeployment",
                f"found no {where} in namespace {claim.namespace}",
                "make it with the champion's predictor, or name one of this namespace in target.seldonDeployment",
                waits=True,
            )
        held = annotations_of(found).get(CLAIM, "")
        if held == str(claim):
            return
        if held:
            other = held.partition("/")[0]
            raise Refusal(
                "Queued",
                f"rollout {other} works on {where}: this one waits",
                f"it begins once that has ended; `kubectl -n {claim.namespace} get mro {other}` shows how far it is",
                waits=True,
            )
        model = (found["metadata"].get("labels") or {}).get(MODEL_LABEL)
        if model:
            raise Refusal(
                "OfAModel",
                f"{where} belongs to ContinuousModel {model}, which rolls out its own versions",
                "delete this rollout; spec.rollout of the model says how its versions take over",
            )
        there = [each.get("name") for each in found["spec"].get("predictors") or ()]
        if names[CHAMPION] not in there:
            said = ", ".join(map(str, there)) or "none"
            raise Refusal(
                "NoChampion",
                f"{where} has no predictor {names[CHAMPION]}; it has {said}",
                "name the one that serves as the champion, in a new rollout, or bring that predictor back",
                waits=True,
            )
        others = [str(name) for name in there if name not in names.values()]
        if others:
            said = f"{where} has {', '.join(others)} beside {names[CHAMPION]}; a rollout shares traffic between two"
            raise Refusal("OtherPredictors", said, "take the others out of its spec.predictors", waits=True)
        self._write(claim, found, str(claim))

    def release(self, claim: Claim) -> None:
        """Take the claim away, if it is this one's."""
        found = self._api.find(SELDON_DEPLOYMENT, claim.namespace, claim.seldon_deployment)
        if found is not None and annotations_of(found).get(CLAIM) == str(claim):
            self._write(claim, found, None)

    def release_unused(self, rollout: Object) -> None:
        """
        Take the rollout's claim away if its challenger was never added: it has nothing there to take back.

        Raises:
            Conflict: If another wrote first: call again.
        """
        claim = self.of(rollout)
        found = self._api.find(SELDON_DEPLOYMENT, claim.namespace, claim.seldon_deployment)
        if found is None or annotations_of(found).get(CLAIM) != str(claim):
            return
        there = [each.get("name") for each in found["spec"].get("predictors") or ()]
        if names_of(rollout)[CHALLENGER] not in there:
            self._write(claim, found, None)

    def _write(self, claim: Claim, found: Object, value: str | None) -> None:
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version, "annotations": {CLAIM: value}}}
        try:
            self._api.merge(SELDON_DEPLOYMENT, claim.namespace, claim.seldon_deployment, body, manager=MANAGER)
        except NotFound as error:
            raise Conflict(error.message) from error
