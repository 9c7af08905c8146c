"""A model's rollout as a custom resource: made, steered and told with kubectl alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT, SELDON_DEPLOYMENT
from trimtab.core.errors import Conflict, Invalid, Unavailable
from trimtab.core.rollout.values import Phase

Cluster = Any
PAUSES = {"strategy": "canary", "steps": [{"pause": {}}, {"setWeight": 10, "minRequests": 20}, {"pause": {}}]}


def test_what_a_run_proposed_becomes_an_object_that_its_model_owns(cluster: Cluster) -> None:
    cluster.look(2)

    made = cluster.object()
    owner = cluster.api.get(MODEL, "shop", "flights")
    (reference,) = made["metadata"]["ownerReferences"]
    assert (reference["uid"], reference["blockOwnerDeletion"]) == (owner["metadata"]["uid"], False)
    assert made["metadata"]["labels"] == {"trimtab.dev/model": "flights"}
    assert "finalizers" not in made["metadata"]
    spec = made["spec"]
    assert (spec["model"], spec["version"], spec["champion"]) == ("flights", 2, 1)
    assert spec["target"] == {"seldonDeployment": "flights"}
    assert spec["steps"][0] == {"setWeight": 10, "minRequests": 20}


def test_the_status_says_how_far_it_is_and_why(cluster: Cluster) -> None:
    cluster.look(2)

    status = cluster.status()
    assert (status["phase"], status["step"], status["steps"], status["weightPercent"]) == ("Canary", 1, 2, 10)
    assert (status["champion"], status["challenger"]) == ("v1", "v2")
    assert status["observedGeneration"] == cluster.object()["metadata"]["generation"]
    assert status["evidence"].startswith("s3://state/shop/flights/rollout-states/")
    assert cluster.condition("Routed") == ("True", "Confirmed")
    assert cluster.condition("Complete") == ("False", "Canary")
    assert cluster.condition("Promoted") == ("Unknown", "Canary")


def test_evidence_promotes_it_and_the_object_says_so(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.send(400)
    cluster.send(400)
    cluster.look(2)

    assert cluster.route() == (2, None, 0)
    assert cluster.champion() == 2
    assert cluster.status()["phase"] == "Promoted"
    assert cluster.condition("Promoted") == ("True", "Promoted")
    assert cluster.condition("Complete") == ("True", "Promoted")
    assert cluster.events() == ["Proposed", "TrafficSplit", "TrafficSplit", "TrafficSplit", "Promoted"]


def test_proven_harm_rolls_back_and_the_object_says_why(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.send(3000, error_ratio={2: 0.3})
    cluster.look()

    assert cluster.route() == (1, None, 0)
    assert cluster.status()["phase"] == "RolledBack"
    assert "harm is proven" in cluster.status()["reason"]
    assert cluster.condition("Promoted") == ("False", "RolledBack")
    assert cluster.events()[-2:] == ["TrafficSplit", "RolledBack"]


def test_paused_in_the_spec_holds_the_weights_until_it_is_taken_back(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(paused=True)
    cluster.send(900)
    cluster.look(3)
    assert cluster.route() == (1, 2, 10)
    assert cluster.status()["phase"] == "Paused"

    cluster.ask(paused=False)
    cluster.look(2)

    assert cluster.route() == (1, 2, 50)


def test_a_pause_by_the_command_line_is_seen_in_the_spec_and_ended_there(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.state.rollouts.ask(1, lambda now: now.model_copy(update={"paused": True, "reason": "pause by anna"}))
    cluster.look(2)
    assert cluster.object()["spec"]["paused"] is True
    assert cluster.status()["reason"] == "pause by anna"

    cluster.ask(paused=False)
    cluster.look()

    assert cluster.state.rollouts.asked(1).paused is False


def test_an_abort_gives_everything_back_to_the_champion(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(aborted=True)
    cluster.look(2)

    assert cluster.route() == (1, None, 0)
    assert cluster.status()["phase"] == "Aborted"
    assert cluster.traffic.running == {1}


def test_promoted_in_the_spec_skips_what_is_left(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(promoted=True)
    cluster.look(2)

    assert cluster.route() == (2, None, 0)
    assert cluster.champion() == 2


def test_an_approval_counts_for_one_pause_and_is_put_back(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(rollout=PAUSES)
    cluster.register()
    cluster.look()
    cluster.deploy()
    cluster.look(2)
    assert "waits for approval" in cluster.status()["reason"]

    cluster.ask(approved=True, approvedBy="anna")
    cluster.look(2)

    assert cluster.route() == (1, 2, 10)
    spec = cluster.object()["spec"]
    assert spec["approved"] is False
    assert "approvedBy" not in spec
    told = [entry.summary for entry in cluster.state.journal.entries() if entry.kind == "asked"]
    assert told == ["flights-v2: approve by anna"]

    cluster.send(400)
    cluster.look(3)
    assert cluster.status()["phase"] == "Paused"  # the second pause has not been approved by the first approval
    assert cluster.route() == (1, 2, 10)


@pytest.fixture
def twice(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A rollout that waits for approval, and will again."""
    cluster = make_cluster(rollout={"strategy": "canary", "steps": [{"pause": {}}, {"pause": {}}, {"setWeight": 10}]})
    cluster.register()
    cluster.look()
    cluster.deploy()
    cluster.look(2)
    return cluster


