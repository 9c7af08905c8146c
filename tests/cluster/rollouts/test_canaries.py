"""Whole rollouts on the real API server: to their ends, and steered with kubectl alone on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.app.cluster import rollout_objects
from trimtab.app.cluster.resources import model_of

Canary = Any
Witness = Any
Kubectl = Callable[..., str]
APPROVED = {"strategy": "canary", "steps": [{"pause": {}}, {"setWeight": 10, "minRequests": 20}]}


def patch(kubectl: Kubectl, spec: dict[str, Any], name: str = "flights-v2") -> None:
    kubectl("patch", "mro", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def back_at_the_champion(canary: Canary) -> None:
    canary.until(lambda: canary.answering() == {"v1": 100}, "the champion alone")
    canary.until(lambda: canary.predictors() == ["v1"], "the challenger's end")
    canary.until(lambda: canary.deployments() == ["flights-v1-0-model"], "the end of its pods")


def test_evidence_promotes_and_the_promoted_pods_go_on_as_they_are(canary: Canary, witness: Witness) -> None:
    canary.at_weight(10)
    assert canary.status()["phase"] == "Canary"
    canary.send(400)
    canary.at_weight(50)
    canary.send(400)
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")

    assert canary.champion() == 2
    assert canary.answering() == {"v2": 100}
    assert canary.predictors() == ["v1", "v2"]  # kept for an instant way back
    found = {each["type"]: each["status"] for each in canary.status()["conditions"]}
    assert found == {"Accepted": "True", "Routed": "True", "Complete": "True", "Promoted": "True"}

    canary.offset += timedelta(minutes=11)
    canary.until(lambda: canary.predictors() == ["v2"], "the former champion's end")
    canary.until(lambda: canary.deployments() == ["flights-v2-0-model"], "the end of its pods")
    assert len(witness.templates["flights-v2-0-model"]) == 1
    assert {"v1": 90, "v2": 10} in witness.splits


def test_proven_harm_rolls_back(canary: Canary) -> None:
    canary.at_weight(10)
    canary.send(3000, errors={2: 0.3})
    back_at_the_champion(canary)

    assert canary.phase() == "RolledBack"
    assert "harm is proven" in canary.status()["reason"]
    assert canary.champion() == 1
    assert canary.events()[-1] == "RolledBack"


def test_pause_and_resume(canary: Canary, kubectl: Kubectl) -> None:
    canary.at_weight(10)
    patch(kubectl, {"paused": True})
    canary.until(lambda: canary.phase() == "Paused", "the pause")
    canary.send(400)
    for _ in range(5):
        canary.look()
    assert canary.answering() == {"v1": 90, "v2": 10}
    assert canary.at().reason == "pause by kubectl-patch"

    patch(kubectl, {"paused": False})

    canary.at_weight(50)


def test_abort(canary: Canary, kubectl: Kubectl) -> None:
    canary.at_weight(10)
    patch(kubectl, {"aborted": True})
    back_at_the_champion(canary)
    assert canary.phase() == "Aborted"


def test_an_approval_with_kubectl_edit_is_journalled_by_its_managers_name(
    make_canary: Callable[..., Canary], kubectl: Kubectl
) -> None:
    canary = make_canary(APPROVED)
    canary.until(lambda: "waits for approval" in canary.status().get("reason", ""), "the pause step")
    patch(kubectl, {"approved": True})
    canary.at_weight(10)

    assert canary.state.rollouts.asked(1).approved_by == "kubectl-patch"
    spec = canary.rollout()["spec"]
    assert (spec.get("approved", False), spec.get("approvedBy")) == (False, None)


def test_a_change_of_the_model_and_of_the_rollout_changes_the_next_one_only(canary: Canary, kubectl: Kubectl) -> None:
    canary.at_weight(10)
    rollout = {"rollout": {"strategy": "canary", "steps": [{"setWeight": 77}]}}
    kubectl("patch", "ctm", "flights", "--type=merge", "-p", json.dumps({"spec": rollout}))
    canary.send(400)
    canary.at_weight(50)
    assert canary.phase() == "Canary"


@pytest.mark.parametrize("kind", [ROLLOUT, MODEL], ids=["rollout", "model"])
def test_deletion_in_mid_rollout_leaves_the_champion_alone(canary: Canary, kind: Any) -> None:
    canary.at_weight(10)
    if kind is ROLLOUT:
        canary.api.delete(ROLLOUT, canary.namespace, "flights-v2")
        back_at_the_champion(canary)
        assert canary.rollout() is None
        assert canary.at().reason == "its ModelRollout was deleted"
        return
    owner = canary.api.get(MODEL, canary.namespace, "flights")
    canary.api.delete(MODEL, canary.namespace, "flights")
    canary.until(
        lambda: canary.predictors() == [] and canary.deployments() == [],
        look=lambda: canary.rollouts.gone(canary.namespace, model_of(owner), owner, canary.epoch),
    )


def test_going_back_to_the_former_champion(canary: Canary, kubectl: Kubectl) -> None:
    canary.at_weight(10)
    patch(kubectl, {"promoted": True})
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")
    kubectl("annotate", "ctm", "flights", "trimtab.dev/rollback-to=previous")
    canary.until(lambda: canary.answering() == {"v1": 100}, "the way back")

    assert canary.champion() == 1
    meta = canary.api.get(MODEL, canary.namespace, "flights")["metadata"]
    assert "trimtab.dev/rollback-to" not in meta.get("annotations", {})


def test_nobody_is_left_behind_by_rollouts_in_a_row_and_the_oldest_objects_go(
    canary: Canary, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_objects, "KEPT", 1)
    for version in (2, 3):
        name = f"flights-v{version}"
        canary.until(lambda name=name: canary.phase(name) == "Canary", name)
        patch(kubectl, {"aborted": True}, name)
        canary.until(lambda name=name: canary.phase(name) == "Aborted", name)
        if version == 2:
            canary.register("challenger")
    back_at_the_champion(canary)
    canary.until(lambda: canary.rollout("flights-v2") is None, "the end of the oldest object")
    assert canary.phase("flights-v3") == "Aborted"
    assert canary.at(1).ended is not None  # the state keeps it
