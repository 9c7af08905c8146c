"""A rollout on any SeldonDeployment: two predictors, no registry."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import ROLLOUT, SELDON_DEPLOYMENT
from trimtab.core.errors import Invalid, Unavailable

Cluster = Any
CLAIM = "trimtab.dev/rollout"
BLUE, GREEN = 1, 2


def claim(cluster: Cluster) -> str | None:
    found: dict[str, Any] = cluster.api.get(SELDON_DEPLOYMENT, "shop", "web")["metadata"]
    return (found.get("annotations") or {}).get(CLAIM)


def another(cluster: Cluster, name: str, **spec: Any) -> None:
    made = cluster.object("take-over")
    cluster.api.create(ROLLOUT, {**made, "metadata": {"name": name, "namespace": "shop"}, "spec": made["spec"] | spec})


def test_it_claims_the_seldon_deployment_and_takes_its_first_weight(free: Cluster) -> None:
    free.look_free("take-over", 3)

    assert free.route() == (BLUE, GREEN, 10)
    status = free.status("take-over")
    assert (status["phase"], status["champion"], status["challenger"]) == ("Canary", "blue", "green")
    uid = free.object("take-over")["metadata"]["uid"]
    assert claim(free) == f"take-over/{uid}"
    assert "ownerReferences" not in free.object("take-over")["metadata"]


def test_sentences_name_the_predictors(free: Cluster) -> None:
    free.look_free("take-over", 3)
    routed = {each["type"]: each for each in free.status("take-over")["conditions"]}["Routed"]
    assert routed["message"] == "the router has it: green answers 10 %"
    assert free.events("take-over")[:2] == ["Proposed", "TrafficSplit"]


def test_it_says_that_no_loss_judges_it(free: Cluster) -> None:
    free.look_free("take-over", 3)
    assert free.condition("LossJudged", "take-over") == ("False", "NoLabels")


def test_users_that_are_to_keep_their_predictor_are_refused_before_any_traffic_moves(free: Cluster) -> None:
    another(free, "sticky", stickyHeader="x-user-id")
    free.look_free("sticky", 3)
    assert free.condition("Accepted", "sticky") == ("False", "Refused")
    assert "knows no users" in free.status("sticky")["reason"]
    assert claim(free) is None


def test_evidence_promotes_it_and_frees_the_seldon_deployment(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.send(400, lambda: free.look_free("take-over"))
    free.send(400, lambda: free.look_free("take-over", 2))
    assert free.route() == (GREEN, None, 0)
    assert free.status("take-over")["phase"] == "Promoted"
    assert free.traffic.running == {BLUE, GREEN}  # kept for an instant way back
    assert claim(free)

    free.look_free("take-over", 4, seconds=3600)

    assert free.traffic.running == {GREEN}
    assert claim(free) is None
    assert free.look_free("take-over") > 60


def test_proven_harm_rolls_back(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.send(3000, lambda: free.look_free("take-over", 4), error_ratio={GREEN: 0.3})

    assert free.route() == (BLUE, None, 0)
    assert free.status("take-over")["phase"] == "RolledBack"
    assert free.traffic.running == {BLUE}
    assert claim(free) is None


def test_wishes_in_its_spec_are_taken_in(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.ask("take-over", paused=True)
    free.look_free("take-over", 2)
    assert free.status("take-over")["phase"] == "Paused"

    free.ask("take-over", paused=False, aborted=True)
    free.look_free("take-over", 4)

    assert free.status("take-over")["phase"] == "Aborted"
    assert free.route() == (BLUE, None, 0)


def test_deleting_it_gives_everything_back_to_the_champion(free: Cluster) -> None:
    free.look_free("take-over", 3)
    last = free.object("take-over")
    free.api.delete(ROLLOUT, "shop", "take-over")

    pauses = [free.look_free("take-over", rollout=last) for _ in range(4)]

    assert free.route() == (BLUE, None, 0)
    assert free.traffic.running == {BLUE}
    assert claim(free) is None
    assert pauses[-1] == 0


def test_one_that_was_deleted_while_nobody_led_is_found_by_its_claim(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.api.delete(ROLLOUT, "shop", "take-over")
    free.start()

    (orphan,) = free.rollouts.orphans()
    for _ in range(4):
        free.look_free("take-over", rollout=orphan)

    assert free.route() == (BLUE, None, 0)
    assert claim(free) is None
    assert free.rollouts.orphans() == []


def test_a_second_rollout_on_the_same_deployment_waits_for_the_first(free: Cluster) -> None:
    free.look_free("take-over", 3)
    another(free, "second")
    free.look_free("second")
    assert free.condition("Accepted", "second") == ("False", "Queued")
    assert free.status("second")["phase"] == "Pending"

    free.ask("take-over", aborted=True)
    free.look_free("take-over", 4)
    free.look_free("second", 3)

    assert free.status("second")["phase"] == "Canary"


def refuse(*_: object) -> None:
    raise Invalid("spec.predictors[1].graph: Required value")


def test_one_whose_challenger_is_refused_does_not_hold_up_the_next(
    free: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    another(free, "second")
    with monkeypatch.context() as broken:
        broken.setattr(free.traffic, "want", refuse)
        free.look_free("take-over", 2)
    assert free.condition("Accepted", "take-over") == ("False", "Refused")
    assert claim(free) is None

    free.look_free("second", 3)
    free.look_free("take-over")

    assert free.status("second")["phase"] == "Canary"
    assert free.condition("Accepted", "take-over") == ("False", "Queued")


def test_one_whose_challenger_is_there_keeps_its_claim_while_it_is_refused(
    free: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    free.look_free("take-over", 3)
    free.api.merge(SELDON_DEPLOYMENT, "shop", "web", {"spec": {"predictors": [{"name": "blue"}, {"name": "green"}]}})
    monkeypatch.setattr(free.traffic, "want", refuse)
    free.look_free("take-over")
    assert free.condition("Accepted", "take-over") == ("False", "Refused")
    assert claim(free)


def test_a_rollout_of_the_same_name_begins_anew(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.ask("take-over", aborted=True)
    free.look_free("take-over", 4)
    spec = free.object("take-over")["spec"] | {"aborted": False}
    made = free.object("take-over") | {"metadata": {"name": "take-over", "namespace": "shop"}, "spec": spec}
    made.pop("status")
    free.api.delete(ROLLOUT, "shop", "take-over")
    free.api.create(ROLLOUT, made)
    free.look_free("take-over", 3)

    assert free.status("take-over")["phase"] == "Canary"


def test_a_new_process_goes_on_where_the_last_one_ended(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.start()
    free.send(400, lambda: free.look_free("take-over", 2))

    assert free.route() == (BLUE, GREEN, 50)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"steps": []}, "found no steps"),
        ({"steps": [{"shadow": {}}]}, "found a shadow step"),
        ({"model": "flights", "version": 2, "champion": 1}, "a rollout names either"),
    ],
)
def test_what_cannot_be_led_says_why_and_touches_nothing(free: Cluster, spec: dict[str, Any], said: str) -> None:
    another(free, "wrong", **spec)
    free.look_free("wrong")

    condition = {each["type"]: each for each in free.status("wrong")["conditions"]}["Accepted"]
    assert condition["status"] == "False"
    assert said in condition["message"]
    assert claim(free) is None


def test_what_cannot_be_measured_is_refused_before_anything_is_touched(
    free: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(rollout: object) -> None:
        raise Invalid("found no TRIMTAB_PROMETHEUS_URL")

    monkeypatch.setattr(free.rollouts._free, "_split", refuse)
    free.look_free("take-over")
    assert free.condition("Accepted", "take-over") == ("False", "Refused")
    assert claim(free) is None


def test_a_missing_deployment_is_waited_for(free: Cluster) -> None:
    free.api.delete(SELDON_DEPLOYMENT, "shop", "web")
    free.look_free("take-over")
    assert free.condition("Accepted", "take-over") == ("False", "NoSeldonDeployment")


def test_a_deployment_without_that_champion_says_which_there_are(free: Cluster) -> None:
    spec = {"predictors": [{"name": "red"}]}
    free.api.merge(SELDON_DEPLOYMENT, "shop", "web", {"spec": spec})
    free.look_free("take-over")
    found, hint = free.status("take-over")["reason"].splitlines()
    assert found == "SeldonDeployment web has no predictor blue; it has red"
    assert hint.startswith("hint: name the one that serves")


def test_a_third_predictor_is_nobodys_to_remove(free: Cluster) -> None:
    spec = {"predictors": [{"name": "blue"}, {"name": "red"}]}
    free.api.merge(SELDON_DEPLOYMENT, "shop", "web", {"spec": spec})
    free.look_free("take-over")
    assert free.condition("Accepted", "take-over") == ("False", "OtherPredictors")
    assert claim(free) is None


def test_a_models_deployment_is_left_to_its_model(free: Cluster) -> None:
    free.api.merge(SELDON_DEPLOYMENT, "shop", "web", {"metadata": {"labels": {"trimtab.dev/model": "flights"}}})
    free.look_free("take-over")
    assert free.condition("Accepted", "take-over") == ("False", "OfAModel")


def test_routes_that_stay_frozen_are_not_looked_at_in_quick_succession_for_ever(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.traffic.stalled = True
    free.ask("take-over", aborted=True)
    pauses = [free.look_free("take-over", seconds=10) for _ in range(6)]
    assert pauses[0] < 1
    assert pauses[3:] == [2.0] * 3


def test_a_router_that_does_not_answer_is_an_error_until_it_does(free: Cluster) -> None:
    free.look_free("take-over", 3)
    free.traffic.unreachable = "no answer"
    with pytest.raises(Unavailable):
        free.look_free("take-over")
    assert free.status("take-over")["phase"] == "Error"

    free.traffic.unreachable = ""
    free.look_free("take-over", 2)

    assert free.status("take-over")["phase"] == "Canary"


def test_traffic_that_cannot_be_steered_at_all_refuses_it_until_it_can(
    free: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    free.look_free("take-over", 3)

    def refuse() -> None:
        raise Invalid("no VirtualService routes to it")

    with monkeypatch.context() as broken:
        broken.setattr(free.traffic, "seen", refuse)
        free.look_free("take-over", 2)
    assert free.condition("Accepted", "take-over") == ("False", "Refused")

    free.look_free("take-over", 2)

    assert free.condition("Accepted", "take-over") == ("True", "Valid")
    assert free.status("take-over")["phase"] == "Canary"
