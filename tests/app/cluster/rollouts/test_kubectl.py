"""`kubectl trimtab`: the plugin's verbs against the resources, and the controller that reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.app.kubectl import cli, finding
from trimtab.core.errors import Invalid, NotFound

Cluster = Any
Kubectl = Callable[..., str]
WAITS = {"strategy": "canary", "steps": [{"pause": {}}, {"setWeight": 10, "minRequests": 20}]}


@pytest.fixture
def kubectl(api: Any, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """`kubectl trimtab …` in namespace shop, as user anna."""
    monkeypatch.setattr(finding, "connect", lambda context: api)
    monkeypatch.setattr(api, "whoami", lambda: "anna", raising=False)

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, [*words, "-n", "shop"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def invoke(*words: str) -> str:
        try:
            return run(*words)
        except AssertionError as failed:
            raise AssertionError(f"kubectl trimtab {' '.join(words)}: {failed}") from failed

    return invoke


def test_a_pause_names_its_user_in_status_and_journal(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    assert "paused until: kubectl trimtab resume flights -n shop" in kubectl("pause", "flights")
    managed = [{"manager": "kubectl-trimtab", "fieldsV1": {"f:spec": {"f:paused": {}}}}]
    cluster.api.put(
        ROLLOUT, {**cluster.object(), "metadata": cluster.object()["metadata"] | {"managedFields": managed}}
    )
    cluster.look(2)

    assert cluster.status()["reason"] == "pause by anna"
    told = [entry.summary for entry in cluster.state.journal.entries() if entry.kind == "asked"]
    assert told == ["flights-v2: pause by anna"]


def test_pause_and_resume_by_the_models_name(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    kubectl("pause", "flights")
    cluster.look(2)
    assert cluster.status()["phase"] == "Paused"

    kubectl("resume", "flights")
    cluster.look(2)

    assert cluster.status()["phase"] == "Canary"


def test_an_approval_carries_the_users_name(make_cluster: Callable[..., Cluster], kubectl: Kubectl) -> None:
    cluster = make_cluster(rollout=WAITS)
    cluster.register()
    cluster.look()
    cluster.deploy()
    cluster.look(2)
    assert "next       kubectl trimtab approve flights-v2 -n shop" in kubectl("status", "flights")

    assert kubectl("approve", "flights") == "flights-v2 approved by anna\n"
    cluster.look(2)

    assert cluster.state.rollouts.asked(1).approved_by == "anna"
    assert cluster.route() == (1, 2, 10)


@pytest.mark.parametrize(("verb", "champion"), [("promote", 2), ("abort", 1)])
def test_promote_and_abort_by_the_rollouts_own_name(
    cluster: Cluster, kubectl: Kubectl, verb: str, champion: int
) -> None:
    cluster.look(2)
    kubectl(verb, "flights-v2")
    cluster.look(2)
    assert cluster.route() == (champion, None, 0)
    assert cluster.champion() == champion


def test_rollback_makes_the_former_champion_serve_again(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    kubectl("promote", "flights")
    cluster.look(2)
    kubectl("rollback", "flights")
    cluster.look(3)

    assert cluster.champion() == 1
    assert cluster.route() == (1, None, 0)


def test_plan_shows_what_is_to_come(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    shown = kubectl("plan", "flights")
    assert "flights-v2 Canary, step 1 of 2, v2 answers 10 %" in shown
    assert "step 1: 10 % of the traffic: 200 requests" in shown
    assert "step 2: 50 % of the traffic: 80 requests" in shown
    document = json.loads(kubectl("plan", "flights", "--json"))
    assert document["rollout"] == "flights-v2"
    assert len(document["steps"]) == 3


def test_status_shows_the_model_and_its_rollout(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    cluster.api.merge(MODEL, "shop", "flights", {"status": {"champion": 1, "waiting": "for uploads"}}, "status")
    shown = kubectl("status")
    assert "flights: v1 is champion" in shown
    assert "waiting    for uploads" in shown
    assert "flights-v2 Canary" in shown
    document = json.loads(kubectl("status", "flights", "--json"))
    assert document["champion"] == 1
    assert document["rollouts"][0]["metadata"]["name"] == "flights-v2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resume", "flights"), "is not paused already"),
        (("approve", "flights"), "does not wait for approval"),
        (("rollback", "flights", "--to", "best"), "a model version reads"),
    ],
)
def test_what_changes_nothing_is_refused(cluster: Cluster, kubectl: Kubectl, words: tuple[str, ...], said: str) -> None:
    cluster.look(2)
    with pytest.raises(Invalid, match=said):
        kubectl(*words)


def test_an_ended_rollout_is_told_from_one_that_goes_on(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    kubectl("abort", "flights")
    cluster.look(2)
    with pytest.raises(NotFound, match="no rollout of flights goes on; the last one, flights-v2, ended as Aborted"):
        kubectl("pause", "flights")
    with pytest.raises(Invalid, match="has ended: Aborted"):
        kubectl("pause", "flights-v2")


def test_an_unknown_name_says_which_there_are(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.look(2)
    with pytest.raises(NotFound) as refused:
        kubectl("pause", "fligths")
    assert "flights, flights-v2" in refused.value.hint