@pytest.mark.parametrize("error", [Unavailable, Conflict])
def test_an_approval_whose_taking_back_was_lost_is_not_taken_twice(
    twice: Cluster, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    twice.ask(approved=True, approvedBy="anna")

    def lost(*_: object, **__: object) -> None:
        raise error("it was not written")

    with monkeypatch.context() as broken:
        broken.setattr(twice.api, "patch", lost)
        for _ in range(3):
            with contextlib.suppress(Unavailable):
                twice.look()
    twice.start()
    twice.look(4)

    assert twice.at().step == 1
    assert twice.status()["phase"] == "Paused"
    assert twice.object()["spec"]["approved"] is False


def test_an_approval_counts_though_the_router_was_away_when_it_came(twice: Cluster) -> None:
    twice.traffic.unreachable = "no webhook"
    with contextlib.suppress(Unavailable):
        twice.look()
    assert twice.status()["phase"] == "Error"
    twice.ask(approved=True, approvedBy="anna")
    twice.traffic.unreachable = ""
    twice.look(3)

    assert twice.state.rollouts.asked(1).approved == (0,)
    assert twice.at().step == 1


def test_whoever_approves_again_at_once_approves_the_next_step(twice: Cluster) -> None:
    for _ in range(2):
        twice.ask(approved=True, approvedBy="anna")
        twice.look()
    twice.look(2)

    assert twice.state.rollouts.asked(1).approved == (0, 1)
    assert twice.route() == (1, 2, 10)


def test_an_approval_that_nothing_waits_for_is_put_back_and_told(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(approved=True)
    cluster.look(2)

    assert cluster.object()["spec"]["approved"] is False
    assert "Ignored" in cluster.events()
    assert cluster.state.rollouts.asked(1).approved == ()


def test_deleting_the_object_ends_the_rollout_and_does_not_make_another(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.delete(ROLLOUT, "shop", "flights-v2")
    cluster.look(3)

    assert cluster.route() == (1, None, 0)
    assert cluster.at().phase is Phase.ABORTED
    assert cluster.at().reason == "its ModelRollout was deleted"
    assert cluster.api.find(ROLLOUT, "shop", "flights-v2") is None


def test_an_object_that_was_deleted_while_nobody_led_ends_the_rollout_too(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.delete(ROLLOUT, "shop", "flights-v2")
    cluster.start()
    cluster.look(2)

    assert cluster.route() == (1, None, 0)
    assert cluster.at().phase is Phase.ABORTED


def test_a_model_that_was_made_again_gets_the_objects_of_its_rollouts_again(cluster: Cluster) -> None:
    cluster.look(2)
    owner = cluster.api.get(MODEL, "shop", "flights")
    for kind, name in ((ROLLOUT, "flights-v2"), (MODEL, "flights")):
        cluster.api.delete(kind, "shop", name)
    cluster.api.create(MODEL, {**owner, "metadata": {"name": "flights", "namespace": "shop"}})
    cluster.start()
    cluster.look(2)

    assert cluster.route() == (1, 2, 10)
    assert cluster.status()["phase"] == "Canary"


def test_a_status_that_was_lost_is_written_again(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(aborted=True)
    cluster.look(2)
    lost = cluster.object()
    del lost["status"]
    cluster.api.put(ROLLOUT, lost)
    cluster.start()
    cluster.look()

    assert cluster.status()["phase"] == "Aborted"


def test_an_edit_of_the_policy_changes_nothing_of_a_rollout_that_goes_on_and_is_told(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(steps=[{"setWeight": 90}])
    cluster.look(2)

    assert cluster.route() == (1, 2, 10)
    assert cluster.condition("Accepted") == ("True", "EditIgnored")
    assert cluster.status()["observedGeneration"] == cluster.object()["metadata"]["generation"]


def test_an_edit_of_the_model_changes_the_next_rollout_only(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.merge(MODEL, "shop", "flights", {"spec": {"rollout": {"steps": [{"setWeight": 77}]}}})
    cluster.send(400)
    cluster.look(2)
    assert cluster.route() == (1, 2, 50)


def test_counts_alone_are_not_written_at_every_look(cluster: Cluster) -> None:
    cluster.look(2)
    before = len(cluster.api.writes)
    for _ in range(5):
        cluster.send(15)
    assert "of 20 requests" in cluster.at().reason

    statuses = [each for each in cluster.api.writes[before:] if each == ("patch status", "ModelRollout", "flights-v2")]
    assert len(statuses) <= 2


def test_a_challenger_that_fails_to_start_is_an_error_with_its_reason(cluster: Cluster) -> None:
    cluster.traffic.ready_at_once = False
    cluster.look()
    cluster.traffic.fail(2, "ImagePullBackOff")
    cluster.look(2)

    assert cluster.status()["phase"] == "Error"
    assert "ImagePullBackOff" in cluster.status()["reason"]
    assert cluster.rollouts.problems(("shop", "flights")) == ("v2 does not serve: ImagePullBackOff",)
    assert cluster.route() == (1, None, 0)


def test_a_router_that_does_not_answer_is_told_and_undoes_nothing(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.traffic.unreachable = "the API server does not answer"
    with pytest.raises(Unavailable):
        cluster.look()
    assert cluster.status()["phase"] == "Error"

    cluster.traffic.unreachable = ""
    cluster.look(2)

    assert cluster.status()["phase"] == "Canary"
    assert cluster.route() == (1, 2, 10)


def test_only_the_newest_ended_rollouts_keep_their_objects(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.register()
    cluster.look()
    for _ in range(13):
        version = cluster.deploy()
        cluster.look(2)
        cluster.ask(f"flights-v{version}", aborted=True)
        cluster.look(2, seconds=60)

    found, _ = cluster.api.list(ROLLOUT, "shop")
    assert {each["metadata"]["name"] for each in found} == {f"flights-v{number}" for number in range(5, 15)}


def test_a_deleted_model_leaves_the_champion_alone(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.delete(MODEL, "shop", "flights")
    assert cluster.leave() == 0

    assert cluster.route() == (1, None, 0)
    assert cluster.at().reason == "its ContinuousModel was deleted"


def test_a_deleted_model_is_left_by_a_process_that_never_led_it(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.delete(MODEL, "shop", "flights")
    cluster.start()
    assert cluster.leave() == 0

    assert cluster.route() == (1, None, 0)
    assert cluster.traffic.running == {1}


def test_a_deleted_models_former_champion_is_kept_no_longer(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(promoted=True)
    cluster.look(3)
    assert (cluster.route(), cluster.traffic.running) == ((2, None, 0), {1, 2})
    cluster.api.delete(MODEL, "shop", "flights")
    while cluster.leave():
        pass

    assert (cluster.route(), cluster.traffic.running) == ((2, None, 0), {2})


def test_a_deleted_model_is_taken_leave_of_once_the_router_answers_again(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.api.delete(MODEL, "shop", "flights")
    cluster.traffic.unreachable = "the API server does not answer"
    with pytest.raises(Unavailable):
        cluster.leave()

    cluster.traffic.unreachable = ""
    assert cluster.route() == (1, 2, 10)
    cluster.traffic.stalled = True
    assert cluster.leave() > 0
    cluster.traffic.stalled = False
    assert cluster.leave() == 0
    assert cluster.route() == (1, None, 0)


@pytest.mark.parametrize("predictors", [[("main", 100)], [("main", 100), ("v1", 0)]])
def test_a_deleted_models_owner_gets_his_predictor_back_where_the_champion_never_became_ready(
    make_cluster: Callable[..., Cluster], predictors: list[tuple[str, int]]
) -> None:
    cluster = make_cluster()
    cluster.register()
    adopted = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.name,
        "metadata": {"name": "flights", "namespace": "shop", "labels": {"trimtab.dev/model": "flights"}},
        "spec": {"predictors": [{"name": name, "traffic": traffic} for name, traffic in predictors]},
    }
    cluster.api.create(SELDON_DEPLOYMENT, adopted)
    cluster.api.delete(MODEL, "shop", "flights")

    assert cluster.leave() == 0

    found = cluster.api.get(SELDON_DEPLOYMENT, "shop", "flights")
    assert found["spec"]["predictors"] == [{"name": "main", "traffic": 100}]
    assert found["metadata"]["labels"] == {}
    assert cluster.traffic.running == set()


@pytest.mark.parametrize("wanted", ["previous", "v1"])
def test_an_annotation_asks_for_an_older_version_once(cluster: Cluster, wanted: str) -> None:
    cluster.look(2)
    cluster.ask(promoted=True)
    cluster.look(2)
    cluster.deploy()
    cluster.look(2)
    asked = {"trimtab.dev/rollback-to": wanted, "trimtab.dev/asked-by": "anna"}
    cluster.api.merge(MODEL, "shop", "flights", {"metadata": {"annotations": asked}})
    cluster.look(4)

    assert cluster.champion() == 1
    assert cluster.route() == (1, None, 0)
    assert cluster.status("flights-v3")["phase"] in ("Aborted", "Superseded")
    annotations = cluster.api.get(MODEL, "shop", "flights")["metadata"]["annotations"]
    assert "trimtab.dev/rollback-to" not in annotations
    told = [entry.summary for entry in cluster.state.journal.entries() if entry.kind == "promoted"]
    assert told == ["went back from v2 to v1 by anna"]


def test_going_back_to_what_there_is_not_is_refused_with_the_reason(cluster: Cluster) -> None:
    cluster.look(2)
    asked = {"trimtab.dev/rollback-to": "v9"}
    cluster.api.merge(MODEL, "shop", "flights", {"metadata": {"annotations": asked}})
    cluster.look()

    assert cluster.champion() == 1
    assert "RollbackRefused" in cluster.events("flights")
    assert cluster.api.get(MODEL, "shop", "flights")["metadata"]["annotations"] == {}


def test_traffic_that_cannot_be_steered_at_all_refuses_the_rollout_with_the_reason(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.look(2)

    def refuse() -> None:
        raise Invalid("no VirtualService routes to it", "run Seldon's operator with Istio")

    with monkeypatch.context() as broken:
        broken.setattr(cluster.traffic, "seen", refuse)
        with pytest.raises(Invalid):
            cluster.look()
    assert cluster.condition("Accepted") == ("False", "Refused")

    cluster.look(2)

    assert cluster.condition("Accepted") == ("True", "Valid")
